"""What is sent of a conversation: chat-completions objects, as they are stored -> the messages of `pydantic-ai`.

Answers of a provider go back to it as they came: with their signed thinking, in the order of their parts. To any
other provider, and where a text was changed since, only what was said and which tools were called.
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
"""Who gets a picture from its address on the web; for the others it would be fetched from here."""


def conversation(
    messages: Sequence[Mapping[str, Any]], endpoint: Endpoint, system: str
) -> list[ModelMessage]:
    """Return messages as `pydantic-ai` has them, with sides that alternate.

    All system messages are one, at the beginning: in these protocols there is one place for them.

    Args:
        messages: the stored objects, with or without their own keys.
        endpoint: who is asked.
        system: what `pydantic-ai` calls the provider.
    """
    from pydantic_ai.messages import ModelRequest, ModelResponse, SystemPromptPart

    standing = [_clean(content_text(m["content"])) for m in messages if m["role"] == "system"]
    asked: list[ModelRequestPart] = []
    if any(standing):
        asked.append(SystemPromptPart("\n\n".join(text for text in standing if text)))
    names = _names(messages)
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


def _names(messages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the names of the tools that were called, by the ids of the calls."""
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    return {call["id"]: call["function"]["name"] for call in calls if "id" in call}


def _request(
    message: Mapping[str, Any], endpoint: Endpoint, names: Mapping[str, str]
) -> ModelRequestPart:
    from pydantic_ai.messages import ToolReturnPart, UserPromptPart

    if message["role"] == "tool":
        given = message.get("tool_call_id") or ""
        name = message.get("name") or names.get(given) or "tool"
        text = _clean(content_text(message.get("content") or ""))
        return ToolReturnPart(_clean(name), text, tool_call_id=call_id(given, endpoint))
    content = message.get("content") or ""
    if isinstance(content, str):
        return UserPromptPart(_clean(content))
    return UserPromptPart([_user_content(part, endpoint) for part in content])


def _user_content(part: Mapping[str, Any], endpoint: Endpoint) -> UserContent:
    """Return a content part as the provider takes it; one that nothing is known of is named."""
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
            return f"{part_label(dict(part))} (its data cannot be read)"
        if kind == "image_url" and url.startswith(("https://", "http://")):
            if endpoint.provider.name in FETCHING:
                return ImageUrl(url)
            return f"{part_label(dict(part))} {_clean(url)}"
    return _clean(content_text([dict(part)]))


def _answer(message: Mapping[str, Any], endpoint: Endpoint, system: str) -> list[ModelResponsePart]:
    from pydantic_ai.messages import TextPart

    text = content_text(message.get("content") or "")
    calls = {call.get("id", ""): call for call in message.get("tool_calls") or ()}
    extra = message.get("extra") or {}
    own = extra.get("provider") == endpoint.provider.name
    blocks = extra.get("blocks") if own else None
    parts = _as_it_came(blocks, text, calls, endpoint, system) if blocks else None
    if parts is not None:
        return parts
    plain: list[ModelResponsePart] = []
    if text.strip():
        signature = _google_signature(extra) if own else None
        plain.append(TextPart(_clean(text), **_signed(signature, system)))
    return plain + [_call(call, endpoint, system) for call in calls.values()]


def _as_it_came(
    blocks: Any,
    text: str,
    calls: Mapping[str, Mapping[str, Any]],
    endpoint: Endpoint,
    system: str,
) -> list[ModelResponsePart] | None:
    """Return the parts of an answer as the provider sent them; None when the message is not that answer any more."""
    from pydantic_ai.messages import TextPart, ThinkingPart

    parts: list[ModelResponsePart] = []
    at, left = 0, dict(calls)
    for block in blocks if isinstance(blocks, list) else ():
        kind = block.get("kind") if isinstance(block, dict) else None
        if kind == "thinking":
            parts.append(
                ThinkingPart(
                    _clean(str(block.get("text", ""))),
                    id=_text(block.get("id")),
                    signature=_text(block.get("signature")),
                    provider_name=system,
                )
            )
        elif kind == "text" and isinstance(block.get("length"), int):
            piece, at = text[at : at + block["length"]], at + block["length"]
            signed = _signed(block.get("thought_signature"), system)
            parts.append(TextPart(_clean(piece), **signed))
        elif kind == "call" and str(block.get("id")) in left:
            parts.append(_call(left.pop(str(block["id"])), endpoint, system))
        else:
            return None
    return parts if at == len(text) and not left else None


def _call(call: Mapping[str, Any], endpoint: Endpoint, system: str) -> ModelResponsePart:
    from pydantic_ai.messages import ToolCallPart

    function = call["function"]
    own = endpoint.provider.name == "gemini"  # also of a call that came through its compatible side
    return ToolCallPart(
        _clean(function["name"]),
        _clean(function.get("arguments") or "{}"),
        tool_call_id=call_id(call.get("id", ""), endpoint),
        **_signed(_google_signature(call) if own else None, system),
    )


def _google_signature(holder: Mapping[str, Any]) -> Any:
    """Return what Google hangs on a call or a message, in the form of its compatible side."""
    content = holder.get("extra_content")
    google = content.get("google") if isinstance(content, dict) else None
    return google.get("thought_signature") if isinstance(google, dict) else None


def _signed(signature: Any, system: str) -> dict[str, Any]:
    if not isinstance(signature, str):
        return {}
    return {"provider_name": system, "provider_details": {"thought_signature": signature}}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _clean(text: str) -> str:
    """Return a text that can be written in UTF-8: half characters come from broken tools and old files."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
