"""A server that speaks Anthropic's Messages API, as its documentation has it, and answers as a script says.

https://docs.anthropic.com/en/api/messages-streaming: named events, ``message_start``, the blocks with their deltas,
``message_delta`` with the stop reason and the counts, ``message_stop``, and pings between them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.servers.chat_server import ChatServer, Reply
from tests.servers.native import halves

MODEL = "claude-haiku-5-5"
USAGE = {"input_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 7}
PING = {"type": "ping"}


def start(usage: Mapping[str, int] = USAGE) -> dict[str, Any]:
    """Begin a message."""
    message = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    return {"type": "message_start", "message": message}


def block(index: int, first: Mapping[str, Any], *deltas: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Send one block: its start, its deltas, its end."""
    return [
        {"type": "content_block_start", "index": index, "content_block": dict(first)},
        *({"type": "content_block_delta", "index": index, "delta": dict(d)} for d in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text_block(index: int, *texts: str) -> list[dict[str, Any]]:
    """Say something."""
    deltas = [{"type": "text_delta", "text": text} for text in texts]
    return block(index, {"type": "text", "text": ""}, *deltas)


def thinking_block(index: int, signature: str, *texts: str) -> list[dict[str, Any]]:
    """Think, and sign it."""
    deltas = [{"type": "thinking_delta", "thinking": text} for text in texts]
    deltas.append({"type": "signature_delta", "signature": signature})
    return block(index, {"type": "thinking", "thinking": "", "signature": ""}, *deltas)


def redacted_block(index: int, data: str) -> list[dict[str, Any]]:
    """Think what nobody may read."""
    return block(index, {"type": "redacted_thinking", "data": data})


def tool_block(index: int, call_id: str, name: str, arguments: str) -> list[dict[str, Any]]:
    """Call a tool; the arguments come in pieces."""
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in halves(arguments)]
    return block(index, {"type": "tool_use", "id": call_id, "name": name, "input": {}}, *deltas)


def end(reason: str = "end_turn", output_tokens: int = 42) -> list[dict[str, Any]]:
    """End a message."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    usage = {"output_tokens": output_tokens}
    return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


def message(*events: Any, reason: str = "end_turn") -> Reply:
    """Send a whole message of these blocks."""
    flat = [part for event in events for part in (event if isinstance(event, list) else [event])]
    return Reply([start(), PING, *flat, *end(reason)], done=False)


def answer(*texts: str, thinking: Sequence[str] = (), finish: str = "stop") -> Reply:
    """Answer with these pieces of text."""
    reasons = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
    first = [thinking_block(0, "SIGNED", *thinking)] if thinking else []
    return message(*first, text_block(len(first), *texts), reason=reasons[finish])


def calls(*wanted: tuple[str, str], text: str = "", thinking: Sequence[str] = ()) -> Reply:
    """Call tools, given as (name, arguments in JSON)."""
    blocks: list[Any] = [thinking_block(0, "SIGNED", *thinking)] if thinking else []
    blocks += [text_block(len(blocks), text)] if text else []
    first = len(blocks)
    for index, (name, arguments) in enumerate(wanted):
        blocks.append(tool_block(first + index, f"toolu_0{index}", name, arguments))
    return message(*blocks, reason="tool_use")


def partial(*parts: Any) -> Reply:
    """Begin to answer with these texts and other parts of a reply, and do not end."""
    begun: list[Any] = [start(), block(0, {"type": "text", "text": ""})[0]]
    for part in parts:
        delta = {"type": "text_delta", "text": part}
        event = {"type": "content_block_delta", "index": 0, "delta": delta}
        begun.append(event if isinstance(part, str) else part)
    return Reply(begun, done=False)


def status(code: int, text: str = "it went wrong", **headers: str) -> Reply:
    """Refuse."""
    kinds = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
        529: "overloaded_error",
    }
    body = {"type": "error", "error": {"type": kinds.get(code, "api_error"), "message": text}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=code, headers=named, body=json.dumps(body).encode())


def overloaded() -> dict[str, Any]:
    """Break off with an error event."""
    return {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def said(body: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Return the messages of a request: who, and what in the protocol's own words."""
    return [(m["role"], m["content"]) for m in body["messages"]]


class AnthropicServer(ChatServer):
    """The server."""

    def knows(self, path: str) -> bool:
        return path == "/v1/messages"

    def frame(self, event: Any) -> bytes:
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    def echo(self, body: Any) -> Reply:
        return answer("You said something.")
