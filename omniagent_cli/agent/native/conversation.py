"""Conversion of stored messages, in the shape of Chat Completions, to the messages of `pydantic-ai`.

An unchanged answer goes back to its own provider with its signed thinking and the order of its parts. An edited answer,
and any answer for another provider, is sent as its text and tool calls.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.request_body import call_id
from omniagent_cli.models import content_text, part_label

if TYPE_CHECKING:
    from pydantic_ai.messages import (
        ModelMessage,
        ModelRequestPart,
        ModelResponsePart,
        UserContent,
    )

_DATA_URL = re.compile(r"data:([\w./+-]{0,100})(?:;[^;,\s]{0,100}){0,4};base64,", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")

FETCHING = frozenset({"anthropic", "groq", "mistral"})
"""Systems that accept an image URL; for the others the library would download the image on this machine."""


def native_messages(
    messages: Sequence[Mapping[str, Any]], endpoint: Endpoint, system: str
) -> list[ModelMessage]:
    """Return messages in the form of `pydantic-ai`, with alternating sides.

    All system messages are merged into one at the start, the only place that these protocols have.

    Args:
        messages: the stored objects, with or without the keys of stored messages.
        endpoint: the model and its address.
        system: the name of the provider in `pydantic-ai`.
    """
    from pydantic_ai.messages import ModelRequest, ModelResponse, SystemPromptPart

    system_texts = [
        _valid_utf8(content_text(m["content"])) for m in messages if m["role"] == "system"
    ]
    asked: list[ModelRequestPart] = []
    if any(system_texts):
        asked.append(SystemPromptPart("\n\n".join(text for text in system_texts if text)))
    names = _tool_names(messages)
    made: list[ModelMessage] = []
    said: list[ModelResponsePart] = []
    for message in messages:
        if message["role"] == "assistant":
            if asked:
                made.append(ModelRequest(asked))
                asked = []
            said += _answer(message, endpoint, system)
        elif message["role"] != "system":
            if said:
                made.append(ModelResponse(said, provider_name=system))
                said = []
            asked.append(_request(message, endpoint, names))
    if asked:
        made.append(ModelRequest(asked))
    if said:
        made.append(ModelResponse(said, provider_name=system))
    return made


def _tool_names(messages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the names of the called tools by call id."""
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    return {call["id"]: call["function"]["name"] for call in calls if "id" in call}


def _request(
    message: Mapping[str, Any], endpoint: Endpoint, names: Mapping[str, str]
) -> ModelRequestPart:
    from pydantic_ai.messages import ToolReturnPart, UserPromptPart

    if message["role"] == "tool":
        given = message.get("tool_call_id") or ""
        name = message.get("name") or names.get(given) or "tool"
        text = _valid_utf8(content_text(message.get("content") or ""))
        return ToolReturnPart(_valid_utf8(name), text, tool_call_id=call_id(given, endpoint))
    content = message.get("content") or ""
    if isinstance(content, str):
        return UserPromptPart(_valid_utf8(content))
    return UserPromptPart([_user_content(part, endpoint) for part in content])


def _user_content(part: Mapping[str, Any], endpoint: Endpoint) -> UserContent:
    """Return a content part as the provider accepts it; an unknown type becomes a text label."""
    from pydantic_ai.messages import BinaryContent, ImageUrl

    kind = part.get("type")
    inner = part.get(kind) if isinstance(kind, str) else None
    if isinstance(inner, dict):
        url = inner.get("url") or inner.get("file_data") or ""
        head = _DATA_URL.match(url)
        try:
            if head:
                data = b64decode(url[head.end() :], validate=True)
                return BinaryContent(data, media_type=head[1].lower() or "application/octet-stream")
            if kind == "input_audio":
                data = b64decode(inner.get("data") or "", validate=True)
                return BinaryContent(data, media_type=f"audio/{inner.get('format') or 'wav'}")
        except ValueError:
            return f"{part_label(dict(part))} (invalid data)"
        if kind == "image_url" and url.startswith(("https://", "http://")):
            if endpoint.provider.name in FETCHING:
                return ImageUrl(url)
            return f"{part_label(dict(part))} {_valid_utf8(url)}"
    return _valid_utf8(content_text([dict(part)]))


def _answer(message: Mapping[str, Any], endpoint: Endpoint, system: str) -> list[ModelResponsePart]:
    from pydantic_ai.messages import TextPart

    text = content_text(message.get("content") or "")
    calls = {call.get("id", ""): call for call in message.get("tool_calls") or ()}
    extra = message.get("extra") or {}
    own = extra.get("provider") == endpoint.provider.name
    blocks = extra.get("blocks") if own else None
    parts = _original_parts(blocks, text, calls, endpoint, system) if blocks else None
    if parts is not None:
        return parts
    plain: list[ModelResponsePart] = []
    if text.strip():
        signature = _google_signature(extra) if own else None
        plain.append(TextPart(_valid_utf8(text), **_google_extra(signature, system)))
    return plain + [_call(call, endpoint, system) for call in calls.values()]


def _original_parts(
    blocks: Any,
    text: str,
    calls: Mapping[str, Mapping[str, Any]],
    endpoint: Endpoint,
    system: str,
) -> list[ModelResponsePart] | None:
    """Return the parts of an answer as the provider sent them, or None if the message was edited since."""
    from pydantic_ai.messages import TextPart, ThinkingPart

    parts: list[ModelResponsePart] = []
    at, left = 0, dict(calls)
    for block in blocks if isinstance(blocks, list) else ():
        kind = block.get("kind") if isinstance(block, dict) else None
        if kind == "thinking":
            parts.append(
                ThinkingPart(
                    _valid_utf8(str(block.get("text", ""))),
                    id=_text(block.get("id")),
                    signature=_text(block.get("signature")),
                    provider_name=system,
                )
            )
        elif kind == "text" and isinstance(block.get("length"), int):
            piece, at = text[at : at + block["length"]], at + block["length"]
            signed = _google_extra(block.get("thought_signature"), system)
            parts.append(TextPart(_valid_utf8(piece), **signed))
        elif kind == "call" and str(block.get("id")) in left:
            parts.append(_call(left.pop(str(block["id"])), endpoint, system))
        else:
            return None
    return parts if at == len(text) and not left else None


def _call(call: Mapping[str, Any], endpoint: Endpoint, system: str) -> ModelResponsePart:
    from pydantic_ai.messages import ToolCallPart

    function = call["function"]
    own = endpoint.provider.name == "gemini"  # also for a call received through the compatible API
    return ToolCallPart(
        _valid_utf8(function["name"]),
        _valid_utf8(function.get("arguments") or "{}"),
        tool_call_id=call_id(call.get("id", ""), endpoint),
        **_google_extra(_google_signature(call) if own else None, system),
    )


def _google_signature(holder: Mapping[str, Any]) -> Any:
    """Return Google's signature of a call or message, as its compatible API returns it."""
    content = holder.get("extra_content")
    google = content.get("google") if isinstance(content, dict) else None
    return google.get("thought_signature") if isinstance(google, dict) else None


def _google_extra(signature: Any, system: str) -> dict[str, Any]:
    if not isinstance(signature, str):
        return {}
    return {"provider_name": system, "provider_details": {"thought_signature": signature}}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _valid_utf8(text: str) -> str:
    """Replace lone surrogates, which broken tools and old files contain, so that the text can be encoded as UTF-8."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
