"""Turns: what is stored when, whatever happens."""

import asyncio
import threading

import pytest

from omniagent_cli import Agent, Tool, open_store
from omniagent_cli.agent import turn as turns
from omniagent_cli.agent.events import (
    Notice,
    TextDelta,
    ToolCalled,
    ToolEnded,
    ToolReturned,
    TurnDone,
)
from omniagent_cli.errors import (
    AgentError,
    ModelUnreachable,
    StoreReadOnly,
    ToolRoundsExceeded,
    UsageError,
)
from omniagent_cli.testing.scripted import Say, ScriptedModel


@pytest.fixture
def store():
    with open_store("memory:") as store:
        yield store


def rows_of(store, session_id):
    return [(m.role, m.text, m.status) for m in store.messages(session_id)]


def test_answer_is_returned_and_stored(store):
    """A turn stores question and answer, in order, under one turn id, and returns the answer."""
    with Agent(ScriptedModel("Hello Alice."), store=store) as agent:
        assert agent.process_with_session("s", "I am Alice") == "Hello Alice."
    assert rows_of(store, "s") == [
        ("user", "I am Alice", "complete"),
        ("assistant", "Hello Alice.", "complete"),
    ]
    question, answer = store.messages("s")
    assert question.turn_id == answer.turn_id
    assert answer.model == "scripted:model"
    assert answer.usage == {"input_tokens": 10, "output_tokens": 5}


def test_history_is_sent_once(store):
    """The second turn sends the first and its own question, nothing twice."""
    model = ScriptedModel("one", "two")
    with Agent(model, store=store, system_prompt="Be brief.") as agent:
        agent.process_with_session("s", "first")
        agent.process_with_session("s", "second")
    assert [(m["role"], m["content"]) for m in model.requests[1]] == [
        ("system", "Be brief."),
        ("user", "first"),
        ("assistant", "one"),
        ("user", "second"),
    ]
    assert store.count_messages("s") == 4


def test_stateless_reads_and_writes_nothing(store):
    """`process` leaves no trace in the store, and sends no history."""
    model = ScriptedModel("a", "b")
    with Agent(model, store=store) as agent:
        agent.process("one")
        agent.process("two")
    assert store.list() == []
    assert [m["content"] for m in model.requests[1]] == ["two"]


def test_session_needs_store():
    """An agent without a store says that it has none."""
    with Agent(ScriptedModel()) as agent, pytest.raises(UsageError, match="no store"):
        agent.process_with_session("s", "hi")


def test_question_is_stored_before_the_model_is_asked(store):
    """When the model is asked, the question is already in the store."""

    class Curious(ScriptedModel):
        async def stream(self, messages, tools, settings):
            self.seen = rows_of(store, "s")
            async for event in super().stream(messages, tools, settings):
                yield event

    model = Curious("ok")
    with Agent(model, store=store) as agent:
        agent.process_with_session("s", "remember this")
    assert model.seen == [("user", "remember this", "complete")]


def test_failed_turn_keeps_question_and_retry_does_not_double_it(store):
    """A turn without any answer marks the question; asking again uses it, and clears the mark."""
    model = ScriptedModel(Say(raises=ModelUnreachable("nobody home")), "there you are")
    with Agent(model, store=store) as agent:
        with pytest.raises(ModelUnreachable):
            agent.process_with_session("s", "hello?")
        assert rows_of(store, "s") == [("user", "hello?", "failed")]
        assert store.messages("s")[0].extra == {"error": "nobody home"}
        agent.process_with_session("s", "hello?")
    assert rows_of(store, "s") == [
        ("user", "hello?", "complete"),
        ("assistant", "there you are", "complete"),
    ]
    assert store.messages("s")[0].extra is None


def test_partial_answer_of_a_failure_is_kept_and_not_sent_again(store):
    """What came before a failure is stored as failed; a retry asks anew without it."""
    model = ScriptedModel(Say("half an", raises=ModelUnreachable("cut")), "whole")
    with Agent(model, store=store) as agent:
        with pytest.raises(ModelUnreachable):
            agent.process_with_session("s", "q")
        agent.process_with_session("s", "q")
    assert rows_of(store, "s") == [
        ("user", "q", "complete"),
        ("assistant", "half an", "failed"),
        ("assistant", "whole", "complete"),
    ]
    assert [m["content"] for m in model.requests[1]] == ["q"]


def test_answered_question_asked_again_is_a_new_one(store):
    """The same words after an answer are a new turn."""
    with Agent(ScriptedModel("1", "2"), store=store) as agent:
        agent.process_with_session("s", "again")
        agent.process_with_session("s", "again")
    assert store.count_messages("s") == 4


def test_stream_without_finish_reason_is_interrupted(store):
    """An answer that just ends is an error, and kept as failed."""
    with Agent(ScriptedModel(Say("so far", reason="")), store=store) as agent:
        with pytest.raises(ModelUnreachable, match="middle of its answer"):
            agent.process_with_session("s", "q")
    assert rows_of(store, "s")[1] == ("assistant", "so far", "failed")


@pytest.mark.parametrize(
    ("reason", "notice"), [("length", "token limit"), ("content_filter", "content filter")]
)
def test_unusual_ends_are_told(store, reason, notice):
    """An answer cut by a limit or a filter is stored with its reason, and the person is told."""
    with Agent(ScriptedModel(Say("cut", reason=reason)), store=store) as agent:
        events = list(agent.stream_sync("q", "s"))
    assert any(isinstance(e, Notice) and notice in e.text for e in events)
    assert store.messages("s")[1].extra == {"finish_reason": reason}


def test_empty_answer_is_told_and_stored(store):
    """An answer of nothing is stored as empty text, with a notice."""
    with Agent(ScriptedModel(Say("")), store=store) as agent:
        events = list(agent.stream_sync("q", "s"))
    assert (
        Notice("The model returned an empty answer; ask again, or choose another model") in events
    )
    assert rows_of(store, "s")[1] == ("assistant", "", "complete")


def test_cancel_keeps_the_partial_answer(store):
    """Cancelling in the middle keeps what came, marked interrupted, and the next turn goes on."""

    async def scenario():
        agent = Agent(ScriptedModel(Say("once upon a", hang=True), "the end"), store=store)
        seen = asyncio.Event()

        async def ask():
            async for event in agent.stream("tell me", "s"):
                if isinstance(event, TextDelta) and event.text == "a":
                    seen.set()

        task = asyncio.create_task(ask())
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await agent.aprocess_with_session("s", "and then?")
        await asyncio.to_thread(agent.close)

    asyncio.run(scenario())
    assert rows_of(store, "s") == [
        ("user", "tell me", "complete"),
        ("assistant", "once upon a", "interrupted"),
        ("user", "and then?", "complete"),
        ("assistant", "the end", "complete"),
    ]


def test_cancel_before_the_first_token_marks_the_question(store):
    """Cancelling while the model is silent leaves the question, marked interrupted."""

    async def scenario():
        model = ScriptedModel(Say(hang=True))
        agent = Agent(model, store=store)
        task = asyncio.create_task(agent.aprocess_with_session("s", "well?"))
        while not model.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(agent.close)

    asyncio.run(scenario())
    assert rows_of(store, "s") == [("user", "well?", "interrupted")]


def test_closing_the_stream_keeps_the_partial_answer(store):
    """A caller that stops reading loses nothing that came."""
    with Agent(ScriptedModel(Say("one two three", hang=True)), store=store) as agent:
        events = agent.stream_sync("q", "s")
        while next(events) != TextDelta("two"):
            pass
        events.close()
    status, text = store.messages("s")[1].status, store.messages("s")[1].text
    assert status == "interrupted"
    assert text.startswith("one two")


def test_growing_answer_is_in_the_store_while_it_streams(store, monkeypatch):
    """An answer is on disk from its first piece, and what follows within the checkpoint time even in a stall."""
    monkeypatch.setattr(turns, "CHECKPOINT_SECONDS", 0.01)
    seen = []

    async def scenario():
        agent = Agent(ScriptedModel(Say("first second", hang=True)), store=store)

        async def ask():
            async for event in agent.stream("q", "s"):
                seen.append((event.text, rows_of(store, "s")[1]))  # noqa: PERF401  # looks while it streams

        task = asyncio.create_task(ask())
        while len(seen) < 3 or rows_of(store, "s")[1][1] != "first second":
            await asyncio.sleep(0.001)
        assert rows_of(store, "s")[1] == ("assistant", "first second", "interrupted")
        task.cancel()
        await asyncio.wait([task])
        await asyncio.to_thread(agent.close)

    asyncio.run(scenario())
    assert seen[0] == ("first", ("assistant", "first", "interrupted"))


def test_final_answer_is_announced_once(store, monkeypatch):
    """Checkpoints are not announced; the finished answer is, once."""
    monkeypatch.setattr(turns, "CHECKPOINT_SECONDS", 0.001)
    told = []
    store.on("message_added", lambda event: told.append(event.data["message"].text))
    with Agent(ScriptedModel(Say("a b c d", delay_seconds=0.002)), store=store) as agent:
        agent.process_with_session("s", "q")
    assert told == ["q", "a b c d"]


def test_deleted_meanwhile_goes_to_a_recovered_session(store):
    """When the session is deleted during the answer, the answer is kept elsewhere and the person is told."""

    class Saboteur(ScriptedModel):
        async def stream(self, messages, tools, settings):
            async for event in super().stream(messages, tools, settings):
                yield event
                if event == TextDelta("two"):
                    store.delete("s")

    with Agent(Saboteur("one two three"), store=store) as agent:
        events = list(agent.stream_sync("q", "s"))
    done = events[-1]
    assert isinstance(done, TurnDone)
    assert done.session_id.startswith("recovered-")
    assert any(isinstance(e, Notice) and "was deleted during the turn" in e.text for e in events)
    assert rows_of(store, done.session_id) == [("assistant", "one two three", "complete")]


def test_renamed_meanwhile_follows(store):
    """When the session is renamed during the answer, the answer follows it."""

    class Renamer(ScriptedModel):
        async def stream(self, messages, tools, settings):
            store.rename("s", "t")
            async for event in super().stream(messages, tools, settings):
                yield event

    with Agent(Renamer("hi"), store=store) as agent:
        agent.process_with_session("s", "q")
    assert rows_of(store, "t") == [("user", "q", "complete"), ("assistant", "hi", "complete")]
    assert not store.exists("s")


def test_expired_session_starts_afresh_and_says_so(tmp_path):
    """Writing to an expired session discards the old messages and tells."""
    from omniagent_cli.durations import utc_now

    now = [utc_now()]
    with open_store("memory:", ttl=60, clock=lambda: now[0]) as store:
        store.append("s", {"role": "user", "content": "old"})
        from datetime import timedelta

        now[0] += timedelta(seconds=61)
        with Agent(ScriptedModel("new answer"), store=store) as agent:
            events = list(agent.stream_sync("new", "s"))
        assert any(isinstance(e, Notice) and "had expired" in e.text for e in events)
        assert [text for _, text, _ in rows_of(store, "s")] == ["new", "new answer"]


def test_store_failure_is_told(tmp_path):
    """A store that cannot be written raises before the model is asked."""
    path = tmp_path / "s.db"
    with open_store(path) as store:
        store.append("s", {"role": "user", "content": "x"})
    model = ScriptedModel("never")
    with open_store(path, read_only=True) as store, Agent(model, store=store) as agent:
        with pytest.raises(StoreReadOnly):
            agent.process_with_session("s", "q")
    assert model.requests == []


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADD = Tool("add", "Add two numbers.", add)


def test_tool_round_trip(store):
    """Call, result and answer are stored in order and sent back as chat completions want them."""
    model = ScriptedModel(Say("Let me see.", calls=[("add", {"a": 1, "b": 2})]), "It is 3.")
    with Agent(model, store=store, tools=[ADD]) as agent:
        events = list(agent.stream_sync("1+2?", "s"))
    assert [type(e) for e in events if not isinstance(e, TextDelta)] == [
        ToolCalled,
        ToolReturned,
        TurnDone,
    ]
    assert rows_of(store, "s") == [
        ("user", "1+2?", "complete"),
        ("assistant", "Let me see.", "complete"),
        ("tool", "3", "complete"),
        ("assistant", "It is 3.", "complete"),
    ]
    assert model.tools[0][0]["function"]["name"] == "add"
    call = model.requests[1][1]["tool_calls"][0]
    assert call["function"] == {"name": "add", "arguments": '{"a":1,"b":2}'}
    assert model.requests[1][2]["tool_call_id"] == call["id"]
    assert events[-1].usage == {"input_tokens": 20, "output_tokens": 10}


def test_parallel_calls_run_together_and_are_stored_in_order(store):
    """Calls of one answer run side by side; results keep the order of the calls."""
    gate = threading.Barrier(2, timeout=60)

    def meet(name):
        gate.wait()
        return name

    meeting = Tool("meet", "", meet)
    model = ScriptedModel(Say(calls=[("meet", {"name": "a"}), ("meet", {"name": "b"})]), "ok")
    with Agent(model, store=store, tools=[meeting]) as agent:
        agent.process_with_session("s", "go")
    assert [m.text for m in store.messages("s") if m.role == "tool"] == ["a", "b"]


def test_tool_loop_is_bounded(store):
    """A model that calls tools for ever is stopped with an error that says so; what it did is kept."""
    model = ScriptedModel(*[Say(calls=[("add", {"a": 1, "b": 1})]) for _ in range(4)])
    with Agent(model, store=store, tools=[ADD], max_tool_rounds=3) as agent:
        with pytest.raises(ToolRoundsExceeded, match="more than 3 rounds"):
            agent.process_with_session("s", "loop")
    assert store.messages("s")[-1].role == "tool"


def test_cancelled_tool_leaves_a_result(store):
    """Cancelling while a tool runs stores a result for its call, so that the history stays valid."""
    started = []

    async def never():
        started.append(True)
        await asyncio.Event().wait()

    async def scenario():
        agent = Agent(
            ScriptedModel(Say(calls=[("wait", {})])), store=store, tools=[Tool("wait", "", never)]
        )
        events = agent.stream("go", "s")
        task = asyncio.create_task(_drain(events))
        while not started:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(agent.close)

    asyncio.run(scenario())
    assert [(m.role, m.text) for m in store.messages("s")][2:] == [("tool", "(interrupted)")]


async def _drain(events):
    async for _ in events:
        pass


def test_two_agents_on_one_session_lose_nothing(store):
    """Turns of two agents at once on one session are all there, each whole."""
    agents = [Agent(ScriptedModel(*[f"{n}.{i}" for i in range(10)]), store=store) for n in range(2)]
    threads = [
        threading.Thread(
            target=lambda a=a: [a.process_with_session("s", f"q{i}") for i in range(10)]
        )
        for a in agents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for agent in agents:
        agent.close()
    messages = store.messages("s")
    turns_seen = {m.turn_id for m in messages}
    assert len(turns_seen) * 2 == len(messages) >= 20


@pytest.mark.parametrize("plain", [True, False])
def test_closing_an_agent_ends_what_another_thread_asked(store, plain):
    """Nobody waits for ever: the turn is kept as interrupted, and who asked it is told."""
    began, release, told = threading.Event(), threading.Event(), []

    def hang():
        began.set()
        release.wait(20)

    async def wait():
        began.set()
        await asyncio.sleep(60)

    def ask():
        with pytest.raises(
            AgentError, match="the agent was closed while the call was running"
        ) as raised:
            agent.process_with_session("s", "go")
        told.append(raised.value)

    agent = Agent(
        ScriptedModel(Say(calls=[("t", {})]), "never said"),
        store=store,
        tools=[Tool("t", "", hang if plain else wait)],
    )
    thread = threading.Thread(target=ask)
    thread.start()
    assert began.wait(20)
    agent.close()
    thread.join(20)
    release.set()
    assert len(told) == 1
    assert [m.text for m in store.messages("s")] == ["go", "", "(interrupted)"]


def test_a_closed_agent_says_so(store):
    """Asking an agent that was closed is a mistake that is told, and leaves no thread behind."""
    agent = Agent(ScriptedModel("never said"), store=store)
    agent.close()
    for ask in (lambda: agent.process("hi"), lambda: agent.process_with_session("s", "hi")):
        with pytest.raises(UsageError, match="the agent is closed"):
            ask()
    agent.close()
    assert store.count() == 0


def test_a_tool_that_ends_before_others_is_told_at_once(store):
    """While one tool still runs, the event of another that has ended is already there; results stay in order."""
    release = threading.Event()
    slow = Tool("slow", "", lambda: release.wait(5) and "late")
    quick = Tool("quick", "", lambda: "early")
    model = ScriptedModel(Say(calls=[("slow", {}), ("quick", {})]), "ok")
    told = []
    with Agent(model, store=store, tools=[slow, quick]) as agent:
        for event in agent.stream_sync("go", "s"):
            if isinstance(event, ToolEnded):
                told.append((event.call["function"]["name"], event.text, event.failed))
                release.set()
    assert told == [("quick", "early", False)]
    assert [m.text for m in store.messages("s") if m.role == "tool"] == ["late", "early"]


@pytest.mark.parametrize("remove", ["clear", "delete"])
def test_question_removed_meanwhile_hides_no_error(store, remove):
    """A model that fails after somebody removed the question is told as what it is, and no other message is marked."""

    def meddle():
        getattr(store, remove)("s")
        store.append("s", {"role": "user", "content": "somebody else's"})
        return "done"

    model = ScriptedModel(Say(calls=[("meddle", {})]), Say(raises=ModelUnreachable("gone")))
    store.append("s", {"role": "user", "content": "earlier"})
    with Agent(model, store=store, tools=[Tool("meddle", "", meddle)]) as agent:
        with pytest.raises(ModelUnreachable, match="gone"):
            agent.process_with_session("s", "hello")
    assert ("user", "somebody else's", "complete") in rows_of(store, "s")


def test_an_approval_that_fails_ends_the_turn_and_its_other_calls(store):
    """What the program's own function raises is the program's; the calls beside it are stopped, and each is stored."""
    stopped = []

    async def wait():
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append("wait")

    async def approve(tool, arguments):
        raise LookupError(tool.name)

    tools = [Tool("wait", "", wait), Tool("remove", "", lambda: None, effect="destroy")]
    model = ScriptedModel(Say(calls=[("wait", {}), ("remove", {})]), "never said")
    with Agent(model, store=store, tools=tools, approve=approve) as agent:
        with pytest.raises(LookupError, match="remove"):
            agent.process_with_session("s", "go")
        assert stopped == ["wait"]
    assert [m.text for m in store.messages("s")[2:]] == ["(interrupted)"] * 2
