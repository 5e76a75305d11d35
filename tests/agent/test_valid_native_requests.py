"""Sessions in the providers' own protocols: what a model said once never makes a later request invalid."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from omniagent_cli import Agent, open_store
from omniagent_cli.agent.events import Notice
from omniagent_cli.errors import ContextLengthExceeded, ModelRefused
from omniagent_cli.models import Message
from tests.agent.native_asking import BY_NAME, PROTOCOLS
from tests.agent.native_wire import as_chat
from tests.servers.chat_server import status
from tests.servers.strict_chat import complaint

PICTURE = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n").decode()},
}


@pytest.fixture
def store():
    with open_store("memory:") as store:
        yield store


def call(call_id, name, arguments):
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


HISTORY = [
    Message("user", "caf\udce9"),
    Message("assistant", "", tool_calls=[call("c", "browser.tabs!", '{"a": 1')]),
    Message("tool", "no such tool", tool_call_id="c", name="browser.tabs!"),
    Message("assistant", "half \ud83d", tool_calls=[call("c", "f", "null")]),
    Message("tool", "one", tool_call_id="c", name="f"),
    Message("assistant", "Done."),
    Message("user", "unanswered"),
    Message("assistant", "", tool_calls=[call("d", "f", "[1]")]),
    Message("tool", "two", tool_call_id="d", name="f"),
    Message("user", "unanswered too"),
]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_a_session_that_no_provider_would_accept(store, native_server, protocol):
    """Bad arguments, names, ids, characters and orders are sent valid, and stay stored as they came."""
    for message in HISTORY:
        store.append("s", [message])
    server = native_server(protocol, protocol.speaks.answer("fine"))
    with Agent(protocol.engine(server), store=store) as agent:
        assert agent.process_with_session("s", "now?") == "fine"
    sent = as_chat(protocol.name, server.chats()[-1])
    assert complaint(json.dumps({"messages": sent}).encode()) == ""
    assert [m["role"] for m in sent if m["role"] != "tool"] == [
        "user", "assistant", "assistant", "assistant", "user", "assistant", "assistant", "user",
    ]  # fmt: skip
    assert sent[-1]["content"].replace("\n", "") == "unanswered toonow?"
    assert [m.text for m in store.messages("s")][: len(HISTORY)] == [m.text for m in HISTORY]


@pytest.mark.parametrize("name", ["anthropic", "mistral", "groq"])
def test_a_picture_that_the_model_refuses(store, native_server, name):
    """A picture of an earlier message is left out after a refusal, reported in one line."""
    protocol = BY_NAME[name]
    store.append("s", [Message("user", [{"type": "text", "text": "look"}, PICTURE])])
    store.append("s", [Message("assistant", "A cat.")])

    def script(request):
        refused = status(400, "this model does not support image input")
        return refused if "iVBOR" in json.dumps(request.body) else protocol.speaks.answer("fine")

    server = native_server(protocol, *[script] * 4)
    with Agent(protocol.engine(server), store=store) as agent:
        events = list(agent.stream_sync("plain", "s"))
        assert agent.process_with_session("s", "more") == "fine"
        with pytest.raises(ModelRefused, match="choose another model"):
            agent.process_with_session("s", [PICTURE])
    assert any("does not accept images" in e.text for e in events if isinstance(e, Notice))


@pytest.mark.parametrize("name", ["anthropic", "gemini", "mistral", "groq"])
def test_a_conversation_that_is_too_long(native_server, name):
    """The refusal of each provider is the same error as elsewhere."""
    said = {
        "anthropic": "prompt is too long: 215000 tokens > 200000 maximum",
        "gemini": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "mistral": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        "groq": "Please reduce the length of the messages or completion.",
    }
    protocol = BY_NAME[name]
    server = native_server(protocol, status(400, said[name]))
    with Agent(protocol.engine(server)) as agent, pytest.raises(ContextLengthExceeded):
        agent.process("hi")
    assert len(server.chats()) == 1
