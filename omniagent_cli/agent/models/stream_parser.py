"""The parser of a Chat Completions stream: one answer from its chunks, in any shape that servers send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omniagent_cli.agent.context.cost import token_counts
from omniagent_cli.agent.events import Finished, TextDelta, ThinkingDelta
from omniagent_cli.agent.models import sse
from omniagent_cli.agent.models.text_stream import PairJoiner, ThinkTags, joined
from omniagent_cli.json_format import dump, load
from omniagent_cli.models import ToolCall, new_uid


class ChatAnswer:
    """The answer received so far.

    Attributes:
        started: part of the answer has arrived: text, thinking or a tool call.
        recognized: at least one chunk was in the shape of Chat Completions.
        reason: the finish reason; empty until it arrives.
    """

    def __init__(self) -> None:
        self.started = False
        self.recognized = False
        self.reason = ""
        self._model = ""
        self._usage: Mapping[str, Any] = {}
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._extra_content: dict[str, Any] = {}
        self._calls = _Calls()
        self._tags = ThinkTags()
        self._text_pairs, self._thinking_pairs = PairJoiner(), PairJoiner()

    def feed(self, chunk: Any) -> Iterator[TextDelta | ThinkingDelta]:
        """Parse one chunk (or one whole completion) and yield its deltas; unknown shapes yield nothing."""
        if chunk is sse.DONE and self.recognized:
            yield from self._finish(
                self.reason or "stop"
            )  # some servers never send a finish reason
        if not isinstance(chunk, dict):
            return
        choices = chunk.get("choices")
        self.recognized = self.recognized or isinstance(choices, list)
        self._note_metadata(chunk)
        for choice in choices if isinstance(choices, list) else ():
            # Only one choice was requested; a second one would interleave with it.
            if isinstance(choice, dict) and choice.get("index") in (0, None):
                yield from self._choice(choice)

    def _finish(self, reason: str) -> Iterator[TextDelta | ThinkingDelta]:
        """Record the finish reason, and yield the text that was held back."""
        self.reason = reason
        pieces = [*self._tags.feed(self._text_pairs.flush()), *self._tags.flush()]
        yield from self._add(self._thinking_pairs.flush(), "")
        for thinking, text in pieces:
            yield from self._add(thinking, text)
        tag, self._tags.open_tag = self._tags.open_tag, ""
        if tag and reason == "stop" and not (self._text or self._calls):
            # A tag that is never closed is plain text: otherwise the answer would be empty.
            text = tag + "".join(self._thinking)
            self._thinking.clear()
            yield from self._add("", text)

    def finished(self, provider: str) -> Finished:
        """Return the complete answer; without a finish reason and an end mark it was cut off."""
        calls = self._calls.finished()
        reason = self.reason
        if calls and reason in ("stop", "function_call"):  # several local servers send "stop"
            reason = "tool_calls"
        kept = {
            "thinking": "".join(self._thinking),
            "reasoning_details": self._details,
            "extra_content": self._extra_content,
        }
        extra = {key: value for key, value in kept.items() if value}
        return Finished(
            reason=reason,
            text="".join(self._text),
            tool_calls=calls,
            usage=normalized_usage(self._usage),
            model=self._model,
            extra={**extra, "provider": provider} if extra else {},
        )

    def _note_metadata(self, chunk: Mapping[str, Any]) -> None:
        if isinstance(chunk.get("model"), str):
            self._model = chunk["model"] or self._model
        groq = chunk.get("x_groq")
        for holder in (groq if isinstance(groq, dict) else {}, chunk):
            if isinstance(holder.get("usage"), dict) and holder["usage"]:
                self._usage = holder[
                    "usage"
                ]  # counts grow from chunk to chunk: the last one is complete

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[TextDelta | ThinkingDelta]:
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            yield from self._delta(delta)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            yield from self._finish(_REASONS.get(reason.lower(), reason))
        if isinstance(choice.get("usage"), dict) and choice["usage"]:
            self._usage = choice["usage"]

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[TextDelta | ThinkingDelta]:
        inline, text = _split_content(delta.get("content"))
        if self._is_thought(delta.get("extra_content")):
            inline, text = text, ""
        details = delta.get("reasoning_details")
        told = _add_details(self._details, details) if isinstance(details, list) else ""
        # Several servers send the same thinking under more than one name.
        thinking = text_of(delta.get("reasoning_content")) or text_of(delta.get("reasoning"))
        if thinking := thinking or told or inline:
            yield from self._add(self._thinking_pairs.feed(thinking), "")
        if text := self._text_pairs.feed(text or text_of(delta.get("refusal"))):
            for thinking, shown in self._tags.feed(text):
                yield from self._add(thinking, shown)
        calls = delta.get("tool_calls")
        legacy = delta.get("function_call")
        if not calls and isinstance(legacy, dict):  # the form from before tool calls
            calls = [{"index": 0, "function": legacy}]
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                self.started = True
                self._calls.add(call)

    def _add(self, thinking: str, text: str) -> Iterator[TextDelta | ThinkingDelta]:
        self.started = self.started or bool(thinking or text)
        if thinking:
            self._thinking.append(thinking)
            yield ThinkingDelta(thinking)
        if text:
            self._text.append(text)
            yield TextDelta(text)

    def _is_thought(self, extra: Any) -> bool:
        """Store the signature that Google adds to a message; return True if it marks the text as a thought."""
        google = extra.get("google") if isinstance(extra, dict) else None
        if not isinstance(google, dict):
            return False
        signed = {key: value for key, value in google.items() if key != "thought"}
        if signed:
            self._extra_content = {"google": {**self._extra_content.get("google", {}), **signed}}
        return google.get("thought") is True


_REASONS = {
    **dict.fromkeys(("max_tokens", "max_output_tokens", "model_length"), "length"),
    **dict.fromkeys(("safety", "recitation", "sensitive"), "content_filter"),
    **dict.fromkeys(("tool_use", "tool_call"), "tool_calls"),
    **dict.fromkeys(("abort", "network_error", "insufficient_system_resource"), "error"),
    **dict.fromkeys(("end_turn", "eos", "eos_token", "stop_sequence", "completed"), "stop"),
}
"""Finish reasons of other protocols and gateways by their Chat Completions names; ``error`` is an extension."""

_GROWING = ("text", "summary", "data", "signature")


def _add_details(known: list[dict[str, Any]], pieces: Sequence[Any]) -> str:
    """Merge OpenRouter's reasoning details as it expects them back, and return their text.

    https://openrouter.ai/docs/use-cases/reasoning-tokens: pieces of one block are adjacent and have its index.
    """
    said = ""
    for piece in pieces:
        if not isinstance(piece, dict):
            continue
        said += text_of(piece.get("text")) or text_of(piece.get("summary"))
        last = known[-1] if known else {}
        if not last or any(last.get(key) != piece.get(key) for key in ("type", "index")):
            known.append(dict(piece))
            continue
        for key, value in piece.items():
            if key in _GROWING and isinstance(value, str) and isinstance(last.get(key), str):
                last[key] += value
            elif value is not None:
                last[key] = value
    return said


class _Calls:
    """Tool calls built from pieces.

    A piece belongs to the call of its index, unless it has another id: some servers give all calls the index 0, some
    give none at all.
    """

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._at: dict[int, dict[str, Any]] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        call = self._call_of(piece, function)
        if isinstance(piece.get("extra_content"), dict):
            call["extra_content"] = piece["extra_content"]  # Google's signatures
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str):
            call["function"]["name"] = _extended_name(call["function"], name)
        if isinstance(arguments, str):
            call["function"]["arguments"] += arguments
        elif arguments is not None:
            call["function"]["arguments"] = dump(arguments).decode("utf-8")

    def finished(self) -> tuple[ToolCall, ...]:
        """Return the calls that have a name, each with arguments and a unique id."""
        calls = [call for call in self._calls if call["function"]["name"]]
        for call in calls:
            call["function"]["arguments"] = joined(call["function"]["arguments"]) or "{}"
        return with_unique_ids(calls)

    def __bool__(self) -> bool:
        return bool(self._calls)

    def _call_of(self, piece: Mapping[str, Any], function: Mapping[str, Any]) -> dict[str, Any]:
        index = piece.get("index")
        index = index if isinstance(index, int) else None
        call_id = text_of(piece.get("id"))
        call = self._at.get(index) if index is not None else self._without_index(call_id, function)
        if call is None or _starts_new_call(call, call_id, function):
            call = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            self._calls.append(call)
            if index is not None:
                self._at[index] = call
        call["id"] = call["id"] or call_id
        return call

    def _without_index(self, call_id: str, function: Mapping[str, Any]) -> dict[str, Any] | None:
        if call_id:
            return next((call for call in self._calls if call["id"] == call_id), None)
        if function.get("name") or not self._calls:
            return None
        return self._calls[-1]


def _extended_name(function: Mapping[str, Any], piece: str) -> str:
    """Append a piece to the name of a call; the piece may repeat the name or contain it."""
    known: str = function["name"]
    if piece.startswith(known):
        return piece
    return known if function["arguments"] else known + piece


def _starts_new_call(call: Mapping[str, Any], call_id: str, function: Mapping[str, Any]) -> bool:
    if call_id or not function.get("name"):
        return bool(call_id and call["id"] and call["id"] != call_id)
    # Without ids only a name after complete arguments starts a call; some servers repeat the name in each piece.
    try:
        return isinstance(load(call["function"]["arguments"].encode("utf-8", "replace")), dict)
    except ValueError:
        return False


def with_unique_ids(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """Return tool calls with a new id in place of a missing or repeated one."""
    taken = {""}
    for call in calls:
        if call["id"] in taken:
            call["id"] = f"call_{new_uid()}"
        taken.add(call["id"])
    return tuple(calls)


def text_of(value: Any) -> str:
    """Return the value if it is text, else an empty string."""
    return value if isinstance(value, str) else ""


def _split_content(content: Any) -> tuple[str, str]:
    """Return the thinking and the text of a content, which Mistral sends as a list of parts."""
    if not isinstance(content, list):
        return "", text_of(content)
    parts = [part for part in content if isinstance(part, dict)]
    thinking = "".join(_split_content(part.get("thinking"))[1] for part in parts)
    return thinking, "".join(text_of(part.get("text")) for part in parts)


_COUNTS = {
    "input_tokens": ("prompt_tokens", "input_tokens"),
    "output_tokens": ("completion_tokens", "output_tokens"),
    "cached_tokens": ("prompt_cache_hit_tokens", "cache_read_input_tokens"),
    "cache_write_tokens": ("cache_creation_input_tokens",),
}
_DETAILS = {
    "cached_tokens": ("prompt_tokens_details", "cached_tokens"),
    "cache_write_tokens": ("prompt_tokens_details", "cache_write_tokens"),
    "reasoning_tokens": ("completion_tokens_details", "reasoning_tokens"),
}


def normalized_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the token counts under the names that `agent.context.cost` explains; unreported counts are absent.

    Anthropic's ``input_tokens`` exclude cached tokens; OpenAI's ``prompt_tokens`` include them
    (https://docs.claude.com/en/docs/build-with-claude/prompt-caching#tracking-cache-performance).
    """
    counts, normal = token_counts(usage), dict[str, Any]()
    for name, keys in _COUNTS.items():
        for key in keys:
            if key in counts:
                normal.setdefault(name, counts[key])
    for name, (group, key) in _DETAILS.items():
        details = usage.get(group)
        if isinstance(details, dict) and key in (detailed := token_counts(details)):
            normal.setdefault(name, detailed[key])
    if "input_tokens" in normal and "prompt_tokens" not in counts:
        for key in _COUNTS["cached_tokens"][1:] + _COUNTS["cache_write_tokens"]:
            normal["input_tokens"] += counts.get(key, 0)
    return normal
