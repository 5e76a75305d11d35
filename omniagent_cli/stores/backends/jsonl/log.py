"""One session log as of when it was opened: its header, messages, attachments and summaries."""

from __future__ import annotations

import contextlib
import heapq
import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Self
from zlib import crc32

from omniagent_cli.errors import CorruptSession
from omniagent_cli.stores.backend import EVERYTHING, HeaderRow, MessageRow, RowRange
from omniagent_cli.stores.backends.jsonl.line_reader import LineReader, NotAFile, Shrunk
from omniagent_cli.stores.backends.jsonl.lines import (
    LOG_VERSION,
    BadLine,
    MessageLine,
    check_version,
    kind_at_start,
    kind_of,
    read_message,
    read_object,
    read_other,
    record_payload,
)
from omniagent_cli.stores.backends.jsonl.merging import arranged
from omniagent_cli.stores.backends.jsonl.ranges import holds, spans
from omniagent_cli.stores.backends.jsonl.state import (
    Irregular,
    Parsed,
    State,
    complete,
    expiry_of,
    extend,
    set_changed,
)
from omniagent_cli.stores.rows import preview_of

_LONGEST_IDENTITY = 1 << 24
_HEAD = re.compile(rb'\{"id":"[^"\\]*"(,"position":\d)?')

Line = tuple[int, int, bytes]
"""Position, offset and text of a message line."""


class NotALog(Exception):
    """The file does not begin like a session log."""


class Rewritable(Exception):
    """The log must be read as a copy, because it has an older form or its lines are not in order."""


class Log:
    """A log file up to its last complete write; later writes are not seen.

    Attributes:
        state: what is derived from its lines.
        partials: growing answers by position, which are stored beside the log.
        stamp: size, time and inode of the file.
        old: `tape` reads a copy, because the file has an older form or its lines are not in order.
    """

    def __init__(self, path: Path, tape: LineReader, state: State, *, old: bool = False) -> None:
        self.path, self.tape, self.state, self.old = path, tape, state, old
        self.partials: dict[int, MessageLine] = {}
        self.stamp = tape.stamp

    @classmethod
    def open(cls, path: Path, state_of: Callable[[LineReader], State]) -> Self | None:
        """Open a log, or return None if the file does not exist.

        Args:
            path: the file.
            state_of: derives the state of an open file, as `derive` does.

        Raises:
            NotALog: it is another file.
            NewerVersion: a newer omniagent wrote it.
        """
        for attempt in range(3):
            try:
                return cls.read(LineReader(path), state_of)
            except FileNotFoundError:
                return None
            except NotAFile as error:
                raise NotALog(*error.args) from error
            except Shrunk:
                if attempt == 2:
                    raise
        return None

    @classmethod
    def read(cls, tape: LineReader, state_of: Callable[[LineReader], State]) -> Self:
        """Return the log of an open file, which is closed with it; see `open`."""
        try:
            return cls(tape.path, tape, state_of(tape))
        except Rewritable:
            with contextlib.closing(tape):
                copy = _copy_of(tape)
            log = cls(tape.path, copy, derive(copy), old=True)
            log.stamp = tape.stamp
            return log
        except BaseException as error:
            tape.close()
            if isinstance(error, BadLine):
                raise NotALog(f"{tape.path} is not a session log") from error
            raise

    def close(self) -> None:
        """Close the file."""
        self.tape.close()

    @property
    def uid(self) -> str:
        """The session's uid."""
        return self.state.header.uid

    @property
    def name(self) -> str:
        """The session's id."""
        return self.state.header.id

    def header(self, *, payload: bool = True, lenient: bool = False) -> HeaderRow:
        """Return the header, growing answers included.

        Raises:
            CorruptSession: a line that is not a message cannot be read; not without payload, or with `lenient`.
        """
        if payload and not lenient and self.state.lost_facts:
            raise self.damaged(self.state.bad[0])
        header = self.state.current(payload=payload)
        if self.state.preview is None:
            newest = next(self.rows(RowRange(newest=True, limit=1), lenient=True), None)
            header.preview = self.state.preview = preview_of(newest) if newest else b""
        for position, line in self.partials.items():
            header.message_count += 1
            header.next_position = max(header.next_position, position + 1)
            header.revision += (1 << 32) + crc32(line.payload)
            changed = max(header.changed_at, line.stamp[:27])
            header.updated_at = max(header.updated_at, line.stamp[:27])
            header.expires_at = expiry_of(changed, header.ttl_seconds)
            set_changed(header, changed)
            if position == header.next_position - 1:
                header.preview = line.preview or preview_of(line.row(position))
        return header

    def attach(self, partials: dict[int, MessageLine]) -> None:
        """Add the growing answers of running turns; one that is in the log already is completed."""
        top, free = self.state.top, self.state.free
        self.partials = {p: line for p, line in partials.items() if p > top or holds(free, p)}

    def damaged(self, offset: int) -> CorruptSession:
        """Return the error for an unreadable line."""
        return CorruptSession(
            f"the session {self.name!r} is damaged at line {self.tape.line_number(offset)} of {self.path};"
            " run: omniagent store check",
            session_id=self.name,
        )

    # Messages.

    def rows(self, span: RowRange = EVERYTHING, *, lenient: bool = False) -> Iterator[MessageRow]:
        """Yield messages as described by `Transaction.rows`.

        Raises:
            CorruptSession: a line cannot be read; with `lenient`, it is left out.
        """
        stop = None if span.limit is None else span.skip + span.limit
        state = self.state
        if not (span.newest or self.partials or state.moved or state.gone or state.bad):
            yield from islice(self._all_in_place(span), span.skip, stop)
            return
        for position, offset, text in islice(self._selected(span), span.skip, stop):
            partial = self.partials.get(position)
            if partial is not None:
                yield partial.row(position)
                continue
            try:
                yield read_message(text).row(position)
            except BadLine as error:
                if not lenient:
                    raise self.damaged(offset) from error

    def _all_in_place(self, span: RowRange) -> Iterator[MessageRow]:
        """Yield the messages of a log from which none was removed or changed, reading each line once."""
        low = span.first or 0
        start, position = self._mark_before(low)
        for offset, text in self.tape.forward(start, self.state.end):
            if text[:6] != b'{"id":' and kind_of(text) != "message":
                continue
            line = self._parsed(offset, text)
            position = position + 1 if line.position is None else line.position
            if span.last is not None and position > span.last:
                return
            if position >= low:
                yield line.row(position)

    def _mark_before(self, position: int) -> tuple[int, int]:
        """Return the offset of a message line at or before a position, and the position before it."""
        index = bisect_right(self.state.marks, position, key=lambda mark: mark[1]) - 1
        if not self.state.marks:
            return self.state.end, -1
        offset, place = self.state.marks[max(index, 0)]
        return offset, place - 1

    def stamped(self) -> Iterator[tuple[MessageRow, MessageLine]]:
        """Yield the messages of the file with their lines, in the order of their stamps, for a new file."""
        moved, done = self.state.moved, set[int]()
        for position, offset, text in self._physical(self.state.first, -1, self.state.end):
            if holds(self.state.gone, position) or position in done:
                continue
            newest = moved.get(position, offset)
            if position in moved:
                done.add(position)
            line = self._parsed(newest, text if newest == offset else self.text_at(newest))
            yield line.row(position), line

    def line_of(self, position: int) -> MessageLine | None:
        """Return the line of a message, or None."""
        found = next(self._selected(RowRange(position, position), partials=False), None)
        return None if found is None else self._parsed(found[1], found[2])

    def _parsed(self, offset: int, text: bytes) -> MessageLine:
        try:
            return read_message(text)
        except BadLine as error:
            raise self.damaged(offset) from error

    def text_at(self, offset: int) -> bytes:
        """Return the line at an offset."""
        return next(self.tape.forward(offset, self.state.end))[1]

    def _selected(self, span: RowRange, *, partials: bool = True) -> Iterator[Line]:
        """Yield the newest lines of messages in a range; that of a growing answer is empty."""
        low, high = span.first or 0, sys.maxsize if span.last is None else span.last
        lines = self._backward(low, high) if span.newest else self._forward(low, high)
        later = self.state.moved | dict.fromkeys(self.partials if partials else (), -1)
        if later:
            places = sorted((p for p in later if low <= p <= high), reverse=span.newest)
            moved = ((place, later[place], b"") for place in places)
            kept = (line for line in lines if line[0] not in later)
            lines = heapq.merge(kept, moved, key=itemgetter(0), reverse=span.newest)
        for position, offset, text in lines:
            if not holds(self.state.gone, position):
                yield position, offset, text or (self.text_at(offset) if offset >= 0 else b"")

    def _forward(self, low: int, high: int) -> Iterator[Line]:
        """Yield the lines that are in the order of positions."""
        offset, position = self._mark_before(low)
        for line in self._base(offset, position, self.state.end):
            if line[0] > high:
                return
            if line[0] >= low:
                yield line

    def _backward(self, low: int, high: int) -> Iterator[Line]:
        marks = self.state.marks
        index = bisect_right(marks, high, key=lambda mark: mark[1])
        end = marks[index][0] if index < len(marks) else self.state.end
        for offset, position in reversed(marks[:index]):
            for line in reversed(list(self._base(offset, position - 1, end))):
                if line[0] < low:
                    return
                if line[0] <= high:
                    yield line
            end = offset

    def _base(self, start: int, position: int, end: int) -> Iterator[Line]:
        for line in self._physical(start, position, end):
            if line[0] > position:
                position = line[0]
                yield line

    def _physical(self, start: int, position: int, end: int) -> Iterator[Line]:
        """Yield all message lines from an offset on; `position` is that of the message before it."""
        bad = set(self.state.bad)
        for offset, text in self.tape.forward(start, end):
            head = _HEAD.match(text)
            if offset in bad:
                if kind_at_start(text) in ("message", ""):
                    position += 1
                    yield position, offset, text
            elif head is not None and head[1] is None:
                position += 1
                yield position, offset, text
            elif head is not None or kind_of(text) == "message":
                line = self._parsed(offset, text)
                place = position + 1 if line.position is None else line.position
                yield place, offset, text
                position = max(position, place)

    def ids(self, positions: list[int]) -> dict[int, str]:
        """Return the ids of messages, removed ones included."""
        found: dict[int, str] = {}
        for first, last in spans(sorted(positions)):
            for position, offset, text in self._forward(first, last):
                found[position] = self._parsed(offset, text).id
        return found

    # Attachments and summaries.

    def records(self, kind: str | None = None) -> Iterator[tuple[str, str, bytes]]:
        """Yield attachments and summaries (kind, key, payload), by kind and key."""
        for own, key in sorted(self.state.records):
            if kind in (None, own):
                yield own, key, self.record(own, key) or b""

    def record(self, kind: str, key: str) -> bytes | None:
        """Return the payload of an attachment or summary."""
        offset = self.state.records.get((kind, key))
        if offset is None:
            return None
        try:
            return record_payload(read_other("record", self.text_at(offset)))
        except BadLine as error:
            raise self.damaged(offset) from error


def _copy_of(tape: LineReader) -> LineReader:
    identity, version = identity_of(tape)
    if version == LOG_VERSION:
        return arranged(tape, identity)
    from omniagent_cli.stores.backends.jsonl.version1 import converted

    return converted(tape)


def identity_of(tape: LineReader) -> tuple[bytes, int]:
    """Return the first line of a log and the version of its form.

    Raises:
        BadLine: it is not a log.
        NewerVersion: a newer omniagent wrote it.
    """
    line = next(tape.forward(0, min(tape.size, _LONGEST_IDENTITY)), (0, b""))[1]
    record = read_object(line)
    if not isinstance(record.get("format"), str):
        raise BadLine
    return line + b"\n" * (tape.size > len(line)), check_version(record, tape.path)


def derive(tape: LineReader) -> State:
    """Derive the state of a log from all of its lines.

    Raises:
        BadLine: it is not a log.
        NewerVersion: a newer omniagent wrote it.
        Rewritable: it must be read as a copy.
    """
    identity, version = identity_of(tape)
    if version < LOG_VERSION:
        raise Rewritable
    try:
        return extended(tape, State.begin(identity))
    except Irregular as error:
        raise Rewritable from error


def extended(tape: LineReader, state: State) -> State:
    """Add the lines of a file after the end of a state to it, and return it.

    Raises:
        Irregular: they do not follow it.
    """
    references: dict[int, str] = {}
    extend(state, _noted(complete(tape, state.end), references), tape.size)
    if references:
        ids = Log(tape.path, tape, state).ids([*references])
        if any(ids.get(position, name) != name for position, name in references.items()):
            raise Irregular
    return state


def _noted(writes: Iterator[list[Parsed]], references: dict[int, str]) -> Iterator[list[Parsed]]:
    """Pass writes on, and note which ids their lines expect at which positions."""
    for chain in writes:
        for line in chain:
            if (
                line.message is not None
                and line.message.edited
                and line.message.position is not None
            ):
                references[line.message.position] = line.message.id
            elif line.kind in ("removed", "restored"):
                references |= {position: name for name, position in line.record[line.kind]}
        yield chain
