"""Going on with a turn that stopped early."""

import asyncio
from contextlib import aclosing

import pytest

from omniagent_cli import Agent, Tool, open_store
from omniagent_cli.agent.events import TextDelta, TurnDone
from omniagent_cli.agent.resume import INSTRUCTION, Ending, ending, read_turn
from omniagent_cli.errors import ModelUnreachable, ToolRoundsExceeded, UsageError
from omniagent_cli.models import Message
from omniagent_cli.testing.scripted import Say, ScriptedModel

LOST = ModelUnreachable("the line is dead")


@pytest.fixture
def store():
    with open_store("memory:") as store:
        yield store


def rows_of(store, session_id="s"):
    return [(m.role, m.text, m.status) for m in store.messages(session_id)]


def gone_on(agent, session_id="s", **options):
    """Go on and return the events."""

    async def run():
        return [event async for event in agent.continue_turn(session_id, **options)]

    return asyncio.run(run())


def stopped(store, *script, question="count"):
    """Ask a model that fails after its script, and return the model and an agent."""
    model = ScriptedModel(*script)
    agent = Agent(model, store=store)
    with pytest.raises(ModelUnreachable):
        agent.process_with_session("s", question)
    return model, agent


def test_a_failed_answer_goes_on_as_one_message(store):
    """What comes is added to what was there: one answer, complete, with a mark where it was taken up again."""
    _, agent = stopped(store, Say("one two", raises=LOST), " three")
    with agent:
        events = gone_on(agent)
    assert rows_of(store) == [
        ("user", "count", "complete"),
        ("assistant", "one two three", "complete"),
    ]
    assert "".join(e.text for e in events if isinstance(e, TextDelta)).strip() == "three"
    assert isinstance(events[-1], TurnDone)
    assert events[-1].message.text == "one two three"
    answer = store.messages("s")[1]
    assert answer.extra == {"continued": [{"at": 7, "model": "scripted:model"}]}
    assert [hit.position for hit in store.search("three")] == [1]


def test_the_model_is_asked_with_its_partial_answer(store):
    """Question, partial answer and an instruction are sent; the instruction is nobody's words and is not stored."""
    model, agent = stopped(store, Say("one two", raises=LOST), " three", "next")
    with agent:
        gone_on(agent)
        agent.process_with_session("s", "more")
    sent = [[(m["role"], m["content"]) for m in request] for request in model.requests[1:]]
    assert sent[0] == [("user", "count"), ("assistant", "one two"), ("user", INSTRUCTION)]
    assert sent[1] == [("user", "count"), ("assistant", "one two three"), ("user", "more")]


def test_an_answer_cut_at_the_limit_goes_on(store):
    """An answer that reached the token limit grows on; what both requests used is added up."""
    first = Say("one two", reason="length")
    with Agent(ScriptedModel(first, Say(" three", reason="length"), " four"), store=store) as agent:
        agent.process_with_session("s", "count")
        gone_on(agent)
        assert ending(read_turn(store, "s")) is Ending.CUT
        gone_on(agent)
    question, answer = store.messages("s")
    assert (question.text, answer.text, answer.status) == (
        "count",
        "one two three four",
        "complete",
    )
    assert answer.usage == {"input_tokens": 30, "output_tokens": 15}
    seams = (answer.extra or {})["continued"]
    assert [seam["at"] for seam in seams] == [7, 13]
    assert seams[0]["extra"] == {"finish_reason": "length"}
    assert ending(read_turn(store, "s")) is Ending.COMPLETE


def test_another_model_can_go_on(store):
    """The answer stays that of the model which began it; the mark says who went on."""
    _, agent = stopped(store, Say("one", raises=LOST))
    with agent:
        gone_on(agent, engine=ScriptedModel(" two", name="other:model"))
    answer = store.messages("s")[1]
    assert (answer.model, answer.text) == ("scripted:model", "one two")
    assert (answer.extra or {})["continued"][0]["model"] == "other:model"


def test_failing_before_a_word_leaves_the_answer_as_it_was(store):
    """When the model says nothing more, nothing of the stored answer changes, and it can be tried again."""
    _, agent = stopped(
        store, Say("one", raises=LOST), Say(raises=LOST), Say(" two", raises=LOST), "!"
    )
    before = store.messages("s")
    with agent:
        with pytest.raises(ModelUnreachable):
            gone_on(agent)
        assert store.messages("s") == before
        with pytest.raises(ModelUnreachable):
            gone_on(agent)
        answer = store.messages("s")[1]
        assert (answer.text, answer.status) == ("one two", "failed")
        assert (answer.extra or {})["error"] == "the line is dead"
        gone_on(agent)
    assert rows_of(store)[1] == ("assistant", "one two!", "complete")


def test_going_on_is_interrupted(store):
    """Closing it in the middle keeps what came, interrupted, and one can go on once more."""
    _, agent = stopped(store, Say("one", raises=LOST), Say(" two", hang=True), " three")

    async def begin():
        async with aclosing(agent.continue_turn("s")) as events:
            async for event in events:
                if isinstance(event, TextDelta) and "two" in event.text:
                    break

    with agent:
        asyncio.run(begin())
        assert rows_of(store)[1] == ("assistant", "one two", "interrupted")
        gone_on(agent)
    assert rows_of(store)[1] == ("assistant", "one two three", "complete")


def test_a_turn_that_stopped_among_its_tools_goes_on(store):
    """After the rounds are over, the results are sent and the answer comes; nothing is asked in anybody's name."""
    tool = Tool("look", "Look.", lambda: "seen")
    model = ScriptedModel(Say(calls=[("look", {})]), "I saw it.")
    with Agent(model, store=store, tools=[tool], max_tool_rounds=0) as agent:
        with pytest.raises(ToolRoundsExceeded):
            agent.process_with_session("s", "look")
        gone_on(agent)
    assert [m["role"] for m in model.requests[1]] == ["user", "assistant", "tool"]
    assert [(role, text) for role, text, _ in rows_of(store)] == [
        ("user", "look"),
        ("assistant", ""),
        ("tool", "seen"),
        ("assistant", "I saw it."),
    ]
    assert len({m.turn_id for m in store.messages("s")}) == 1


def test_going_on_may_call_tools(store):
    """An answer that goes on into a tool call runs it and ends with another answer of the same turn."""
    tool = Tool("look", "Look.", lambda: "seen")
    model = ScriptedModel(
        Say("I will", raises=LOST), Say(" look.", calls=[("look", {})]), "I saw it."
    )
    with Agent(model, store=store, tools=[tool]) as agent:
        with pytest.raises(ModelUnreachable):
            agent.process_with_session("s", "look")
        gone_on(agent)
    assert [text for _, text, _ in rows_of(store)] == ["look", "I will look.", "seen", "I saw it."]
    assert INSTRUCTION not in [m["content"] for m in model.requests[2]]


def test_among_turns_of_others(store):
    """A turn goes on where it stands, by its id, when another writer's turn came after it."""
    _, agent = stopped(store, Say("one", raises=LOST), " two")
    turn_id = store.messages("s")[0].turn_id
    store.append("s", [Message("user", "theirs"), Message("assistant", "whole")])
    with agent:
        gone_on(agent, turn_id=turn_id)
    assert [text for _, text, _ in rows_of(store)] == ["count", "one two", "theirs", "whole"]


def test_an_unanswered_question_is_answered(store):
    """A question that got no answer is answered where it stands, and its mark of failure goes."""
    _, agent = stopped(store, Say(raises=LOST), "one two")
    assert ending(read_turn(store, "s")) is Ending.UNANSWERED
    with agent:
        gone_on(agent)
    assert rows_of(store) == [("user", "count", "complete"), ("assistant", "one two", "complete")]


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], "the session has no messages"),
        ([Message("user", "q"), Message("assistant", "a")], "the last answer is complete"),
    ],
)
def test_nothing_to_go_on_with(store, messages, told):
    """Where there is nothing to go on with, that is said, and nothing is asked or created."""
    if messages:
        store.append("s", messages)
    with Agent(ScriptedModel(), store=store) as agent, pytest.raises(UsageError, match=told):
        gone_on(agent)
    assert store.exists("s") == bool(messages)


def test_recall_only_answers_whole(store):
    """`recall`, which is no language model, refuses instead of making something up."""
    store.append("s", [Message("user", "q"), Message("assistant", "a", status="interrupted")])
    with Agent("recall", store=store) as agent, pytest.raises(UsageError, match="recall cannot"):
        gone_on(agent)


def test_a_turn_without_an_id_is_read(store):
    """Imported messages without turns: the last question and what follows it are its turn."""
    with open_store("memory:") as other:
        assert read_turn(other, "none") == []
    store.append("s", [Message("user", f"q{n}") for n in range(40)])
    store.append("s", Message("assistant", "late", turn_id=store.messages("s")[0].turn_id))
    first = store.messages("s")[0]
    assert [m.text for m in read_turn(store, "s", first.turn_id)] == ["q0", "late"]
    assert [m.text for m in read_turn(store, "s")] == ["q39"]
