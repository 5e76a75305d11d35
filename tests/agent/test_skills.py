"""Skills: set up once, closed with the agent, switched on and off; one that fails takes nothing else with it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from omniagent_cli import Agent, Skill, ToolContext, open_store, tool
from omniagent_cli.agent.events import Notice, ToolReturned
from omniagent_cli.agent.models.recall import Recall
from omniagent_cli.agent.tools.tool import Tool
from omniagent_cli.agent.tools.tool_toggles import ToolToggles
from omniagent_cli.errors import StoreUnreachable, UsageError
from omniagent_cli.testing.scripted import Say, ScriptedModel


@pytest.fixture
def store():
    with open_store("memory:") as store:
        yield store


class Diary(Skill):
    """Notes what happens to it, in which thread and loop."""

    def __init__(self, name="diary", tools=("read_it",), *, fails=None):
        super().__init__(name)
        self.names = tools
        self.fails = fails
        self.happened = []
        self.loops = set()

    async def open(self, store):
        self.note("open")
        if self.fails:
            raise self.fails

        async def read_it(context: ToolContext):
            self.note("run")
            return f"{self.name} {context.session_id} {context.call_id} {context.store is store}"

        return [Tool(name, "Reads it.", read_it) for name in self.names]

    async def aclose(self):
        self.note("close")

    def note(self, what):
        self.happened.append(what)
        self.loops.add((threading.get_ident(), id(asyncio.get_running_loop())))


def offered(model):
    return [[tool["function"]["name"] for tool in tools] for tools in model.tools]


def notices(events):
    return [event.text for event in events if isinstance(event, Notice)]


def test_a_skill_is_set_up_once_and_closed_with_the_agent(store):
    """Nothing happens before the first turn; then it is open for all turns, in one loop, whoever asks from where."""
    diary = Diary()
    model = ScriptedModel(Say(calls=[("read_it", {})]), "one", Say(calls=[("read_it", {})]), "two")
    with Agent(model, store=store, skills=[diary]) as agent:
        assert diary.happened == []
        asyncio.run(agent.aprocess_with_session("s", "hi"))
        agent.process_with_session("s", "hi")
        assert diary.happened == ["open", "run", "run"]
    assert diary.happened[-1] == "close"
    assert len(diary.loops) == 1
    assert [m.text for m in store.messages("s") if m.role == "tool"] == [
        "diary s call_1 True",
        "diary s call_2 True",
    ]


def test_nothing_is_set_up_for_a_model_without_tools(store):
    """`recall` uses no tools, so no skill is set up for it."""
    diary = Diary()
    with Agent(Recall(store), store=store, skills=[diary]) as agent:
        agent.process_with_session("s", "hi")
    assert diary.happened == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreUnreachable("nobody there"), "nobody there"),
        (ZeroDivisionError("oh"), "ZeroDivisionError: oh"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_a_skill_that_cannot_be_set_up_is_told_once(store, error, told):
    """The turn goes on with the other tools, and the next one says nothing again."""
    model = ScriptedModel("one", "two")
    with Agent(model, store=store, skills=[Diary("bad", fails=error), Diary()]) as agent:
        first = list(agent.stream_sync("hi", "s"))
        second = list(agent.stream_sync("hi", "s"))
    assert notices(first) == [f"Cannot open the skill bad: {told}; its tools are not available"]
    assert notices(second) == []
    assert offered(model) == [["read_it"], ["read_it"]]


class Odd(Skill):
    """A skill that does what no skill should, and prints at every step."""

    def __init__(self, tools):
        super().__init__("odd")
        self._opened = tools

    async def open(self, store):
        print("opened")
        if isinstance(self._opened, BaseException):
            raise self._opened
        return self._opened

    async def aclose(self):
        print("closed")


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        ([print], "it returned an object that is not a Tool"),
        (None, "TypeError: 'NoneType' object is not iterable"),
        (asyncio.CancelledError(), "it raised CancelledError"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_a_skill_that_does_what_no_skill_should_is_left_out(store, capfd, tools, told):
    """The turn goes on without it, and what it prints stays out of the answer."""
    with Agent(ScriptedModel("Still here."), store=store, skills=[Odd(tools)]) as agent:
        events = list(agent.stream_sync("hi"))
    assert notices(events) == [f"Cannot open the skill odd: {told}; its tools are not available"]
    assert capfd.readouterr().out == ""


def test_what_a_skill_prints_stays_out_of_the_answer(store, capfd):
    """Setting up and closing are as quiet as running."""
    with Agent(ScriptedModel("Hello."), store=store, skills=[Odd([])]) as agent:
        assert agent.process("hi") == "Hello."
    assert capfd.readouterr().out == ""


def test_a_program_that_ends_in_its_own_function_ends(store):
    """Who asked from a plain function hears a SystemExit that `approve` or the list of skills raises, and does not wait for ever."""

    async def approve(tool, arguments):
        raise SystemExit(7)

    def skills():
        raise SystemExit(8)

    remove = Tool("remove", "", lambda: None, effect="destroy")
    model = ScriptedModel(Say(calls=[("remove", {})]), "never said")
    with Agent(model, store=store, tools=[remove], approve=approve) as agent:
        with pytest.raises(SystemExit, match="7"):
            agent.process_with_session("s", "go")
        assert store.messages("s")[-1].text == "(interrupted)"
    with (
        Agent(ScriptedModel("never said"), store=store, skills=skills) as agent,
        pytest.raises(SystemExit, match="8"),
    ):
        agent.process("go")


def test_a_skill_that_takes_too_long_is_left_out(store):
    """Setting up has an end."""

    class Slow(Diary):
        open_seconds = 0.01

        async def open(self, store):
            await asyncio.Event().wait()

    with Agent(ScriptedModel("ok"), store=store, skills=[Slow("slow")]) as agent:
        told = notices(agent.stream_sync("hi", "s"))
    assert told == [
        "Cannot open the skill slow: timed out after 0.01 s; its tools are not available"
    ]


def test_interrupting_the_set_up_keeps_the_question(store):
    """Ctrl-C while a skill is set up leaves the question, marked, and the next turn sets it up anew."""
    began = threading.Event()

    class Slow(Diary):
        async def open(self, store):
            if not began.is_set():
                began.set()
                await asyncio.Event().wait()
            return await super().open(store)

    async def scenario():
        async with Agent(ScriptedModel("ok"), store=store, skills=[Slow()]) as agent:
            task = asyncio.create_task(agent.aprocess_with_session("s", "hi"))
            await asyncio.to_thread(began.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [(m.text, m.status) for m in store.messages("s")] == [("hi", "interrupted")]
            return await agent.aprocess_with_session("s", "hi")

    assert asyncio.run(scenario()) == "ok"
    assert [m.text for m in store.messages("s")] == ["hi", "ok"]


def test_names_are_taken_by_the_first(store):
    """The agent's own tools come first, then the skills in order; a second of a name is left out and told."""
    own = Tool("a", "Mine.", lambda: "mine")
    skills = [Diary("one", ("a", "b")), Diary("two", ("b", "c", "no such name!"))]
    model = ScriptedModel("ok")
    with Agent(model, store=store, tools=[own], skills=skills) as agent:
        told = notices(agent.stream_sync("hi", "s"))
    assert offered(model) == [["a", "b", "c"]]
    assert told == [
        "tool a of the skill one is not available: the agent has a tool of the same name",
        "tool b of the skill two is not available: the skill one has a tool of the same name",
        "tool no such name! of the skill two is not available: providers do not accept this name",
    ]


def test_an_agent_says_what_is_wrong_with_its_own_tools():
    """Two of a name, a name no provider takes, and plain functions are refused at once."""
    one = Tool("a", "", print)
    for tools, why in [
        ([one, one], "duplicate name"),
        ([Tool("a b", "", print)], "1 to 64 letters"),
        ([print], "create one with @tool"),
    ]:
        with pytest.raises(UsageError, match=why):
            Agent(ScriptedModel(), tools=tools)


def test_switches_of_a_run(store):
    """Disabled tools and skills are not offered, only the chosen are; a name that is none is told."""
    only = ToolToggles(only=frozenset({"a", "two", "nope"}), disabled=frozenset({"d", "three"}))
    skills = [Diary("one", ("a", "b")), Diary("two", ("c", "d")), Diary("three", ("e",))]
    model = ScriptedModel("ok")
    with Agent(model, store=store, skills=skills, toggles=only) as agent:
        told = notices(agent.stream_sync("hi", "s"))
    assert offered(model) == [["a", "c"]]
    assert told == ["unknown tool or skill 'nope'; available: a, b, c, d, one, two"]
    assert skills[2].happened == []  # what is disabled as a whole is not even set up


def switch(agent, session_id, name, *, on):
    return asyncio.run(agent.toggle_tool(session_id, name, on=on))


def test_switches_of_a_session_are_kept_with_it(store):
    """What is switched in a session holds there for every agent from then on, and nowhere else."""
    model = ScriptedModel(*["ok"] * 6)

    def turn(session_id):
        agent.process_with_session(session_id, "hi")
        return offered(model)[-1]

    with Agent(
        model, store=store, skills=[Diary("one", ("a", "b")), Diary("two", ("c",))]
    ) as agent:
        switch(agent, "s", "one", on=False)
        assert not store.exists("s")  # switching makes no session
        assert turn("s") == ["c"]
        assert store.get_state("s", "tools") == {"on": [], "off": ["one"]}
        switch(agent, "s", "b", on=True)
        assert turn("s") == ["b", "c"]
        assert turn("t") == ["a", "b", "c"]
    with Agent(
        model, store=store, skills=[Diary("one", ("a", "b")), Diary("two", ("c",))]
    ) as agent:
        assert turn("s") == ["b", "c"]
        switch(agent, "s", "one", on=True)
        assert turn("s") == ["a", "b", "c"]


def test_what_cannot_be_switched_is_told(store):
    """A name that is none, and what the settings switch off for every session, are refused."""
    off = ToolToggles(disabled=frozenset({"b"}))
    with Agent(
        ScriptedModel(), store=store, skills=[Diary("one", ("a", "b"))], toggles=off
    ) as agent:
        with pytest.raises(UsageError, match="unknown tool or skill 'x'; available: a, b, one"):
            switch(agent, "s", "x", on=False)
        with pytest.raises(UsageError, match="b is off in the settings"):
            switch(agent, "s", "b", on=True)


@pytest.mark.parametrize("state", [3, [], {"off": "a"}, {"off": [1, None]}, {"on": {"a": 1}}])
def test_a_state_that_makes_no_sense_switches_nothing(store, state):
    """Whatever an imported session holds under that key, its turns go on."""
    store.append("s", {"role": "user", "content": "x"})
    store.set_state("s", "tools", state)
    model = ScriptedModel("ok")
    with Agent(model, store=store, skills=[Diary()]) as agent:
        agent.process_with_session("s", "hi")
    assert offered(model) == [["read_it"]]


def test_a_tool_that_blocks_the_loop_of_the_skills_blocks_nothing_else(store):
    """An asynchronous tool that never awaits is given up, and so is closing it; the program goes on."""
    release = threading.Event()

    @tool(timeout_seconds=0.05)
    async def block() -> str:
        """Block."""
        release.wait(20)
        return "late"

    model = ScriptedModel(Say(calls=[("block", {})]), "ok")
    with Agent(model, store=store, skills=[Skill("s", [block])]) as agent:
        results = [e for e in agent.stream_sync("hi", "s") if isinstance(e, ToolReturned)]
        release.set()
    assert results[0].message.text.startswith("error: block timed out after 0.05 s")
    assert store.messages("s")[-1].text == "ok"


def test_a_tool_that_needs_a_store_names_the_missing_one():
    """Without a store, `ToolContext.store` raises an error that says how to give one."""

    @tool
    def remember(context: ToolContext) -> str:
        """Remember."""
        return context.store.url

    model = ScriptedModel(Say(calls=[("remember", {})]), "done")

    async def ask():
        skill = Skill("own", description="own", tools=[remember])
        async with Agent(model, skills=[skill]) as agent:
            return [event async for event in agent.stream("go")]

    (result,) = [event for event in asyncio.run(ask()) if isinstance(event, ToolReturned)]
    assert "Agent(store=...)" in result.message.text
