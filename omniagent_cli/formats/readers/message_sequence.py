"""Normalization of the messages of one session: order, ids, times, turns, tool calls, thinking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from omniagent_cli.formats.types import Entry, MessageEntry, RecordEntry
from omniagent_cli.json_format import dump
from omniagent_cli.models import detached

_MADE_ID = 11
_MAX_EXACT = 50_000
_BITS = 1 << 27
_MAX_JOINED = 8 * 1024 * 1024
"""Size limit for merging pieces into one answer, in characters."""


_LAST_OF = ("model", "usage", "status")

ANSWER_KEY = "_answer"
"""Record key of the answer that a piece belongs to; not imported."""


class MessageSequence:
    """Normalizer of the messages of one session, in order.

    Consecutive pieces of an answer (same `ANSWER_KEY`) are merged. Each user message starts a turn. A missing time is
    that of the previous message; a missing id is derived from the content and the previous id; a repeated id gets a
    number. Separate thinking joins the following answer. A tool result without a call id belongs to the first open call of
    the last answer with calls, or is a further result of its last one; the next answer with calls and the next user message close them.

    Args:
        created: creation time of the session, used until the first message with a time.
    """

    def __init__(self, created: str | None = None) -> None:
        self._at = created
        self._turn = ""
        self._number = 0
        self._previous_id = ""
        self._ids = _SeenIds()
        self._thinking: list[MessageEntry] = []
        self._thinking_size = 0
        self._open_calls: list[str] = []
        self._last_call = ""

    def entries(self, source: Iterable[Entry]) -> Iterator[Entry]:
        """Yield the normalized entries."""
        for entry in _merge_pieces(source):
            if isinstance(entry, MessageEntry):
                yield from self._process(entry)
            else:
                yield entry
        yield from self._flush_thinking()

    def _process(self, entry: MessageEntry) -> Iterator[Entry]:
        record = {key: value for key, value in entry.record.items() if key != ANSWER_KEY}
        if _is_thinking(record):
            self._thinking.append(MessageEntry(entry.location, record))
            self._thinking_size += len(record["extra"]["thinking"])
            if self._thinking_size > _MAX_JOINED:
                yield from self._flush_thinking()
            return
        if record["role"] == "assistant" and self._thinking:
            first = _merge(self._thinking).record["extra"]["thinking"]
            self._thinking, self._thinking_size = [], 0
            thoughts = (first, record.get("extra", {}).get("thinking", ""))
            record["extra"] = {
                **record.get("extra", {}),
                "thinking": "\n\n".join(filter(None, thoughts)),
            }
        yield from self._flush_thinking()
        yield from self._finish_entry(MessageEntry(entry.location, record))

    def _flush_thinking(self) -> Iterator[Entry]:
        """Yield pending thinking that no answer follows."""
        if self._thinking:
            entry = _merge(self._thinking)
            self._thinking, self._thinking_size = [], 0
            yield from self._finish_entry(entry)

    def _finish_entry(self, entry: MessageEntry) -> Iterator[Entry]:
        record = entry.record
        if isinstance(record["content"], list):
            record["content"], attachments = detached(record["content"])
            for key, data in attachments.items():
                yield RecordEntry(entry.location, "attachment", key, data)
        self._assign_id(record)
        self._link_tool_result(record)
        if record["role"] == "user" or not self._turn:
            self._turn = record["id"]
        record["turn_id"] = self._turn
        self._at = record.get("created_at") or self._at
        if self._at:
            record["created_at"] = self._at
        yield MessageEntry(entry.location, record)

    def _assign_id(self, record: dict[str, Any]) -> None:
        """Assign an id that is the same at each import."""
        self._number += 1
        wanted_id = record.get("id") or self._derive_id(record)
        record["id"] = (
            f"{wanted_id}#{self._number}" if self._ids.check_and_add(wanted_id) else wanted_id
        )
        self._previous_id = record["id"]

    def _derive_id(self, record: dict[str, Any]) -> str:
        identity = [
            self._previous_id,
            self._number,
            *(record.get(key) for key in ("role", "content", "tool_calls")),
        ]
        return blake2b(dump(identity), digest_size=_MADE_ID).hexdigest()

    def _link_tool_result(self, record: dict[str, Any]) -> None:
        calls = record.get("tool_calls") or ()
        if calls or record["role"] == "user":
            self._open_calls, self._last_call = [], ""
        for number, call in enumerate(calls):
            call["id"] = call["id"] or f"{record['id']}-{number}"
            self._open_calls.append(call["id"])
        if record["role"] != "tool":
            return
        given = record.get("tool_call_id")
        call_id = given or (self._open_calls[0] if self._open_calls else self._last_call)
        if call_id in self._open_calls:
            self._open_calls.remove(call_id)
        if call_id:
            record["tool_call_id"] = self._last_call = call_id


class _SeenIds:
    """Set of seen ids in bounded memory.

    Beyond `_MAX_EXACT` ids, a new id is mistaken for a seen one once in millions; it then gets a superfluous number,
    the same at each import.
    """

    def __init__(self) -> None:
        self._exact: set[str] | None = set()
        self._bits = bytearray()

    def check_and_add(self, wanted_id: str) -> bool:
        """Return True if the id was seen before, and add it."""
        if self._exact is not None:
            was_there = wanted_id in self._exact
            self._exact.add(wanted_id)
            if len(self._exact) > _MAX_EXACT:
                self._bits = bytearray(_BITS // 8)
                for known in self._exact:
                    self._test_and_set(known)
                self._exact = None
            return was_there
        return self._test_and_set(wanted_id)

    def _test_and_set(self, wanted_id: str) -> bool:
        """Set the bits of an id; return True if all of them were set."""
        digest = blake2b(wanted_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        all_set = True
        for start in range(0, 16, 4):
            bit_number = int.from_bytes(digest[start : start + 4], "little") % _BITS
            byte, bit = divmod(bit_number, 8)
            all_set &= bool(self._bits[byte] >> bit & 1)
            self._bits[byte] |= 1 << bit
        return all_set


def _is_thinking(record: dict[str, Any]) -> bool:
    only = record["role"] == "assistant" and not record["content"] and not record.get("tool_calls")
    return only and set(record.get("extra") or {}) == {"thinking"}


def _merge_pieces(found: Iterable[Entry]) -> Iterator[Entry]:
    """Merge the pieces of each answer."""
    pieces: list[MessageEntry] = []
    size = 0
    for entry in found:
        answer = entry.record.get(ANSWER_KEY) if isinstance(entry, MessageEntry) else None
        if pieces and not (
            answer and pieces[0].record.get(ANSWER_KEY) == answer and size < _MAX_JOINED
        ):
            yield _merge(pieces)
            pieces, size = [], 0
        if isinstance(entry, MessageEntry):
            pieces.append(entry)
            size += len(str(entry.record)) if answer else 0
        else:
            yield entry
    if pieces:
        yield _merge(pieces)


def _merge(pieces: list[MessageEntry]) -> MessageEntry:
    """Merge pieces of one answer; for single-valued keys the last value wins."""
    if len(pieces) == 1:
        return pieces[0]
    records = [piece.record for piece in pieces]
    first: dict[str, Any] = records[0]
    calls = [call for record in records for call in record.get("tool_calls", ())]
    thoughts = [record.get("extra", {}).get("thinking", "") for record in records]
    extra = {key: value for record in records for key, value in record.get("extra", {}).items()}
    if any(thoughts):
        extra["thinking"] = "\n\n".join(filter(None, thoughts))
    merged = {
        **first,
        **{key: record[key] for record in records for key in _LAST_OF if key in record},
    }
    merged |= {"content": _merge_contents([record["content"] for record in records])}
    merged |= {key: value for key, value in (("tool_calls", calls), ("extra", extra)) if value}
    return MessageEntry(pieces[0].location, merged)


def _merge_contents(contents: list[Any]) -> Any:
    """Merge several contents into one."""
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(filter(None, contents))
    parts = [[{"type": "text", "text": c}] if isinstance(c, str) else c for c in contents]
    return [part for some in parts for part in some if part.get("text") != ""]
