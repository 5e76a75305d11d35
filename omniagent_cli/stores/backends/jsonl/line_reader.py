"""Reading a log in blocks, forwards and backwards, a line at a time, in memory that does not grow with the file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

BLOCK = 1 << 18
FIRST_BLOCK = 1 << 13
"""The end of a log is read in a small block first: most often it is enough."""


class Shrunk(Exception):
    """The file became shorter than it was: a torn tail was removed meanwhile; look again."""


class NotAFile(Exception):
    """A directory, a link or a device stands where a log should be."""


class Tape:
    """An open file.

    Attributes:
        bytes_read: how much was read so far, so that tests can tell what an operation costs.
    """

    bytes_read = 0
    """Of all tapes of this process."""

    def __init__(self, path: Path) -> None:
        # Neither a FIFO, for which we would wait, nor what a link leads to outside of the store is a log.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise NotAFile
        self._file = path.open("rb", buffering=0)
        status = os.fstat(self._file.fileno())
        self.size = status.st_size
        self.stamp = (status.st_size, status.st_mtime_ns, status.st_ino)

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._file.close()

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`.

        Raises:
            Shrunk: they are not there any more.
        """
        self._file.seek(start)
        data = self._file.read(end - start) or b""
        while len(data) < end - start:
            more = self._file.read(end - start - len(data))
            if not more:
                raise Shrunk
            data += more
        Tape.bytes_read += len(data)
        return data

    def line_at(self, offset: int, end: int) -> bytes | None:
        """Return the line that begins at an offset, or None when none begins there."""
        if not 0 < offset < end or self.read(offset - 1, offset) != b"\n":
            return None
        return next(self.forward(offset, end))[1]

    def forward(
        self, start: int, end: int, first_block: int = FIRST_BLOCK
    ) -> Iterator[tuple[int, bytes]]:
        """Yield offset and line, without its end, from a line's beginning on."""
        parts: list[bytes] = []
        offset, block = start, first_block
        while start < end:
            data = self.read(start, min(end, start + block))
            start += len(data)
            block = min(block * 2, BLOCK)
            if b"\n" not in data:
                parts.append(data)
                continue
            lines = data.split(b"\n")
            lines[0] = b"".join((*parts, lines[0]))
            parts = [lines.pop()]
            for line in lines:
                yield offset, line
                offset += len(line) + 1
        if last := b"".join(parts):
            yield offset, last

    def backward(self, end: int, floor: int) -> Iterator[tuple[int, bytes]]:
        """Yield offset and line, newest first; the first is what follows the last newline, perhaps nothing."""
        parts: list[bytes] = []
        block = FIRST_BLOCK
        while end > floor:
            start = max(floor, end - block)
            data = self.read(start, end)
            block = min(block * 2, BLOCK)
            lines = data.split(b"\n")
            offset = end
            end = start
            if len(lines) == 1:
                parts.append(data)
                continue
            offset -= len(lines[-1])
            yield offset, b"".join((lines[-1], *reversed(parts)))
            for line in reversed(lines[1:-1]):
                offset -= len(line) + 1
                yield offset, line
            parts = [lines[0]]
        if parts:
            yield floor, b"".join(reversed(parts))

    def line_number(self, offset: int) -> int:
        """Return the number, from 1, of the line that begins at an offset."""
        number = 1
        for start in range(0, offset, BLOCK):
            number += self.read(start, min(offset, start + BLOCK)).count(b"\n")
        return number
