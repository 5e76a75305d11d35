"""The messages of a log, by position, in either direction, reading no more than necessary.

Positions ascend through a log, except for lines that replace an earlier message. Such a line is within `WINDOW` bytes of
the previous version (otherwise the writer rewrites the file), so a reader knows when a message is final without reading
the rest of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from omniagent_cli.stores.backend import MessageRow, RowRange
from omniagent_cli.stores.backends.jsonl.lines import BadLine, kind_of, place_of, read_message
from omniagent_cli.stores.backends.jsonl.log import Log

WINDOW = 1 << 18
"""Maximum distance between the versions of a message, in bytes."""

NEAR = 1 << 15
"""Distance below which reading line by line is faster than binary search."""

_Place = tuple[int, int, bool, bytes]
"""Offset, position, whether it replaces, line."""


def rows(log: Log, span: RowRange) -> Iterator[MessageRow]:
    """Yield messages as described by `Transaction.rows`.

    Raises:
        CorruptSession: a line cannot be read, or messages are missing.
    """
    found = _backward(log, span) if span.newest else _forward(log, span)
    stop = None if span.limit is None else span.skip + span.limit
    for offset, line in islice(found, span.skip, stop):
        try:
            row = read_message(line)
        except BadLine as error:
            raise log.damaged(offset) from error
        yield row


def nearest(log: Log, position: int) -> bytes | None:
    """Return the newest line of a message within the window at the end, or None."""
    for offset, line in log.tape.backward(log.end, log.first):
        if log.end - offset - len(line) > WINDOW:
            return None
        place = _place(log, offset, line)
        if place is not None and place[1] == position:
            return line
    return None


def _forward(log: Log, span: RowRange) -> Iterator[tuple[int, bytes]]:
    first = span.first or 0
    start = _seek(log, first)
    count = 0
    places = _places(log, start)
    for offset, position, line in (
        _settled(places) if log.facts.get("replaced") else _plain(log, places)
    ):
        if span.last is not None and position > span.last:
            return
        count += 1
        if position >= first:
            yield offset, line
    if start == log.first and span.last is None and count != log.header.message_count:
        raise log.miscounted(count)


def _places(log: Log, start: int) -> Iterator[_Place]:
    """Yield the message lines from an offset on, checking that positions ascend."""
    newest = -1
    for offset, line in log.tape.forward(start, log.end):
        place = _place(log, offset, line)
        if place is None:
            continue
        if not place[2]:
            if place[1] <= newest:
                raise log.damaged(offset)
            newest = place[1]
        yield place


def _place(log: Log, offset: int, line: bytes) -> _Place | None:
    try:
        if kind_of(line) != "message":
            return None
        return (offset, *place_of(line), line)
    except BadLine as error:
        raise log.damaged(offset) from error


def _plain(log: Log, places: Iterator[_Place]) -> Iterator[tuple[int, int, bytes]]:
    for offset, position, replaces, line in places:
        if replaces:
            raise log.damaged(offset)
        yield offset, position, line


def _settled(places: Iterator[_Place]) -> Iterator[tuple[int, int, bytes]]:
    """Yield each message in its last version, holding it back while a later version is possible."""
    waiting: dict[int, tuple[int, bytes]] = {}
    for offset, position, replaces, line in places:
        while waiting:
            oldest = next(iter(waiting))
            began, text = waiting[oldest]
            if offset - began - len(text) <= WINDOW:
                break
            del waiting[oldest]
            yield began, oldest, text
        # Replacements of messages before the requested range are skipped.
        if not replaces or position in waiting:
            waiting[position] = (offset, line)
    for position, (began, text) in waiting.items():
        yield began, position, text


def _backward(log: Log, span: RowRange) -> Iterator[tuple[int, bytes]]:
    end = log.end
    later: dict[int, tuple[int, bytes]] = {}
    if span.last is not None and span.last < log.header.next_position - 1:
        end, later = _end_of(log, span.last)
    for offset, line in log.tape.backward(end, log.first):
        place = _place(log, offset, line)
        if place is None:
            continue
        _, position, replaces, _ = place
        if replaces:
            later.setdefault(position, (offset, line))
            continue
        if span.first is not None and position < span.first:
            return
        yield later.pop(position, (offset, line))


def _end_of(log: Log, last: int) -> tuple[int, dict[int, tuple[int, bytes]]]:
    """Return the offset of the first message after a position, and later versions of messages up to it."""
    end: int | None = None
    settled_at = 0
    later: dict[int, tuple[int, bytes]] = {}
    for offset, position, replaces, line in _places(log, _seek(log, last + 1)):
        if end is None:
            if replaces or position <= last:
                continue
            end = settled_at = offset
            if not log.facts.get("replaced"):
                break
        if offset > settled_at + WINDOW:
            break
        if replaces and position <= last:
            later[position] = (offset, line)
            settled_at = offset + len(line)
    return (log.end if end is None else end), later


def _seek(log: Log, position: int) -> int:
    """Return the offset of a line before which all messages are below a position, by binary search."""
    low, high = log.first, log.end
    if position == 0:
        return low
    while high - low > NEAR:
        place = _first_after(log, (low + high) // 2, high)
        if place is None or place[1] >= position:
            high = (low + high) // 2
        else:
            low = place[0]
    return low


def _first_after(log: Log, start: int, end: int) -> _Place | None:
    """Return the first message line after an offset that does not replace another."""
    lines = log.tape.forward(start, log.end)
    next(lines, None)  # the offset is inside a line
    for offset, line in lines:
        if offset >= end:
            return None
        place = _place(log, offset, line)
        if place is not None and not place[2]:
            return place
    return None
