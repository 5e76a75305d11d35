"""What is remembered of a server for the sentence that says why it failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from omniagent_cli.text.sanitize import cut, one_line

_KEPT_LINES = 20
_LINE_LENGTH = 300
EDGE = 200
"""So many bytes are kept of both ends of a line that is too long."""


@dataclass(slots=True)
class Diary:
    """The last words of one server, bounded however much it says.

    Attributes:
        errors: its last lines on stderr.
        stray: the last line on stdout that is no message, as programs print that were never meant to be servers.
        end: how it ended, such as "exit code 1".
        left_out: what of its tools cannot be offered, and why.
    """

    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    stray: str = ""
    end: str = ""
    left_out: list[str] = field(default_factory=list)

    def said(self, line: bytes) -> None:
        """Keep a line of stderr."""
        if text := _shown(line):
            self.errors.append(text)

    def strayed(self, line: bytes) -> None:
        """Keep a line of stdout that is no message."""
        self.stray = _shown(line) or self.stray

    def last_words(self) -> str:
        """Return what explains a failure best, with what it goes after, or nothing."""
        words = self.errors[-1] if self.errors else self.stray and f"it wrote {self.stray!r}"
        return ": ".join(part for part in (self.end, words) if part)


def _shown(line: bytes) -> str:
    return cut(one_line(line[: _LINE_LENGTH * 4].decode("utf-8", "replace")).strip(), _LINE_LENGTH)


class TooLong(NamedTuple):
    """A line over the limit; only its edges were kept."""

    head: bytes
    tail: bytes


class Lines:
    """Cuts a stream into lines, in memory that is bounded by the longest line allowed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._length = 0
        self._edges: TooLong | None = None

    def feed(self, data: bytes) -> Iterator[bytes | TooLong]:
        """Take a piece and yield the lines it completes."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._add(end)
            yield self._taken()
        self._add(rest)

    def rest(self) -> bytes | TooLong:
        """Return what came after the last line's end."""
        return self._taken()

    def _add(self, part: bytes) -> None:
        if self._edges is not None:
            self._edges = TooLong(self._edges.head, (self._edges.tail + part[-EDGE:])[-EDGE:])
            return
        self._parts.append(part)
        self._length += len(part)
        if self._length > self._limit:
            whole = b"".join(self._parts)
            self._parts = []
            self._edges = TooLong(whole[:EDGE], whole[-EDGE:])

    def _taken(self) -> bytes | TooLong:
        line = self._edges or b"".join(self._parts)
        self._parts, self._length, self._edges = [], 0, None
        return line
