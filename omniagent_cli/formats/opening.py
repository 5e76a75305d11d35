"""What there is to import at a place: a file, the files of a directory, the members of a zip; unpacked while they are read."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from omniagent_cli.errors import FormatError
from omniagent_cli.formats.exchange import Problem, problem
from omniagent_cli.formats.source import Source
from omniagent_cli.text import one_line

ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"

MAX_MEMBERS = 100_000
MAX_MEMBER_BYTES = 1 << 30
MAX_MEMBER_RATIO = 500
"""A member that would unpack to more than `MAX_MEMBER_BYTES`, and to that many times its packed size, is a bomb."""

_ENDINGS = (".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".db", ".zip", ".zst", ".gz")
"""Endings of the files that are looked at in a directory or a zip."""

_ENCRYPTED = 0x1
Progress = Callable[[int], object]


def sources(
    stream: BinaryIO, name: str, *, path: Path | None = None, progress: Progress | None = None
) -> Iterator[Source | Problem]:
    """Yield what a stream holds: itself, unpacked where it is packed, or each member of a zip.

    Args:
        stream: binary, read once from the front.
        name: what places are called by.
        path: the file it is of, if it is one.
        progress: called with the number of bytes of the stream that were used so far.
    """
    source = Source(stream, name, progress=progress, path=path)
    head = source.head()
    if head.startswith((ZIP, _EMPTY_ZIP)):
        with _seekable(source) as file:
            yield from _members(file, name, progress)
    elif head.startswith(_ZSTD):
        yield _unpacked_zstd(source)
    elif head.startswith(_GZIP):
        packed = gzip.GzipFile(fileobj=as_file(source))
        errors = (EOFError, zlib.error)
        yield Source(cast("BinaryIO", packed), name.removesuffix(".gz"), errors=errors)
    else:
        yield source


def files_under(directory: Path) -> Iterator[Path]:
    """Yield the files of a directory that may hold conversations, in the order of their names; links are not followed."""
    for here, below, names in os.walk(directory):
        below.sort()
        for name in sorted(names):
            path = Path(here, name)
            if name.lower().endswith(_ENDINGS) and stat.S_ISREG(path.lstat().st_mode):
                yield path


def open_file(path: Path) -> BinaryIO:
    """Open a file to be imported.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise FormatError(
            f"it cannot be read: {error.strerror}; name a file that can", place=str(path)
        ) from error


class _Stream(io.RawIOBase):
    """A source read as a file, by what unpacks it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._source.chunk())
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def as_file(source: Source) -> BinaryIO:
    """Return a source as a file that is read from the front."""
    return cast("BinaryIO", io.BufferedReader(_Stream(source)))


def _unpacked_zstd(source: Source) -> Source:
    # Python has it from 3.14 on; the package is the same code for those before.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    file = zstd.ZstdFile(as_file(source))
    errors = (EOFError, zstd.ZstdError)
    return Source(cast("BinaryIO", file), source.name.removesuffix(".zst"), errors=errors)


@contextmanager
def _seekable(source: Source) -> Iterator[BinaryIO]:
    """Give a zip as a file that can be gone through: itself, or a private nameless copy of a pipe."""
    with ExitStack() as stack:
        if source.path is not None:
            yield stack.enter_context(open_file(source.path))
            return
        yield stack.enter_context(source.copy())


def _members(file: BinaryIO, name: str, progress: Progress | None) -> Iterator[Source | Problem]:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        yield problem(name, f"it is no zip that can be read: {error}")
        return
    with archive:
        used = 0
        for info in _wanted(archive.infolist()):
            place = f"{name}:{one_line(info.filename)}"
            if why := _refused(info):
                yield problem(place, why)
                continue
            try:
                stream = archive.open(info)
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
                yield problem(place, f"it cannot be unpacked: {error}")
                continue
            with stream:
                errors = (EOFError, zlib.error, zipfile.BadZipFile)
                inner = Source(cast("BinaryIO", stream), place, errors=errors)
                yield _unpacked_zstd(inner) if info.filename.endswith(".zst") else inner
            used += info.compress_size
            if progress is not None:
                progress(used)


def _wanted(infos: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Choose the members that may hold conversations; in an account export only those that do by their name."""
    found = [
        info
        for info in infos[:MAX_MEMBERS]
        if not info.is_dir() and info.filename.lower().endswith(_ENDINGS)
    ]
    conversations = [i for i in found if _stem(i).startswith("conversations")]
    return sorted(conversations or found, key=lambda info: info.filename)


def _stem(info: zipfile.ZipInfo) -> str:
    return PurePosixPath(info.filename).name.lower()


def _refused(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted; unpack the zip with its password first"
    is_link = stat.S_ISLNK(info.external_attr >> 16)
    if is_link:
        return "it is a link, which is not followed"
    ratio = info.file_size / max(1, info.compress_size)
    if info.file_size > MAX_MEMBER_BYTES and ratio > MAX_MEMBER_RATIO:
        return f"it would unpack to {ratio:.0f} times its size; unpack it first if you trust it"
    return ""
