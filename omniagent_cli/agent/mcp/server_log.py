"""The log of a server: its last output and its exit status, for error messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from omniagent_cli.text.sanitize import cut, one_line

_KEPT_LINES = 20
_LINE_LENGTH = 300
EDGE_BYTES = 200
"""The number of bytes kept from each end of a line that is too long."""


@dataclass(slots=True)
class ServerLog:
    """The last output of one server, in bounded memory.

    Attributes:
        errors: the last lines on stderr.
        stray: the last line on stdout that is not a message, as printed by programs that are not servers.
        end: how it ended, such as "exit code 1".
        excluded: the tools that cannot be offered, with the reason.
    """

    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    stray: str = ""
    end: str = ""
    excluded: list[str] = field(default_factory=list)

    def add_error_line(self, line: bytes) -> None:
        """Add a line of stderr."""
        if text := _clip(line):
            self.errors.append(text)

    def add_stray_line(self, line: bytes) -> None:
        """Record a line of stdout that is not a message."""
        self.stray = _clip(line) or self.stray

    def failure_detail(self) -> str:
        """Return the exit status and the most helpful output line; empty if there is neither."""
        output = self.errors[-1] if self.errors else self.stray and f"it printed {self.stray!r}"
        return ": ".join(part for part in (self.end, output) if part)


def _clip(line: bytes) -> str:
    return cut(one_line(line[: _LINE_LENGTH * 4].decode("utf-8", "replace")).strip(), _LINE_LENGTH)


class TruncatedLine(NamedTuple):
    """A line over the limit, of which only the edges were kept."""

    head: bytes
    tail: bytes


class LineSplitter:
    """Splits a stream into lines, in memory bounded by the maximum line length."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._length = 0
        self._edges: TruncatedLine | None = None

    def feed(self, data: bytes) -> Iterator[bytes | TruncatedLine]:
        """Add a chunk and yield the lines it completes."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._add(end)
            yield self._take_line()
        self._add(rest)

    def rest(self) -> bytes | TruncatedLine:
        """Return the text after the last line end."""
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
            line = b"".join(self._parts)
            self._parts = []
            self._edges = TruncatedLine(line[:EDGE_BYTES], line[-EDGE_BYTES:])

    def _take_line(self) -> bytes | TruncatedLine:
        line = self._edges or b"".join(self._parts)
        self._parts, self._length, self._edges = [], 0, None
        return line
