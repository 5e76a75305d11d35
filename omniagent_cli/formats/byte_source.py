"""Byte input of an import: peek at the start, then read once from the front in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from omniagent_cli.errors import FormatError

CHUNK_BYTES = 256 * 1024
HEAD_BYTES = 64 * 1024

MAX_RECORD_BYTES = 64 * 1024 * 1024
"""Size limit of a single record; a longer one is reported and skipped."""

_BOM = b"\xef\xbb\xbf"
_SPOOL_BYTES = 8 * 1024 * 1024


class ByteSource:
    """Named binary stream whose start can be inspected before it is read.

    Args:
        stream: read once, from the front.
        name: see below.
        progress: called with the number of bytes read so far.
        path: see below.
        errors: exceptions besides `OSError` that the stream raises when it cannot be read, such as decompression errors.
        size: number of bytes to read, for files that may still grow.

    Attributes:
        name: prefix of locations, such as ``chats.jsonl``.
        path: file behind the stream, for formats that need random access; None for pipes and compressed input.
        consumed: number of bytes read so far.
        report_problem: called with location and description of a part of a record that is left out; if None, the record is.
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        *,
        progress: Callable[[int], object] | None = None,
        path: Path | None = None,
        errors: tuple[type[Exception], ...] = (),
        size: int | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.consumed = 0
        self.report_problem: Callable[[str, str], object] | None = None
        self._progress = progress
        self._errors: tuple[type[Exception], ...] = (OSError, *errors)
        # A pipe's read() blocks until all bytes arrive; read1() returns what is available.
        self._read_some: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self._head: bytes | None = None
        self._left = size

    def _read(self, size: int) -> bytes:
        if self._left is not None:
            size = min(size, self._left)
        try:
            data = self._read_some(size) if size else b""
        except self._errors as error:
            reason = getattr(error, "strerror", None) or error
            raise FormatError(f"cannot be read: {reason}", location=self.name) from error
        if self._left is not None:
            self._left -= len(data)
        return data

    def head(self) -> bytes:
        """Return up to `HEAD_BYTES` of the start without consuming them, a byte order mark removed."""
        if self._head is None:
            head = b""
            while len(head) < HEAD_BYTES and (data := self._read(HEAD_BYTES - len(head))):
                head += data
            self._head = head.removeprefix(_BOM)
        return self._head

    def chunk(self) -> bytes:
        """Return the next bytes, at most `CHUNK_BYTES`; empty at the end."""
        if data := self.head():
            self._head = b""
        else:
            data = self._read(CHUNK_BYTES)
        self.consumed += len(data)
        if self._progress is not None and data:
            self._progress(self.consumed)
        return data

    def copy(self) -> BinaryIO:
        """Return the remaining bytes as a seekable, unnamed temporary file; the caller closes it."""
        file = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115  # closed by the caller
        try:
            while data := self.chunk():
                file.write(data)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return cast("BinaryIO", file)

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield line number (from 1) and line without its newline; None for a line that exceeds `MAX_RECORD_BYTES`."""
        pieces: list[bytes] = []
        number, size = 1, 0
        while data := self.chunk():
            first, *rest = data.split(b"\n")
            for line in rest:
                yield number, _join_line(pieces, first, size)
                number, pieces, size, first = number + 1, [], 0, line
            size += len(first)
            if size <= MAX_RECORD_BYTES:
                pieces.append(first)
            else:
                pieces.clear()
        if size:
            yield number, _join_line(pieces, b"", size)


def _join_line(pieces: list[bytes], last: bytes, size: int) -> bytes | None:
    if size + len(last) > MAX_RECORD_BYTES:
        return None
    return b"".join(pieces) + last if pieces else last
