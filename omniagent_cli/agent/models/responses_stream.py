"""The parser of a Responses stream: one answer from its events.

Events: `openai.types.responses.response_stream_event` of the `openai` library; unknown ones are skipped. Servers
differ in the ids and indexes they send, and in whether texts arrive as deltas, at the end, or both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from omniagent_cli.agent.context.cost import token_counts
from omniagent_cli.agent.events import Finished, TextDelta, ThinkingDelta
from omniagent_cli.agent.models import sse
from omniagent_cli.agent.models.responses_input import ITEMS, REASONING_KEYS, SEPARATOR
from omniagent_cli.agent.models.stream_parser import text_of, with_unique_ids
from omniagent_cli.agent.models.text_stream import PairJoiner, ThinkTags
from omniagent_cli.json_format import dump
from omniagent_cli.models import ToolCall

Delta = TextDelta | ThinkingDelta

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_REASONS = {"max_output_tokens": "length"}
_PIECES = {
    "response.output_text": "text",
    "response.refusal": "text",
    "response.reasoning_summary_text": "summary",
    "response.reasoning_text": "content",
    "response.function_call_arguments": "arguments",
}
"""Kinds of text by event name, without ``.delta`` or ``.done``."""

_THOUGHTS = ("summary", "content")
_WHOLE = {"text": ("text", "refusal"), "arguments": ("arguments",)}
"""Keys of the text in ``.done`` events, if not ``text``."""


@dataclass(slots=True)
class _Item:
    """An output item in progress.

    Attributes:
        raw: the item as the server sent it last.
        pieces: the received texts, by kind and by the index of the part.
        length: the number of its characters in the answer's text.
    """

    raw: dict[str, Any] = field(default_factory=dict)
    pieces: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    length: int = 0

    @property
    def type(self) -> str:
        return text_of(self.raw.get("type"))

    @property
    def thought(self) -> str:
        """The kind of reasoning that arrived first, ``summary`` or ``content``; the other repeats it."""
        return next((kind for kind, _ in self.pieces if kind in _THOUGHTS), "")

    @property
    def arguments(self) -> str:
        """The arguments of a call."""
        return "".join(self.pieces.get(("arguments", 0), ())) or "{}"


class ResponseAnswer:
    """The answer received so far.

    Attributes:
        started: part of the answer has arrived: text, thinking or a tool call.
        recognized: at least one event belonged to this protocol.
        reason: the finish reason in the terms of Chat Completions; empty until it arrives.
    """

    def __init__(self) -> None:
        self.started = False
        self.recognized = False
        self.reason = ""
        self._items: list[_Item] = []
        self._at: dict[int | str, _Item] = {}
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._said_in: _Item | None = None
        self._thought_in: tuple[int, int] | None = None
        self._tags = ThinkTags()
        self._text_pairs, self._thinking_pairs = PairJoiner(), PairJoiner()
        self._model = ""
        self._usage: Mapping[str, Any] = {}

    def feed(self, event: Any) -> Iterator[Delta]:
        """Parse one event, or one complete response, and yield its deltas; unknown shapes yield nothing."""
        if event is sse.DONE and self.recognized and not self.reason:
            self.reason = "stop"  # some servers send no final event
            yield from self._flush()
        if not isinstance(event, dict):
            return
        if event.get("object") == "response":  # from a server that does not stream
            event = {"type": "response.completed", "response": event}
        name = text_of(event.get("type"))
        self.recognized = self.recognized or name.startswith("response.")
        head, _, tail = name.rpartition(".")
        if head in _PIECES and tail in ("delta", "done"):
            yield from self._piece(_PIECES[head], event, whole=tail == "done")
        elif name == "response.output_item.added":
            self._add(event)
        elif name == "response.output_item.done":
            yield from self._complete(self._item_of(event), event.get("item"))
        elif isinstance(response := event.get("response"), dict):
            yield from self._response(response, ended=name in _ENDS)

    def finished(self, provider: str) -> Finished:
        """Return the complete answer; an empty finish reason means that it was cut off."""
        calls: list[ToolCall] = []
        kept: list[dict[str, Any]] = []
        for item in self._items:
            if item.type == "message" and item.length:
                phase = item.raw.get("phase")
                kept.append({"type": "message", "length": item.length, "phase": phase})
            elif item.type == "function_call" and (call := _call(item)):
                calls.append(call)
                kept.append({"type": "function_call"})
            elif item.type == "reasoning":
                kept += _sendable(item.raw)
        extra: dict[str, Any] = {}
        if self._thinking:
            extra["thinking"] = "".join(self._thinking)
        if any(item["type"] == "reasoning" or item.get("phase") for item in kept):
            extra[ITEMS] = [{k: v for k, v in item.items() if v is not None} for item in kept]
        return Finished(
            reason="tool_calls" if calls and self.reason == "stop" else self.reason,
            text="".join(self._text),
            tool_calls=with_unique_ids(calls),
            usage=normalized_usage(self._usage),
            model=self._model,
            extra={**extra, "provider": provider} if extra else {},
        )

    def _add(self, event: Mapping[str, Any]) -> _Item:
        raw = event.get("item")
        item = _Item(dict(raw) if isinstance(raw, dict) else {})
        self._items.append(item)
        if isinstance(index := event.get("output_index"), int):
            self._at[index] = item
        if key := text_of(item.raw.get("id")):
            self._at[key] = item
        self.started = self.started or item.type == "function_call"
        return item

    def _item_of(self, event: Mapping[str, Any]) -> _Item:
        """Return the item of an event: by its index, or by its id, which some servers change."""
        raw = event.get("item")
        raw = raw if isinstance(raw, dict) else {}
        for key in (event.get("output_index"), event.get("item_id"), raw.get("id")):
            item = self._at.get(key) if isinstance(key, int | str) else None
            if item is not None and raw.get("type") in (None, item.type):
                return item
        return self._add(event)

    def _piece(self, kind: str, event: Mapping[str, Any], *, whole: bool) -> Iterator[Delta]:
        item = self._item_of(event)
        if not item.raw:  # the start event is missing
            types = {"text": "message", "arguments": "function_call"}
            item.raw["type"] = types.get(kind, "reasoning")
        index = event.get("summary_index" if kind == "summary" else "content_index")
        index = index if isinstance(index, int) else 0
        if not whole:
            yield from self._append(item, kind, index, text_of(event.get("delta")))
            return
        names = _WHOLE.get(kind, ("text",))
        text = next((event[name] for name in names if isinstance(event.get(name), str)), "")
        yield from self._missing(item, kind, index, text)

    def _missing(self, item: _Item, kind: str, index: int, text: str) -> Iterator[Delta]:
        """Take the complete text of a part, and yield the rest that did not arrive in deltas."""
        so_far = "".join(item.pieces.get((kind, index), ()))
        if kind == "arguments" and text:
            item.pieces[kind, index] = [text]
        elif text.startswith(so_far):
            yield from self._append(item, kind, index, text[len(so_far) :])

    def _append(self, item: _Item, kind: str, index: int, text: str) -> Iterator[Delta]:
        if not text:
            return
        self.started = True
        item.pieces.setdefault((kind, index), []).append(text)
        if kind == "arguments" or (kind in _THOUGHTS and kind != item.thought):
            return  # some servers send reasoning in both forms
        if kind != "text":
            yield from self._add_thinking(self._thinking_pairs.feed(text), (id(item), index))
            return
        for thinking, shown in self._tags.feed(self._text_pairs.feed(text)):
            yield from self._add_thinking(thinking, (id(item), index))
            yield from self._add_text(shown, item)

    def _add_text(self, text: str, item: _Item) -> Iterator[TextDelta]:
        if not text:
            return
        before, self._said_in = self._said_in, item
        item.length += len(text)
        self._text.append(text if before in (None, item) else SEPARATOR + text)
        yield TextDelta(self._text[-1])

    def _add_thinking(self, text: str, place: tuple[int, int]) -> Iterator[ThinkingDelta]:
        if not text:
            return
        before, self._thought_in = self._thought_in, place
        self._thinking.append(text if before in (None, place) else SEPARATOR + text)
        yield ThinkingDelta(self._thinking[-1])

    def _flush(self) -> Iterator[Delta]:
        """Yield the text that was held back, at the end of the answer."""
        item = self._said_in or next((i for i in self._items if i.type == "message"), _Item())
        pieces = [*self._tags.feed(self._text_pairs.flush()), *self._tags.flush()]
        yield from self._add_thinking(self._thinking_pairs.flush(), self._thought_in or (0, 0))
        for thinking, text in pieces:
            yield from self._add_thinking(thinking, self._thought_in or (0, 0))
            yield from self._add_text(text, item)
        tag, self._tags.open_tag = self._tags.open_tag, ""
        if tag and self.reason == "stop" and not self._text:
            # A tag that is never closed is plain text: otherwise the answer would be empty.
            text, self._thinking = tag + "".join(self._thinking), []
            yield from self._add_text(text, item)

    def _complete(self, item: _Item, raw: Any) -> Iterator[Delta]:
        """Take a complete item, and yield the text that did not arrive in deltas."""
        if not isinstance(raw, dict):
            return
        item.raw = {**item.raw, **raw}
        for kind in _THOUGHTS if item.type == "reasoning" else ("text",):
            parts = raw.get("content" if kind == "text" else kind)
            for index, part in enumerate(parts if isinstance(parts, list) else ()):
                if isinstance(part, dict):
                    text = text_of(part.get("text")) or text_of(part.get("refusal"))
                    yield from self._missing(item, kind, index, text)
        arguments = raw.get("arguments")
        if arguments is not None:
            self.started = True
            text = arguments if isinstance(arguments, str) else dump(arguments).decode()
            yield from self._missing(item, "arguments", 0, text)

    def _response(self, response: Mapping[str, Any], *, ended: bool) -> Iterator[Delta]:
        self._model = text_of(response.get("model")) or self._model
        if isinstance(response.get("usage"), dict):
            self._usage = response["usage"]
        if not ended:
            return
        output = response.get("output")
        for index, raw in enumerate(output if isinstance(output, list) else ()):
            event = {"output_index": index, "item": raw}
            if isinstance(raw, dict):
                yield from self._complete(self._item_of(event), raw)
        details = response.get("incomplete_details")
        reason = text_of(details.get("reason")) if isinstance(details, dict) else ""
        status = response.get("status")
        self.reason = _REASONS.get(reason, reason) or (
            "incomplete" if status == "incomplete" else "stop"
        )
        yield from self._flush()


def _call(item: _Item) -> ToolCall | None:
    name = text_of(item.raw.get("name"))
    call_id = text_of(item.raw.get("call_id")) or text_of(item.raw.get("id"))
    function = {"name": name, "arguments": item.arguments}
    return {"id": call_id, "type": "function", "function": function} if name else None


def _sendable(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a reasoning item in the form to send back, if it is encrypted or has text."""
    item = {key: raw[key] for key in REASONING_KEYS if raw.get(key) not in (None, "")}
    if not item.get("content"):
        item.pop("content", None)
    if raw.get("status") != "incomplete" and {"encrypted_content", "content"} & item.keys():
        yield {**item, "summary": item.get("summary") or []}


def normalized_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the token counts of a provider under the names that `omniagent_cli.agent.context.cost` explains."""
    details = {
        "cached_tokens": ("input_tokens_details", "cached_tokens"),
        "cache_write_tokens": ("input_tokens_details", "cache_write_tokens"),
        "reasoning_tokens": ("output_tokens_details", "reasoning_tokens"),
    }
    found = {name: usage.get(name) for name in ("input_tokens", "output_tokens")}
    for name, (group, key) in details.items():
        counts = usage.get(group)
        found[name] = counts.get(key) if isinstance(counts, dict) else None
    return token_counts(found)
