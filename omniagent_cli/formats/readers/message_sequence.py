"""Normalization of the messages of one session: order, ids, times, turns, tool calls, thinking."""

from __future__ import annotations

from collections import OrderedDict
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
"""How many characters of pieces become one answer; what says to be more is no answer of anybody."""


_LAST_OF = ("model", "usage", "status")

ANSWER = "_answer"
"""Key of a record that says which answer it is a piece of; it is not imported."""


class Thread:
    """Puts the messages of one session in order on their way in.

    Pieces of one answer that follow each other (the same `ANSWER`) become one message again.
    Turns begin with each question; a message without a time has that of the one before it; one without an id gets one
    from what it says and what came before it, and an id that was there already is told apart by its number; thinking
    that stands by itself goes to the answer that follows, and a tool's result to the call before it when it names none.

    Args:
        began: the session's time, for messages before the first that has one.
    """

    def __init__(self, began: str | None = None) -> None:
        self._at = began
        self._turn = ""
        self._number = 0
        self._before = ""
        self._ids = _Seen()
        self._thinking: list[MessageEntry] = []
        self._thought = 0
        self._open_calls: OrderedDict[str, None] = OrderedDict()

    def entries(self, found: Iterable[Entry]) -> Iterator[Entry]:
        """Yield what is to be imported."""
        for entry in _whole(found):
            if isinstance(entry, MessageEntry):
                yield from self._taken(entry)
            else:
                yield entry
        yield from self._left()

    def _taken(self, entry: MessageEntry) -> Iterator[Entry]:
        own = {key: value for key, value in entry.record.items() if key != ANSWER}
        if _is_thinking(own):
            self._thinking.append(MessageEntry(entry.place, own))
            self._thought += len(own["extra"]["thinking"])
            if self._thought > _MAX_JOINED:
                yield from self._left()
            return
        if own["role"] == "assistant" and self._thinking:
            first = _joined(self._thinking).record["extra"]["thinking"]
            self._thinking, self._thought = [], 0
            thoughts = (first, own.get("extra", {}).get("thinking", ""))
            own["extra"] = {**own.get("extra", {}), "thinking": "\n\n".join(filter(None, thoughts))}
        yield from self._left()
        yield from self._placed(MessageEntry(entry.place, own))

    def _left(self) -> Iterator[Entry]:
        """Yield the thinking that no answer followed."""
        if self._thinking:
            entry = _joined(self._thinking)
            self._thinking, self._thought = [], 0
            yield from self._placed(entry)

    def _placed(self, entry: MessageEntry) -> Iterator[Entry]:
        own = entry.record
        if isinstance(own["content"], list):
            own["content"], attachments = detached(own["content"])
            for key, data in attachments.items():
                yield RecordEntry(entry.place, "attachment", key, data)
        self._identify(own)
        self._answer_calls(own)
        if own["role"] == "user" or not self._turn:
            self._turn = own["id"]
        own["turn_id"] = self._turn
        self._at = own.get("created_at") or self._at
        if self._at:
            own["created_at"] = self._at
        yield MessageEntry(entry.place, own)

    def _identify(self, own: dict[str, Any]) -> None:
        """Give it an id that is the same at each import."""
        self._number += 1
        wanted = own.get("id") or self._made_id(own)
        own["id"] = f"{wanted}#{self._number}" if self._ids.meets(wanted) else wanted
        self._before = own["id"]

    def _made_id(self, own: dict[str, Any]) -> str:
        said = [
            self._before,
            self._number,
            *(own.get(key) for key in ("role", "content", "tool_calls")),
        ]
        return blake2b(dump(said), digest_size=_MADE_ID).hexdigest()

    def _answer_calls(self, own: dict[str, Any]) -> None:
        for number, call in enumerate(own.get("tool_calls") or ()):
            call["id"] = call["id"] or f"{own['id']}-{number}"
            self._open_calls[call["id"]] = None
        if own["role"] != "tool":
            return
        call_id = own.get("tool_call_id") or next(iter(self._open_calls), "")
        self._open_calls.pop(call_id, None)
        if call_id:
            own["tool_call_id"] = call_id


class _Seen:
    """Tells which ids were there before, in bounded memory.

    From `_MAX_EXACT` ids on it may take a new one for an old one, once in millions: the id then gets a number that it
    would not have needed, at each import the same.
    """

    def __init__(self) -> None:
        self._exact: set[str] | None = set()
        self._bits = bytearray()

    def meets(self, wanted: str) -> bool:
        """Tell whether this id was there, and note that it is."""
        if self._exact is not None:
            was_there = wanted in self._exact
            self._exact.add(wanted)
            if len(self._exact) > _MAX_EXACT:
                self._bits = bytearray(_BITS // 8)
                for known in self._exact:
                    self._is_marked(known)
                self._exact = None
            return was_there
        return self._is_marked(wanted)

    def _is_marked(self, wanted: str) -> bool:
        """Mark the places of an id, and tell whether all of them were."""
        digest = blake2b(wanted.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        were = True
        for start in range(0, 16, 4):
            place = int.from_bytes(digest[start : start + 4], "little") % _BITS
            byte, bit = divmod(place, 8)
            were &= bool(self._bits[byte] >> bit & 1)
            self._bits[byte] |= 1 << bit
        return were


def _is_thinking(record: dict[str, Any]) -> bool:
    only = record["role"] == "assistant" and not record["content"] and not record.get("tool_calls")
    return only and set(record.get("extra") or {}) == {"thinking"}


def _whole(found: Iterable[Entry]) -> Iterator[Entry]:
    """Put the pieces of an answer together."""
    pieces: list[MessageEntry] = []
    size = 0
    for entry in found:
        answer = entry.record.get(ANSWER) if isinstance(entry, MessageEntry) else None
        if pieces and not (
            answer and pieces[0].record.get(ANSWER) == answer and size < _MAX_JOINED
        ):
            yield _joined(pieces)
            pieces, size = [], 0
        if isinstance(entry, MessageEntry):
            pieces.append(entry)
            size += len(str(entry.record)) if answer else 0
        else:
            yield entry
    if pieces:
        yield _joined(pieces)


def _joined(pieces: list[MessageEntry]) -> MessageEntry:
    """Return pieces of one answer as one; what only one of them can have is that of the last that has it."""
    if len(pieces) == 1:
        return pieces[0]
    records = [piece.record for piece in pieces]
    first: dict[str, Any] = records[0]
    calls = [call for record in records for call in record.get("tool_calls", ())]
    thoughts = [record.get("extra", {}).get("thinking", "") for record in records]
    extra = {key: value for record in records for key, value in record.get("extra", {}).items()}
    if any(thoughts):
        extra["thinking"] = "\n\n".join(filter(None, thoughts))
    whole = {
        **first,
        **{key: record[key] for record in records for key in _LAST_OF if key in record},
    }
    whole |= {"content": _contents([record["content"] for record in records])}
    whole |= {key: value for key, value in (("tool_calls", calls), ("extra", extra)) if value}
    return MessageEntry(pieces[0].place, whole)


def _contents(contents: list[Any]) -> Any:
    """Return several contents as one."""
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(filter(None, contents))
    parts = [[{"type": "text", "text": c}] if isinstance(c, str) else c for c in contents]
    return [part for some in parts for part in some if part.get("text") != ""]
