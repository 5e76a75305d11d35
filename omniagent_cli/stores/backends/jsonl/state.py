"""The derived facts of a session log: counts, times, positions, and where its lines are.

A log is regular if the stamps of its messages, and of its other lines, ascend. Then one pass in bounded memory derives its
state, and appended lines only extend it. Any other log was merged or edited: `merging` sorts its lines first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, NamedTuple, Self

from omniagent_cli.json_format import dump, format_time, parse_time
from omniagent_cli.stores.backend import HeaderRow
from omniagent_cli.stores.backends.jsonl.facts import Path, single_facts, unflatten
from omniagent_cli.stores.backends.jsonl.line_reader import LineReader
from omniagent_cli.stores.backends.jsonl.lines import (
    BadLine,
    MessageLine,
    from_base64,
    kind_at_start,
    kind_of,
    read_message,
    read_other,
)
from omniagent_cli.stores.backends.jsonl.ranges import (
    Ranges,
    count,
    holds,
    joined,
    spans,
    without,
)

MARK_BYTES = 1 << 14
_MANY_MARKS, _OLD_MARKS, _NEW_MARKS = 160, 96, 16

COLUMNS = ("id", "created_at", "agent_id", "model", "ttl_seconds", "hidden", "pinned", "archived")
"""Facts of header lines that are columns of the header."""


class Irregular(Exception):
    """The lines of the log are not in the order in which they were written."""


class Parsed(NamedTuple):
    """A line of a log; its kind is ``bad`` if it cannot be read."""

    offset: int
    size: int
    kind: str
    message: MessageLine | None = None
    record: dict[str, Any] = {}  # noqa: RUF012  # never changed

    @property
    def more(self) -> bool:
        """The next line belongs to the same write."""
        return self.message.more if self.message else self.record.get("more") is True

    @property
    def stamp(self) -> str:
        """When the line was written."""
        if self.message:
            return self.message.stamp
        return str(self.record.get("at") or self.record.get("created_at", ""))


@dataclass(slots=True)
class State:
    """The state of a log up to its last complete write.

    Attributes:
        header: the header without times of expiry and payload; see `current`.
        changed_at: time of the last change of any kind.
        expiry: expiry of the last header line that has one; ``-`` if it follows from time to live and changes.
        facts: single facts with the stamps of their lines.
        first, end: offsets of the second line and of the end of the last complete write.
        unended: the last line has no line end, as some editors leave it.
        top: the highest position.
        free, gone: positions below it without a message line, and of removed messages.
        marks: offsets and positions of some message lines, so that a reader can start near a position.
        moved: offsets of messages whose newest line is not in the order of positions.
        records: offsets of attachments and summaries.
        dead: about how many bytes a compaction removes.
        bad: offsets of lines that cannot be read; `lost_facts` if one of them may have been no message.
        newest: last key of the messages and last stamp of the other lines.
    """

    header: HeaderRow
    changed_at: str
    first: int
    end: int
    expiry: str | None = "-"
    facts: dict[Path, Sequence[Any]] = field(default_factory=dict)
    unended: bool = False
    top: int = -1
    free: Ranges = field(default_factory=list)
    gone: Ranges = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)
    moved: dict[int, int] = field(default_factory=dict)
    records: dict[tuple[str, str], int] = field(default_factory=dict)
    dead: int = 0
    bad: list[int] = field(default_factory=list)
    lost_facts: bool = False
    newest: tuple[str, str, str] = ("", "", "")
    preview: bytes | None = None

    @classmethod
    def begin(cls, line: bytes) -> Self:
        """Return the state of a log that has only its first line.

        Raises:
            BadLine: it is not the first line of a log.
        """
        record = read_other("format", line)
        created = record["created_at"]
        end = len(line) + (line[-1:] != b"\n")
        state = cls(HeaderRow(record["uid"], record["id"], created, created), created, end, end)
        state.preview = b""
        for path, value in single_facts(record.get("header", {})):
            state.set_fact(path, "", value)
        return state

    def copy(self) -> Self:
        """Return a copy that can be extended."""
        return replace(
            self,
            header=replace(self.header),
            facts=self.facts.copy(),
            marks=self.marks.copy(),
            moved=self.moved.copy(),
            records=self.records.copy(),
            bad=self.bad.copy(),
        )

    def current(self, *, payload: bool = True) -> HeaderRow:
        """Return the header."""
        header = replace(self.header, payload=self.payload() if payload else None)
        header.next_position = max(header.next_position, self.top + 1)
        header.expires_at = expiry_of(self.changed_at, header.ttl_seconds)
        if self.expiry != "-":
            header.expires_at = self.expiry
        if self.lost_facts:
            header.expires_at = None  # an unreadable line may have changed it
        if ("payload",) not in self.facts:
            for name in ("pinned", "archived"):
                setattr(header, name, self.facts.get(("metadata", name), ("", None))[1] is True)
        set_changed(header, self.changed_at)
        header.preview = self.preview or b""
        return header

    def payload(self) -> bytes:
        """Return title, metadata, state and unknown keys."""
        sealed = self.facts.get(("payload",))
        if sealed is not None:
            return from_base64(sealed[1])
        return dump(unflatten((path, fact[1]) for path, fact in self.data_facts()))

    def data_facts(self) -> Iterator[tuple[Path, Sequence[Any]]]:
        """Yield the facts that are not columns."""
        return ((path, fact) for path, fact in self.facts.items() if path[0] not in COLUMNS)

    # Lines in the order in which they were written.

    def apply(self, line: Parsed) -> None:
        """Add one line.

        Raises:
            Irregular: it does not follow the lines before it.
        """
        if line.kind == "message":
            self._add_message(line.offset, line.size, line.message)  # type: ignore[arg-type]
        elif line.kind == "bad":
            self.bad.append(line.offset)
            self.lost_facts = self.lost_facts or not line.record["sure"]
            if line.record["message"]:
                self.top += 1
                self._mark(line.offset)
                self.header.message_count += 1
        elif not line.kind:
            self.dead += line.size > 1
        else:
            stamp = line.stamp
            if line.kind == "format" or stamp <= self.newest[2]:
                raise Irregular
            self.newest = (*self.newest[:2], stamp)
            if line.kind in ("removed", "restored"):
                self._remove_or_restore(line)
            self.add_other(line)

    def _add_message(self, offset: int, size: int, message: MessageLine) -> None:
        position, top = message.position, self.top
        again = position is not None and position <= top and not holds(self.free, position)
        stamp = (message.edited or "") if again else message.stamp
        key = (stamp, message.id)
        if key <= self.newest[:2]:
            raise Irregular
        self.newest = (*key, self.newest[2])
        self.active(max(stamp, message.edited or ""))
        if position is None or position > top:
            self.top = top + 1 if position is None else position
            if self.top > top + 1:
                self.free = [*self.free, (top + 1, self.top - 1)]
            self._mark(offset)
        else:
            if again and (not message.edited or holds(self.gone, position)):
                raise Irregular
            self.free = without(self.free, position, position)
            self.moved[position] = offset
            self.dead += size if again else 0
        self.header.message_count += not again
        if position in (None, self.top):
            self.preview = message.preview or None

    def _mark(self, offset: int) -> None:
        if not self.marks or offset - self.marks[-1][0] >= MARK_BYTES:
            self.marks.append((offset, self.top))
            if len(self.marks) > _MANY_MARKS:
                kept = self.marks[:1]
                for mark in self.marks[1:-_NEW_MARKS]:
                    if mark[0] - kept[-1][0] >= offset // _OLD_MARKS:
                        kept.append(mark)
                self.marks = kept + self.marks[-_NEW_MARKS:]

    def _remove_or_restore(self, line: Parsed) -> None:
        removes, newest = line.kind == "removed", self._newest_position()
        pairs = line.record[line.kind]
        for first, last in spans(sorted(pair[1] for pair in pairs)):
            inside = count(self.gone) - count(without(self.gone, first, last))
            unused = count(self.free) - count(without(self.free, first, last))
            if last > self.top or unused or inside != (0 if removes else last - first + 1):
                raise Irregular
            if removes:
                self.gone = joined([*self.gone, (first, last)])
            else:
                self.gone = without(self.gone, first, last)
        change = len(pairs) * (line.offset // (self.top + 1))
        self.dead += change + line.size if removes else line.size - change
        self.header.message_count += -len(pairs) if removes else len(pairs)
        if self._newest_position() != newest:
            self.preview = None

    def _newest_position(self) -> int:
        position = self.top
        for first, last in reversed(joined([*self.gone, *self.free])):
            if last != position:
                break
            position = first - 1
        return position

    # Lines in any order.

    def active(self, stamp: str) -> None:
        """Record the time of a line that is activity."""
        self.header.updated_at = max(self.header.updated_at, stamp[:27])
        self.passed(stamp)

    def passed(self, stamp: str) -> None:
        """Record the time of a line."""
        self.changed_at = max(self.changed_at, stamp[:27])
        self.expiry = "-"

    def add_other(self, line: Parsed) -> None:
        """Add the facts of a line that is not a message."""
        record, stamp = line.record, line.stamp
        if line.kind in ("removed", "restored"):
            self.active(stamp)
            return
        self.passed(stamp)
        if line.kind == "record":
            key = (record["record"], record["key"])
            removed = "payload" not in record and record.get("value") is None
            if removed or key in self.records:
                self.dead += line.size
                self.records.pop(key, None)
            if not removed:
                self.records[key] = line.offset
            return
        for path in record.get("unset", ()):
            if self.facts.pop(tuple(path), None):
                self.dead += line.size
        for path, value in single_facts(record["header"]):
            self.dead += line.size if path in self.facts else 0
            self.set_fact(path, stamp, value)

    def set_fact(self, path: Path, stamp: str, value: Any) -> None:
        """Set one fact of a header line."""
        name, header = path[0], self.header
        if name == "modified_at":
            self.changed_at = value
        elif name == "expires_at":
            self.expiry = value
        elif name == "preview":
            self.preview = from_base64(value)
        elif name in ("updated_at", "next_position", "revision"):
            setattr(header, name, value)
        else:
            if name in COLUMNS:
                setattr(header, name, value)
            else:
                sealed = name == "payload"
                if sealed != (("payload",) in self.facts):
                    self.facts = {p: f for p, f in self.facts.items() if p[0] in COLUMNS}
            self.facts[path] = (stamp, value)


def expiry_of(moment: str, ttl_seconds: float | None) -> str | None:
    """Return when a session expires that was last changed at a moment; None: never."""
    try:
        return (
            None
            if ttl_seconds is None
            else format_time(parse_time(moment) + timedelta(seconds=ttl_seconds))
        )
    except OverflowError:
        return None


def set_changed(header: HeaderRow, moment: str) -> None:
    """Set the time of the last change of any kind."""
    header.modified_at = moment if moment > header.updated_at else None


def parsed(offset: int, line: bytes) -> Parsed:
    """Parse a line; one that cannot be read is of the kind ``bad``."""
    size = len(line) + 1
    try:
        kind = kind_of(line)
        if kind == "message":
            return Parsed(offset, size, kind, read_message(line, payload=False))
        return Parsed(offset, size, kind, None, read_other(kind, line) if kind else {})
    except BadLine:
        known = kind_at_start(line)
        return Parsed(
            offset,
            size,
            "bad",
            None,
            {"message": known in ("message", ""), "sure": known == "message"},
        )


def parsed_lines(offset: int, data: bytes) -> Iterator[Parsed]:
    """Parse complete lines that are written at an offset."""
    for text in data.splitlines(keepends=True):
        yield parsed(offset, text[:-1])
        offset += len(text)


def complete(reader: LineReader, start: int) -> Iterator[list[Parsed]]:
    """Yield the lines of each complete write from an offset on; an interrupted one at the end is left out."""
    chain: list[Parsed] = []
    for offset, text in reader.forward(start, reader.size):
        line = parsed(offset, text)
        if offset + len(text) >= reader.size and (line.kind == "bad" or line.more):
            return
        chain.append(line)
        if not line.more:
            yield chain
            chain = []


def extend(state: State, writes: Iterable[list[Parsed]], size: int) -> State:
    """Add complete writes to a state and return it.

    Raises:
        Irregular: they do not follow it.
    """
    for chain in writes:
        for line in chain:
            state.apply(line)
        end = chain[-1].offset + chain[-1].size
        state.header.revision += any(line.kind for line in chain)
        state.unended = end > size
        state.end = min(end, size)
    return state
