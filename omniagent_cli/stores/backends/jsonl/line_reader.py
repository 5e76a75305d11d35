"""Reader of a log, one line at a time, in bounded memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

BLOCK = 1 << 18
FIRST_BLOCK = 1 << 13
"""Size of the first block read from the end of a log, which is usually enough."""


class Shrunk(Exception):
    """The file became shorter because a torn tail was removed; read it again."""


class NotAFile(Exception):
    """A directory, a link or a device instead of a log."""


def link_message(path: object) -> str:
    """Return what users read about a link in the place of a log."""
    return f"{path} is a symbolic link, which is not followed"


class LineReader:
    """An open file.

    Attributes:
        bytes_read: number of bytes read so far, so that tests can measure an operation.
    """

    bytes_read = 0
    """Number of bytes read by all readers of this process."""

    def __init__(self, path: Path, file: BinaryIO | None = None) -> None:
        # Reading a FIFO would block, and a link may lead out of the store.
        mode = 0 if file is not None else path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise NotAFile(link_message(path))
        if file is None and not stat.S_ISREG(mode):
            raise NotAFile(f"{path} is not a file")
        self.path = path
        self._file: Any = path.open("rb", buffering=0) if file is None else file
        status = os.fstat(self._file.fileno())
        self.size = status.st_size
        self.stamp = (status.st_size, status.st_mtime_ns, status.st_ino)

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        self._file.close()

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`.

        Raises:
            Shrunk: the file is shorter.
        """
        self._file.seek(start)
        data = self._file.read(end - start) or b""
        while len(data) < end - start:
            more = self._file.read(end - start - len(data))
            if not more:
                raise Shrunk
            data += more
        LineReader.bytes_read += len(data)
        return data

    def forward(
        self, start: int, end: int, first_block: int = FIRST_BLOCK
    ) -> Iterator[tuple[int, bytes]]:
        """Yield offset and line, without its end, from the beginning of a line."""
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

    def line_number(self, offset: int) -> int:
        """Return the number, from 1, of the line that begins at an offset."""
        number = 1
        for start in range(0, offset, BLOCK):
            number += self.read(start, min(offset, start + BLOCK)).count(b"\n")
        return number
