"""Signed thinking goes back to the provider that signed it, as it came, and to no other."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from omniagent_cli import Agent, open_store, tool
from omniagent_cli.agent.events import Finished
from tests.agent.asking import ask, engine_for
from tests.agent.native_asking import BY_NAME, PROTOCOLS
from tests.servers import anthropic_server, bedrock_server, google_server
from tests.servers.anthropic_server import (
    message,
    redacted_block,
    text_block,
    thinking_block,
    tool_block,
)
from tests.servers.chat_server import answer as chat_answer

SIGNED = [protocol for protocol in PROTOCOLS if protocol.name in ("anthropic", "gemini", "bedrock")]
SIGNATURES = ("SIGNED", google_server.SIGNATURE, "thought_signature", "thoughtSignature", "blocks")
CALL = ("free", '{"day": "Monday"}')


@tool
def free(day: str) -> str:
    """Tell which room is free."""
    return f"17 is free on {day}"


def talk(engine, store, text, **options):
    """Say one thing in the session."""
    with Agent(engine, store=store, tools=[free], **options) as agent:
        return agent.process_with_session("s", text)


@pytest.fixture(params=SIGNED, ids=lambda protocol: protocol.name)
def signing(request):
    """Each protocol that signs."""
    return request.param


def test_thinking_goes_back_as_it_came(signing, native_server, tmp_path):
    """Signed thinking before a call is in the next request, in the same place and with its signature."""
    speaks = signing.speaks
    server = native_server(
        signing,
        speaks.calls(CALL, text="Looking.", thinking=["Which ", "day?"]),
        speaks.answer("17."),
        speaks.answer("Yes."),
    )
    with open_store(tmp_path / "a.db") as store:
        engine = signing.engine(server)
        assert talk(engine, store, "Which room?") == "17."
        assert talk(engine, store, "Sure?") == "Yes."
    for body in server.chats()[1:]:
        who, content = speaks.said(body)[1]
        assert who in ("assistant", "model")
        assert (
            _shape(signing.name, content)
            == {
                "anthropic": [
                    ("thinking", "Which day?", "SIGNED"),
                    ("text", "Looking.", None),
                    ("tool_use", {"day": "Monday"}, None),
                ],
                "bedrock": [
                    ("reasoningContent", "Which day?", "SIGNED"),
                    ("text", "Looking.", None),
                    ("toolUse", {"day": "Monday"}, None),
                ],
                # Google wants its signature where it was, and no thoughts: they are summaries.
                "gemini": [
                    ("text", "Looking.", None),
                    ("functionCall", {"day": "Monday"}, google_server.SIGNATURE),
                ],
            }[signing.name]
        )


def _shape(name, content):
    return [_block(name, block) for block in content]


def _block(name, block):
    if name == "anthropic":
        kind = block["type"]
        said = {"thinking": "thinking", "text": "text", "tool_use": "input"}[kind]
        return kind, block[said], block.get("signature")
    if name == "gemini":
        kind = "text" if "text" in block else "functionCall"
        said = block["text"] if kind == "text" else block[kind]["args"]
        return kind, said, block.get("thoughtSignature") or block.get("thought_signature")
    (kind,) = block
    if kind == "reasoningContent":
        return kind, block[kind]["reasoningText"]["text"], block[kind]["reasoningText"]["signature"]
    return kind, block[kind] if kind == "text" else block[kind]["input"], None


def test_order_and_redacted_blocks_are_kept(native_server):
    """Thinking between texts and calls, and thinking nobody may read, go back block for block."""
    protocol = BY_NAME["anthropic"]
    first = message(
        thinking_block(0, "S1", "One"),
        redacted_block(1, "SECRET"),
        text_block(2, "Look", "ing."),
        thinking_block(3, "S2", "Two"),
        tool_block(4, "toolu_1", *CALL),
        reason="tool_use",
    )
    server = native_server(protocol, first, protocol.speaks.answer("17."))
    engine = protocol.engine(server)
    ask(engine, _after(ask(engine)[-1]))
    assert protocol.speaks.said(server.chats()[1])[1][1] == [
        {"type": "thinking", "thinking": "One", "signature": "S1"},
        {"type": "redacted_thinking", "data": "SECRET"},
        {"type": "text", "text": "Looking."},
        {"type": "thinking", "thinking": "Two", "signature": "S2"},
        {"type": "tool_use", "id": "toolu_1", "name": "free", "input": {"day": "Monday"}},
    ]


def test_bedrock_keeps_redacted_thinking(native_server):
    """Thinking of a model on Bedrock that nobody may read goes back byte for byte."""
    protocol = BY_NAME["bedrock"]
    calls = bedrock_server.calls(CALL)
    begin, *rest = calls.parts
    hidden = bedrock_server.redacted_block(9, b"\x00SECRET")
    server = native_server(
        protocol, type(calls)([begin, *hidden, *rest], done=False), protocol.speaks.answer("17.")
    )
    engine = protocol.engine(server)
    ask(engine, _after(ask(engine)[-1]))
    block = protocol.speaks.said(server.chats()[1])[1][1][0]
    assert block == {"reasoningContent": {"redactedContent": b64encode(b"\x00SECRET").decode()}}


def _after(end: Finished):
    """Return a conversation that goes on after an answer that called one tool."""
    (call,) = end.tool_calls
    return [
        {"role": "user", "content": "Which room?"},
        {
            "role": "assistant",
            "content": end.text,
            "tool_calls": [call],
            "extra": dict(end.extra),
        },
        {"role": "tool", "content": "17 is free", "name": "free", "tool_call_id": call["id"]},
    ]


@pytest.mark.parametrize("other", [*PROTOCOLS, None], ids=lambda p: p.name if p else "chat")
def test_another_provider_gets_none(signing, other, native_server, chat_server, tmp_path):
    """A session that changes its model in the middle sends the new one what was said and called, and no signature."""
    first = native_server(
        signing,
        signing.speaks.calls(CALL, text="Looking.", thinking=["A secret thought"]),
        signing.speaks.answer("17.", thinking=["Another secret thought"]),
        signing.speaks.answer("Back."),
    )
    second = native_server(other, other.speaks.answer("Sure.")) if other else None
    chat = chat_server(chat_answer("Sure."))
    with open_store(tmp_path / "a.db") as store:
        assert talk(signing.engine(first), store, "Which room?") == "17."
        stored = [m.extra for m in store.messages("s") if m.role == "assistant"]
        assert stored[0]["provider"] == signing.name
        engine = other.engine(second) if other else engine_for(chat)
        assert talk(engine, store, "Sure?") == "Sure."
        assert talk(signing.engine(first), store, "Why?") == "Back."
    sent = json.dumps((second or chat).chats()[0])
    assert "Looking." in sent
    assert "17 is free on Monday" in sent
    signed = [mark for mark in ("SIGNED", google_server.SIGNATURE) if mark in sent]
    if other is signing:
        assert signed
    else:
        assert signed == []
        assert "secret thought" not in sent
        assert "blocks" not in sent
    back = json.dumps(first.chats()[-1])
    assert "SIGNED" in back or google_server.SIGNATURE in back


def test_a_changed_answer_is_sent_without_its_thinking(native_server):
    """What the signature was for is gone when a text was changed since: then only the text is sent."""
    protocol = BY_NAME["anthropic"]
    server = native_server(
        protocol,
        anthropic_server.answer("Hello", thinking=["Hm"]),
        anthropic_server.answer("Bye"),
    )
    engine = protocol.engine(server)
    end = ask(engine)[-1]
    changed = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello [removed]", "extra": dict(end.extra)},
        {"role": "user", "content": "Bye"},
    ]
    ask(engine, changed)
    assert protocol.speaks.said(server.chats()[1])[1] == (
        "assistant",
        [{"type": "text", "text": "Hello [removed]"}],
    )


def test_google_goes_on_through_either_side(native_server, chat_server):
    """A signature that came through Google's own protocol is sent through its compatible side, and the other way."""
    from omniagent_cli.agent.models.chat_completions import ChatCompletionsEngine
    from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint

    protocol = BY_NAME["gemini"]
    server = native_server(protocol, google_server.calls(CALL), google_server.answer("17."))
    engine = protocol.engine(server)
    conversation = _after(ask(engine)[-1])
    chat = chat_server()
    ask(ChatCompletionsEngine(Endpoint(PROVIDERS["gemini"], "m", chat.url)), conversation)
    (call,) = chat.chats()[0]["messages"][1]["tool_calls"]
    assert call["extra_content"] == {"google": {"thought_signature": google_server.SIGNATURE}}
    # What came through the compatible side has it in the same place.
    conversation[1]["tool_calls"] = [call]
    ask(engine, conversation)
    assert google_server.SIGNATURE in json.dumps(server.chats()[1])
