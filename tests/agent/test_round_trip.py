"""The whole way of a tool: called, approved, run, answered, stored, exported, imported, and replayed to another model."""

from __future__ import annotations

import json
from io import BytesIO

import pytest

from omniagent_cli import Agent, open_store, tool
from omniagent_cli.agent.events import ToolCalled, ToolReturned, TurnDone
from omniagent_cli.agent.tools.tool import Decision
from omniagent_cli.formats.exporter import export_sessions
from omniagent_cli.formats.importer import import_stream
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.agent.asking import engine_for
from tests.servers.chat_server import answer, calls


@tool(effect="write")
def book(room: int, guests: list[str]) -> dict[str, object]:
    """Book a room.

    Args:
        room: its number.
        guests: their names.
    """
    return {"room": room, "for": ", ".join(guests)}


@tool
async def free(day: str) -> str:
    """Tell which room is free."""
    return f"17 is free on {day}"


ARGUMENTS = {"room": 17, "guests": ["Ada", "Bob"]}
RESULT = '{"room":17,"for":"Ada, Bob"}'


NATIVE = ("anthropic", "gemini", "bedrock", "mistral", "groq")


@pytest.fixture(params=["scripted", "chat completions", *NATIVE])
def engines(request, chat_server, native_server):
    """Two engines of one kind: the first calls the tools and answers, the second goes on; and what each was sent."""
    if request.param in NATIVE:
        return _native(request.param, native_server)
    if request.param == "scripted":
        first = ScriptedModel(
            Say("Looking.", calls=[("free", {"day": "Monday"})]),
            Say(calls=[("book", ARGUMENTS)]),
            "Done.",
        )
        second = ScriptedModel("It is 17.")
        return first, second, lambda: (first.requests, second.requests)
    one = chat_server(
        calls(("free", {"day": "Monday"}), text="Looking."),
        calls(("book", ARGUMENTS)),
        answer("Done."),
    )
    two = chat_server(answer("It is 17."))

    def sent():
        return [[body["messages"] for body in server.chats()] for server in (one, two)]

    return engine_for(one), engine_for(two), sent


def _native(name, native_server):
    from tests.agent.native_asking import BY_NAME
    from tests.agent.native_wire import as_chat

    protocol = BY_NAME[name]
    speaks = protocol.speaks
    one = native_server(
        protocol,
        speaks.calls(("free", '{"day": "Monday"}'), text="Looking.", thinking=["Which day?"]),
        speaks.calls(("book", json.dumps(ARGUMENTS))),
        speaks.answer("Done."),
    )
    two = native_server(protocol, speaks.answer("It is 17."))

    def sent():
        return [[as_chat(name, body) for body in server.chats()] for server in (one, two)]

    return protocol.engine(one), protocol.engine(two), sent


@pytest.mark.parametrize("form", ["jsonl", "json", "openai"])
def test_the_whole_way_of_a_tool(engines, form, tmp_path):
    """What a tool did is the same in the events, the store, an export, its import, and the next model's request."""
    first, second, sent = engines
    asked = []

    async def approve(tool, arguments):
        asked.append((tool.name, dict(arguments)))
        return Decision(allowed=True, by="asked")

    with open_store(tmp_path / "a.db") as store:
        with Agent(first, store=store, tools=[free, book], approve=approve) as agent:
            events = list(agent.stream_sync("Book a room on Monday.", "s"))
        assert asked == [("book", ARGUMENTS)]
        assert [type(e) for e in events if isinstance(e, ToolCalled | ToolReturned | TurnDone)] == [
            ToolCalled, ToolReturned, ToolCalled, ToolReturned, TurnDone,
        ]  # fmt: skip
        said = [(m.role, m.text) for m in store.messages("s")]
        assert said == [
            ("user", "Book a room on Monday."),
            ("assistant", "Looking."),
            ("tool", "17 is free on Monday"),
            ("assistant", ""),
            ("tool", RESULT),
            ("assistant", "Done."),
        ]
        result = store.messages("s")[4]
        assert result.name == "book"
        assert result.extra == {"approved": True, "approved_by": "asked"}
        exported = bytearray()
        export_sessions(store, ["s"], form, exported.extend)

    with open_store(tmp_path / "b.db") as other:
        import_stream(other, BytesIO(exported), name="export", as_id="s")
        assert [(m.role, m.text) for m in other.messages("s")] == said
        with Agent(second, store=other, tools=[free, book]) as agent:
            assert agent.process_with_session("s", "Which room?") == "It is 17."

    before, after = sent()
    replayed = after[0]
    assert [m["role"] for m in replayed] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert _sayings(replayed)[: len(before[2])] == _sayings(before[2])
    call = replayed[3]["tool_calls"][0]
    assert call["function"]["name"] == "book"
    assert json.loads(call["function"]["arguments"]) == ARGUMENTS
    assert replayed[4]["tool_call_id"] == call["id"]
    assert replayed[4]["content"] == RESULT


KEYS = ("role", "content", "tool_calls", "tool_call_id")


def _sayings(messages):
    """What of a request is said, without ids and times of records."""
    return [{key: message[key] for key in KEYS if message.get(key)} for message in messages]
