"""The response of a native model: its stream events, and the parts stored with the finished answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.events import Finished, TextDelta, ThinkingDelta
from omniagent_cli.agent.models.text_stream import PairJoiner, joined
from omniagent_cli.json_format import dump
from omniagent_cli.models import ToolCall, new_uid

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse, ModelResponsePart, ToolCallPart
    from pydantic_ai.usage import RequestUsage

_REASONS = {"tool_call": "tool_calls"}
_COUNTS = {"cached_tokens": "cache_read_tokens", "cache_write_tokens": "cache_write_tokens"}
_REASONING = ("reasoning_tokens", "thoughts_tokens", "output_reasoning_tokens")


class Deltas:
    """The visible deltas of one answer, with surrogate pairs joined that were split between two deltas."""

    def __init__(self) -> None:
        self._text, self._thinking = PairJoiner(), PairJoiner()

    def feed(self, event: Any) -> Iterator[TextDelta | ThinkingDelta]:
        """Yield the deltas of an event."""
        for delta in _deltas(event):
            pairs = self._text if isinstance(delta, TextDelta) else self._thinking
            if text := pairs.feed(delta.text):
                yield replace(delta, text=text)

    def flush(self) -> Iterator[TextDelta | ThinkingDelta]:
        """Yield the halves that are still held back."""
        if thinking := self._thinking.flush():
            yield ThinkingDelta(thinking)
        if text := self._text.flush():
            yield TextDelta(text)


def _deltas(event: Any) -> Iterator[TextDelta | ThinkingDelta]:
    """Yield the text or thinking of an event. The first piece of a part arrives with its start, the rest as deltas."""
    from pydantic_ai.messages import (
        PartDeltaEvent,
        PartStartEvent,
        TextPart,
        TextPartDelta,
        ThinkingPart,
        ThinkingPartDelta,
    )

    if isinstance(event, PartStartEvent):
        if isinstance(event.part, TextPart) and event.part.content:
            yield TextDelta(event.part.content)
        elif isinstance(event.part, ThinkingPart) and event.part.content:
            yield ThinkingDelta(event.part.content)
    elif isinstance(event, PartDeltaEvent):
        if isinstance(event.delta, TextPartDelta) and event.delta.content_delta:
            yield TextDelta(event.delta.content_delta)
        elif isinstance(event.delta, ThinkingPartDelta) and event.delta.content_delta:
            yield ThinkingDelta(event.delta.content_delta)


def is_answer_event(event: Any) -> bool:
    """Return True if an event carries part of the answer."""
    from pydantic_ai.messages import PartDeltaEvent, PartStartEvent

    return isinstance(event, PartStartEvent | PartDeltaEvent)


def finished_event(response: ModelResponse, provider: str) -> Finished:
    """Return the complete answer; an empty finish reason means that it was cut off."""
    from pydantic_ai.messages import TextPart, ThinkingPart, ToolCallPart

    texts = (joined(part.content) for part in response.parts if isinstance(part, TextPart))
    thoughts = (joined(part.content) for part in response.parts if isinstance(part, ThinkingPart))
    text, thinking = "".join(texts), "".join(thoughts)
    calls = {
        index: _call(part)
        for index, part in enumerate(response.parts)
        if isinstance(part, ToolCallPart)
    }
    blocks = _part_order(response.parts, calls)
    signatures = [block["thought_signature"] for block in blocks if "thought_signature" in block]
    kept = {
        "thinking": thinking,
        "blocks": blocks if _is_signed(blocks) else None,
        # The same place as in Google's compatible API.
        "extra_content": _google_extra(signatures[-1]) if signatures else None,
    }
    extra: dict[str, Any] = {key: value for key, value in kept.items() if value}
    signed = any("extra_content" in call for call in calls.values())
    return Finished(
        reason=_reason(response, called=bool(calls)),
        text=text,
        tool_calls=tuple(calls.values()),
        usage=normalized_usage(response.usage),
        model=response.model_name or "",
        extra={**extra, "provider": provider} if extra or signed else {},
    )


def _reason(response: ModelResponse, *, called: bool) -> str:
    reason = response.finish_reason
    if reason is None:  # a reason unknown to the library, such as a new one
        raw = (response.provider_details or {}).get("finish_reason")
        return raw.lower() if isinstance(raw, str) else ""
    if reason == "stop" and called:  # Google returns STOP
        return "tool_calls"
    return _REASONS.get(reason, reason)


def _call(part: ToolCallPart) -> ToolCall:
    arguments = part.args if isinstance(part.args, str) else dump(part.args or {}).decode("utf-8")
    call: ToolCall = {
        "id": part.tool_call_id or f"call_{new_uid()}",
        "type": "function",
        "function": {"name": part.tool_name, "arguments": arguments or "{}"},
    }
    signature = (part.provider_details or {}).get("thought_signature")
    if isinstance(signature, str):
        # The same place as in Google's compatible API, so that both engines can resume each other's tool calls.
        call["extra_content"] = _google_extra(signature)
    return call


def _google_extra(signature: str) -> dict[str, Any]:
    return {"google": {"thought_signature": signature}}


def _part_order(
    parts: Sequence[ModelResponsePart], calls: Mapping[int, ToolCall]
) -> list[dict[str, Any]]:
    """Return the order of the parts, with the data that the message itself does not hold."""
    from pydantic_ai.messages import TextPart, ThinkingPart

    blocks: list[dict[str, Any]] = []
    for index, part in enumerate(parts):
        if isinstance(part, ThinkingPart):
            # Without a signature the provider rejects it, and other providers would read it as text of the answer.
            if part.signature:
                kept = {"text": part.content, "id": part.id, "signature": part.signature}
                blocks.append({"kind": "thinking", **{k: v for k, v in kept.items() if v}})
        elif isinstance(part, TextPart):
            signature = (part.provider_details or {}).get("thought_signature")
            signed = {"thought_signature": signature} if isinstance(signature, str) else {}
            blocks.append({"kind": "text", "length": len(joined(part.content)), **signed})
        elif index in calls:
            blocks.append({"kind": "call", "id": calls[index]["id"]})
    return blocks


def _is_signed(blocks: Sequence[Mapping[str, Any]]) -> bool:
    return any("signature" in block or "thought_signature" in block for block in blocks)


def normalized_usage(usage: RequestUsage) -> dict[str, Any]:
    """Return the token counts under the names that `agent.context.cost` explains; unreported counts are absent."""
    normal: dict[str, Any] = {}
    if usage.input_tokens or usage.output_tokens:
        normal = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    for name, key in _COUNTS.items():
        if count := getattr(usage, key):
            normal[name] = count
    for key in _REASONING:
        if count := usage.details.get(key):
            normal["reasoning_tokens"] = count
            break
    return normal


def error_body(body: object) -> str:
    """Return the body of an error as text."""
    if isinstance(body, str):
        return body
    if isinstance(body, dict) and isinstance(body.get("Error"), dict):  # the form of botocore
        error = body["Error"]
        body = {"error": {"message": error.get("Message", ""), "code": error.get("Code", "")}}
    return "" if body is None else json.dumps(body, default=str)
