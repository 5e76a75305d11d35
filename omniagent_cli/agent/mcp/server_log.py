"""What is remembered of a server for the sentence that says why it failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from omniagent_cli.text.sanitize import cut, one_line

_KEPT_LINES = 20
_LINE_LENGTH = 300
EDGE_BYTES = 200
"""So many bytes are kept of both ends of a line that is too long."""


@dataclass(slots=True)
class ServerLog:
    """The last words of one server, bounded however much it says.

    Attributes:
        errors: its last lines on stderr.
        stray: the last line on stdout that is no message, as programs print that were never meant to be servers.
        end: how it ended, such as "exit code 1".
        excluded: what of its tools cannot be offered, and why.
    """

    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    stray: str = ""
    end: str = ""
    excluded: list[str] = field(default_factory=list)

    def add_error_line(self, line: bytes) -> None:
        """Keep a line of stderr."""
        if text := _clip(line):
            self.errors.append(text)

    def add_stray_line(self, line: bytes) -> None:
        """Keep a line of stdout that is no message."""
        self.stray = _clip(line) or self.stray

    def failure_detail(self) -> str:
        """Return what explains a failure best, with what it goes after, or nothing."""
        words = self.errors[-1] if self.errors else self.stray and f"it wrote {self.stray!r}"
        return ": ".join(part for part in (self.end, words) if part)


def _clip(line: bytes) -> str:
    return cut(one_line(line[: _LINE_LENGTH * 4].decode("utf-8", "replace")).strip(), _LINE_LENGTH)


class TruncatedLine(NamedTuple):
    """A line over the limit; only its edges were kept."""

    head: bytes
    tail: bytes


class LineSplitter:
    """Cuts a stream into lines, in memory that is bounded by the longest line allowed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._length = 0
        self._edges: TruncatedLine | None = None

    def feed(self, data: bytes) -> Iterator[bytes | TruncatedLine]:
        """Take a piece and yield the lines it completes."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._add(end)
            yield self._take_line()
        self._add(rest)

    def rest(self) -> bytes | TruncatedLine:
        """Return what came after the last line's end."""
        return self._take_line()

    def _add(self, part: bytes) -> None:
        if self._edges is not None:
            self._edges = TruncatedLine(
                self._edges.head, (self._edges.tail + part[-EDGE_BYTES:])[-EDGE_BYTES:]
            )
            return
        self._parts.append(part)
        self._length += len(part)
        if self._length > self._limit:
            whole = b"".join(self._parts)
            self._parts = []
            self._edges = TruncatedLine(whole[:EDGE_BYTES], whole[-EDGE_BYTES:])

    def _take_line(self) -> bytes | TruncatedLine:
        line = self._edges or b"".join(self._parts)
        self._parts, self._length, self._edges = [], 0, None
        return line
