"""The same turn through every protocol: the same events, the same session."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest

from omniagent_cli import Agent, Tool, open_store
from omniagent_cli.agent.events import (
    ModelSettings,
    Notice,
    TextDelta,
    ThinkingDelta,
    ToolCalled,
    ToolReturned,
    TurnDone,
)
from omniagent_cli.errors import ModelError
from tests.agent.protocols import SPOKEN
from tests.agent.responses_asking import SCHEMA, WEATHER
from tests.servers.chat_server import STALL, Cut

PICTURE = [
    {"type": "text", "text": "What is it?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
]
PARIS, ROME = (("weather", json.dumps({"city": city})) for city in ("Paris", "Rome"))


def stored(store):
    """Return what of a session does not depend on who answered."""
    told = []
    for message in store.messages("s"):
        extra = message.extra or {}
        calls = [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.tool_calls or ()
        ]
        kept = (message.role, message.text, message.status, message.name, calls)
        told.append((*kept, extra.get("thinking"), extra.get("finish_reason")))
    ids = [call["id"] for message in store.messages("s") for call in message.tool_calls or ()]
    answered = [m.tool_call_id for m in store.messages("s") if m.role == "tool"]
    assert ids == answered
    return told


def shown(events):
    """Return what happened, with pieces of one kind joined."""
    told = []
    for kind, group in itertools.groupby(events, type):
        if kind in (TextDelta, ThinkingDelta):
            told.append((kind.__name__, "".join(event.text for event in group)))
            continue
        for event in group:
            if kind is ToolCalled:
                function = event.call["function"]
                told.append(("call", function["name"], json.loads(function["arguments"])))
            elif kind is ToolReturned:
                told.append(("result", event.message.text, event.failed))
            elif kind is Notice:
                told.append(("notice", event.text))
            elif kind is TurnDone:
                told.append(("done", event.message.text))
    return told


TURNS = {
    "text": (["Hi"], lambda p: [p.answer(["Hel", "lo"], [], "stop")]),
    "thinking": (["Hi"], lambda p: [p.answer(["So."], ["I th", "ink."], "stop")]),
    "rounds of tools": (
        ["Weather?", "Thanks"],
        lambda p: [
            p.calls([PARIS], "I look.", ["Hm."]),
            p.calls([ROME], "", []),
            p.answer(["All rain."], ["Yes."], "stop"),
            p.answer(["Bye."], [], "stop"),
        ],
    ),
    "parallel calls": (
        ["Weather?"],
        lambda p: [p.calls([PARIS, ROME], "", []), p.answer(["Rain."], [], "stop")],
    ),
    "a picture": ([PICTURE], lambda p: [p.answer(["A dot."], [], "stop")]),
    "cut by length": (["Hi"], lambda p: [p.answer(["Half"], [], "length")]),
    "a filter": (["Hi"], lambda p: [p.answer(["Half"], [], "content_filter")]),
    "an unknown tool": (
        ["Hi"],
        lambda p: [p.calls([("none", "{}")], "", []), p.answer(["Sorry."], [], "stop")],
    ),
}
EXPECTED = {
    "text": ["Hello"],
    "thinking": ["So."],
    "rounds of tools": ["I look.", "", "All rain.", "Bye."],
    "parallel calls": ["", "Rain."],
    "a picture": ["A dot."],
    "cut by length": ["Half"],
    "a filter": ["Half"],
    "an unknown tool": ["", "Sorry."],
}


def play(protocol, replies, questions, settings=None):
    """Ask the questions in one session; return what happened, and what is stored."""
    with open_store("memory:") as store, protocol.server(*replies) as server:

        async def turns():
            happened = []
            agent = Agent(protocol.engine(server), store=store, tools=[WEATHER], settings=settings)
            async with agent:
                for question in questions:
                    happened += [event async for event in agent.stream(question, "s")]
            return happened

        happened = asyncio.run(turns())
        assert getattr(server, "refused", []) == []
        return shown(happened), stored(store)


@pytest.fixture(scope="module")
def reference():
    """What happens through Chat Completions, turn by turn."""
    chat = SPOKEN[0]
    return {name: play(chat, make(chat), questions) for name, (questions, make) in TURNS.items()}


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("protocol", SPOKEN, ids=lambda protocol: protocol.name)
def test_the_same_turn(native_server, reference, protocol, name):
    """A turn shows and stores the same through every protocol."""
    questions, make = TURNS[name]
    events, session = play(protocol, make(protocol), questions)
    assert (events, session) == reference[name]
    assert [text for role, text, *_ in session if role == "assistant"] == EXPECTED[name]


@pytest.mark.parametrize("protocol", SPOKEN, ids=lambda protocol: protocol.name)
def test_the_same_structured_answer(native_server, protocol):
    """A schema changes nothing of what is shown and stored."""
    said = '{"name": "Soup"}'
    replies = [protocol.answer([said], [], "stop")]
    events, session = play(protocol, replies, ["Name it"], ModelSettings(schema=SCHEMA))
    assert events == [("TextDelta", said), ("done", said)]
    assert [message[1] for message in session] == ["Name it", said]


@pytest.mark.parametrize(
    "protocol", [p for p in SPOKEN if p.refusal], ids=lambda protocol: protocol.name
)
def test_the_same_refusal(protocol):
    """What a model says when it refuses is its answer."""
    events, session = play(protocol, [protocol.refusal("I cannot.")], ["Do it"])
    assert events == [("TextDelta", "I cannot."), ("done", "I cannot.")]
    assert session[1][:3] == ("assistant", "I cannot.", "complete")


@pytest.mark.parametrize("protocol", SPOKEN, ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("end", ["error", "cancel"])
def test_the_same_early_end(native_server, protocol, end):
    """An answer that breaks off, or is cancelled, is kept as far as it came, and says which it was."""
    reply = protocol.partial("Once", Cut() if end == "error" else STALL)
    with open_store("memory:") as store, protocol.server(reply) as server:

        async def turn():
            seen = []
            async with Agent(protocol.engine(server), store=store) as agent:
                events = agent.stream("Tell me", "s")
                try:
                    async for event in events:
                        seen.append(event)
                        if end == "cancel":
                            break
                finally:
                    await events.aclose()
            return seen

        if end == "error":
            with pytest.raises(
                ModelError, match="closed the connection in the middle of the answer"
            ):
                asyncio.run(turn())
        else:
            assert asyncio.run(turn()) == [TextDelta("Once")]
            assert server.wait_hangup()
        status = "failed" if end == "error" else "interrupted"
        assert [(m.role, m.text, m.status) for m in store.messages("s")] == [
            ("user", "Tell me", "complete"),
            ("assistant", "Once", status),
        ]


@pytest.mark.parametrize("protocol", SPOKEN, ids=lambda protocol: protocol.name)
def test_a_tool_described_with_half_a_character(native_server, protocol):
    """A tool description of another program is sent as valid Unicode."""

    def look(city: str) -> str:
        return city

    look.__doc__ = "Look \ud83d."
    with protocol.server(protocol.answer(["Hello"], [], "stop")) as server:
        with Agent(protocol.engine(server), tools=[Tool.from_function(look)]) as agent:
            assert agent.process("Hi") == "Hello"
        assert "Look \ufffd." in repr(server.requests[-1].body)


# Mistral's library reads no JSON with half a character.
HALVING = [protocol for protocol in SPOKEN if protocol.name != "mistral"]


@pytest.mark.parametrize("protocol", HALVING, ids=lambda protocol: protocol.name)
def test_halves_of_a_character(native_server, protocol):
    """A character that comes in two pieces is shown and stored as one."""
    reply = protocol.answer(["a \ud83d", "\ude00."], ["\ud83d", "\ude00"], "stop")
    happened, kept = play(protocol, [reply], ["Hi"])
    assert ("TextDelta", "a \U0001f600.") in happened
    assert ("ThinkingDelta", "\U0001f600") in happened
    assert kept[-1][1] == "a \U0001f600."
