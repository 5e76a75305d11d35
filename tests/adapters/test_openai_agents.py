"""Our sessions as the sessions of the OpenAI Agents SDK, with the SDK itself."""

import asyncio
import gc
import threading

import pytest
from agents import Agent, RunConfig, Runner, function_tool, handoff
from agents.items import ModelResponse
from agents.memory import Session, SessionSettings
from agents.models.interface import Model
from agents.usage import Usage
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from omniagent_cli import open_store
from omniagent_cli.adapters.openai_agents import ITEM, OmniSession
from omniagent_cli.errors import InvalidRecord, StoreClosed
from tests import typed_use
from tests.stores.place import run
from tests.stores.test_contract import CASES

ITEMS = [
    {"role": "user", "content": "Hello \ud83d"},
    {"content": "Hi", "role": "assistant"},
    {"role": "developer", "content": "Be brief."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:x"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "ls", "arguments": '{"a": 1}', "status": "completed"},
    {"arguments": "{}", "call_id": "c2", "name": "ls", "type": "function_call"},
    {"type": "function_call_output", "call_id": "c1", "output": "file"},
    {"call_id": "c2", "output": "file", "type": "function_call_output"},
    {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "x"}]},
    {"type": "computer_call_output", "call_id": "c3", "output": {"type": "computer_screenshot"}},
    {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Done", "annotations": [], "logprobs": []}]},
    {"type": "mcp_call", "id": "m", "name": "n", "arguments": None, "server_label": "s", "output": None},
    {"type": "item_reference", "id": "x"},
    {"anything": [1, 2.5, None, {"deep": True}], "role": 7, "content": {"a": 1}},
    {"role": "user", "content": ""},
    {"role": "tool", "content": "odd"},
    {},
]  # fmt: skip


class ScriptedModel(Model):
    """A model that answers from a list, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def get_response(self, **options):
        self.asked.append(options["input"])
        return ModelResponse(output=self.answers.pop(0), usage=Usage(), response_id=None)

    async def stream_response(self, *args, **options):
        raise NotImplementedError
        yield


def text(content):
    part = ResponseOutputText(text=content, type="output_text", annotations=[])
    return ResponseOutputMessage(
        id="msg", content=[part], role="assistant", status="completed", type="message"
    )


def call(name, arguments="{}", call_id="call_1"):
    return ResponseFunctionToolCall(
        call_id=call_id, name=name, arguments=arguments, type="function_call"
    )


@function_tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


@pytest.fixture(params=[name for name in CASES if "-" not in name or name == "sqlite-both"])
def store(request, tmp_path):
    with CASES[request.param].open(tmp_path) as opened:
        yield opened


@pytest.fixture
def session(store):
    made = OmniSession("s", store)
    yield made
    made.close()


def ask(agent, question, session, **options):
    config = RunConfig(tracing_disabled=True, **options)
    return asyncio.run(Runner.run(agent, question, session=session, run_config=config))


def items(session, limit=None):
    return asyncio.run(session.get_items(limit))


def add(session, *given):
    asyncio.run(session.add_items(list(given)))


def test_it_is_a_session(session):
    """The SDK takes it for one of its sessions."""
    assert isinstance(session, Session)
    assert (session.session_id, session.session_settings) == ("s", None)


def test_two_runs_share_a_history(store):
    """The second run of an agent sees what the first said and what its tools gave, from another object."""
    model = ScriptedModel([call("weather", '{"city": "Ulm"}')], [text("Rain.")], [text("Ulm.")])
    agent = Agent(name="a", model=model, tools=[weather])
    first, second = OmniSession("s", store), OmniSession("s", store)
    assert ask(agent, "How is Ulm?", first).final_output == "Rain."
    assert ask(agent, "Where?", second).final_output == "Ulm."
    asked = model.asked[2]
    assert [item.get("type", item.get("role")) for item in asked] == [
        "user",
        "function_call",
        "function_call_output",
        "message",
        "user",
    ]
    assert asked[2]["output"] == "rain in Ulm"
    assert items(first) == items(second)
    messages = store.messages("s")
    roles = ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert [m.role for m in messages] == roles
    said = ["How is Ulm?", "", "rain in Ulm", "Rain.", "Where?", "Ulm."]
    assert [m.text for m in messages] == said
    (called,) = messages[1].tool_calls
    assert called["function"] == {"name": "weather", "arguments": '{"city": "Ulm"}'}
    assert len({m.turn_id for m in messages[:4]}) == 1
    assert [hit.position for hit in store.search("Ulm rain")] == [2]
    assert store.header("s").title == "How is Ulm?"
    first.close()
    second.close()


def test_handoffs_come_back(session):
    """A run that was handed to another agent goes on from its history."""
    model = ScriptedModel([call("transfer_to_other")], [text("Other here.")], [text("Still.")])
    other = Agent(name="other", model=model)
    agent = Agent(name="first", model=model, handoffs=[handoff(other)])
    ask(agent, "Hand over", session)
    before = items(session)
    ask(agent, "Who?", session)
    assert items(session)[: len(before)] == before
    assert [item for item in before if item.get("type") == "function_call_output"]


def test_the_limit_of_a_run(session):
    """The session's settings, and those of a run, limit what is sent."""
    model = ScriptedModel(*([text(str(n))] for n in range(3)))
    agent = Agent(name="a", model=model)
    for number in range(2):
        ask(agent, f"q{number}", session)
    ask(agent, "q2", session, session_settings=SessionSettings(limit=1))
    assert [item.get("content") for item in model.asked[2]][-1] == "q2"
    assert len(model.asked[2]) == 2


def test_items_of_any_shape(session, store):
    """Whatever the SDK stores comes back equal, in order, in one batch or many."""
    add(session, *ITEMS)
    for item in ITEMS:
        add(session, item)
    assert items(session) == ITEMS * 2
    assert store.count_messages("s") == 2 * len(ITEMS)


def test_plain_items_are_kept_once(session, store):
    """What our message shape holds whole is not stored a second time beside it."""
    add(session, {"content": "Hi", "role": "user"}, {"role": "user", "content": "Hi", "x": 1})
    first, second = store.messages("s")
    assert (first.extra, second.extra[ITEM]["x"]) == (None, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
LIKELY = st.sampled_from(
    ["role", "type", "content", "call_id", "name", "arguments", "output", "id"]
)
WORDS = st.sampled_from(
    ["user", "assistant", "message", "function_call", "function_call_output", "mcp_call"]
)


@settings(deadline=None)
@given(
    given=st.lists(
        st.dictionaries(LIKELY | st.text(max_size=4), WORDS | JSON, max_size=5), max_size=5
    )
)
def test_any_json_object(given):
    """Any JSON objects come back equal, types and order of keys included."""
    with open_store("memory:") as store:
        session = OmniSession("s", store)
        add(session, *given)
        assert repr(items(session)) == repr(given)
        session.close()


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, [0, 1, 2]), (0, []), (1, [2]), (2, [1, 2]), (9, [0, 1, 2]), (-1, [0, 1, 2])],
)
def test_limits(session, limit, expected):
    """A limit gives the newest in order; 0 is nothing, None and what is negative are all."""
    add(session, *({"role": "user", "content": str(n)} for n in range(3)))
    assert [int(item["content"]) for item in items(session, limit)] == expected


@pytest.mark.parametrize("given", [SessionSettings(limit=1), {"limit": 1}])
def test_the_limit_of_the_settings(store, given):
    """The settings' limit holds when none is given, and 0 is one that is given."""
    session = OmniSession("s", store, session_settings=given)
    add(session, *({"role": "user", "content": str(n)} for n in range(3)))
    assert [len(items(session, limit)) for limit in (None, 0, 2)] == [1, 0, 2]
    assert session.session_settings == SessionSettings(limit=1)
    session.close()


def test_pop(session, store):
    """Popping takes the newest, to the trash, until there is none; positions are not used again."""
    assert asyncio.run(session.pop_item()) is None
    assert not store.exists("s")
    add(session, *ITEMS[:3])
    assert [asyncio.run(session.pop_item()) for _ in range(4)] == [*ITEMS[2::-1], None]
    assert [entry.kind for entry in store.trash()] == ["undone"] * 3
    add(session, ITEMS[0])
    assert [m.position for m in store.messages("s")] == [3]


def test_clear(session, store):
    """Clearing removes the items, to the trash, and keeps the session."""
    asyncio.run(session.clear_session())
    assert not store.exists("s")
    add(session, *ITEMS)
    store.set_metadata("s", "k", 1)
    asyncio.run(session.clear_session())
    assert items(session) == []
    assert store.get_metadata("s", "k") == 1
    store.restore("s")
    assert items(session) == ITEMS


def test_all_or_nothing(session, store):
    """A batch with something that is no JSON object is refused whole; an empty one makes nothing."""
    with pytest.raises(InvalidRecord):
        add(session, ITEMS[0], "text")
    with pytest.raises(InvalidRecord):
        add(session, ITEMS[0], {"role": "user", "content": object()})
    add(session)
    assert not store.exists("s")


def test_what_others_wrote(session, store):
    """Messages of the chat or of another program are items too; limits count items."""
    calls = [{"id": "c", "function": {"name": "ls", "arguments": "{}"}}]
    store.append(
        "s",
        [
            {"role": "user", "content": [{"type": "text", "text": "list"}]},
            {"role": "assistant", "content": "I look.", "tool_calls": calls},
            {"role": "tool", "content": "file", "tool_call_id": "c", "name": "ls"},
            {"role": "assistant", "content": ""},
        ],
    )
    told = [
        {"role": "user", "content": "list"},
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "c", "name": "ls", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "file"},
    ]
    assert items(session) == told
    assert items(session, 3) == told[1:]
    assert asyncio.run(session.pop_item()) == told[3]


def test_nothing_is_shared(session):
    """What goes in and comes out is the caller's own."""
    item = {"role": "user", "content": "a", "deep": [1]}
    add(session, item)
    item["deep"].append(2)
    items(session)[0]["deep"].append(3)
    assert items(session)[0]["deep"] == [1]


def test_order_within_an_object(session):
    """What one object was asked to do at once happens in the order it was asked."""

    async def many():
        await asyncio.gather(*(session.add_items([{"n": n}]) for n in range(50)))

    asyncio.run(many())
    assert items(session) == [{"n": n} for n in range(50)]


def test_cancelled_while_it_writes(store):
    """A cancelled caller gets its cancellation after the outcome is certain: what was begun is stored."""
    begun, go = threading.Event(), threading.Event()
    store.on("session_created", lambda event: (begun.set(), go.wait(10)))
    session = OmniSession("s", store)

    async def cancelled():
        task = asyncio.ensure_future(session.add_items(ITEMS))
        await asyncio.to_thread(begun.wait, 10)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await session.get_items()

    assert asyncio.run(cancelled()) == ITEMS
    session.close()


def test_closed(session, store):
    """A closed object does nothing any more, not even an empty batch; the store stays open."""
    session.close()
    session.close()
    for work in (session.get_items, lambda: session.add_items([]), session.pop_item):
        with pytest.raises(StoreClosed):
            asyncio.run(work())
    store.append("s", {"role": "user", "content": "x"})


def test_dropped_without_closing(store):
    """An object that nobody holds any more leaves no thread behind."""
    add(OmniSession("s", store), ITEMS[0])
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("omniagent-session"):
            thread.join(10)
            assert not thread.is_alive()


def test_the_sdk_is_not_needed(tmp_path):
    """The module works where the SDK is not installed."""
    code = """
import asyncio, sys
sys.modules["agents"] = None
from omniagent_cli import open_store
from omniagent_cli.adapters.openai_agents import OmniSession
with open_store(sys.argv[1]) as store:
    session = OmniSession("s", store, session_settings={"limit": 1})
    asyncio.run(session.add_items([{"content": "old", "role": "user"}]))
    asyncio.run(session.add_items([{"content": "hi", "role": "user"}]))
    print(asyncio.run(session.get_items()))
"""
    assert run(code, tmp_path / "a.db") == "[{'content': 'hi', 'role': 'user'}]\n"


def test_the_typed_program_runs(tmp_path):
    """The program in which mypy checks the public API and this adapter also works."""
    (tmp_path / "a.txt").write_text("text")
    with open_store("memory:") as store:
        assert [summary.title for summary in typed_use.use_store(store)] == ["Greeting"]
        listed = asyncio.run(typed_use.use_store_async(store))
        assert [summary.id for summary in listed] == ["a"]
        assert "this session" in asyncio.run(typed_use.use_agent(store))
        assert len(typed_use.use_agent_from_sync_code(store, tmp_path / "a.txt")) == 2
        items = asyncio.run(typed_use.use_sdk(ScriptedModel([text("hello")]), store))
        assert len(items) == 2
        assert typed_use.move(store, tmp_path / "copy.db", bytes(32)) == store.count()
