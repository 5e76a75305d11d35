"""Input sources of an import: files, directories and zip members, decompressed on the fly."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

from omniagent_cli.errors import FormatError
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.types import Problem, problem
from omniagent_cli.text.sanitize import one_line

ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"

MAX_MEMBERS = 100_000
MAX_DIRECTORY_BYTES = 64 * 1024 * 1024
MAX_MEMBER_BYTES = 1 << 28
MAX_MEMBER_RATIO = 500
"""A member larger than `MAX_MEMBER_BYTES` with a higher compression ratio than this is rejected as a zip bomb."""

_ENDINGS = (".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".db", ".vscdb", ".zip", ".zst", ".gz")
"""Suffixes of files that are considered in a directory or zip archive."""

_ENCRYPTED = 0x1
_UNPACK_ERRORS = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error)
Progress = Callable[[int], object]


def sources(
    stream: BinaryIO, name: str, *, path: Path | None = None, progress: Progress | None = None
) -> Iterator[ByteSource | Problem]:
    """Yield the sources in a stream: itself, decompressed if needed, or each member of a zip archive.

    Args:
        stream: binary, read once from the front.
        name: prefix of locations.
        path: file behind the stream, if any.
        progress: called with the number of bytes of the stream used so far.
    """
    source = ByteSource(
        stream, name, progress=progress, path=path, size=size_of(stream) if path else None
    )
    head = source.head()
    if head.startswith((ZIP, _EMPTY_ZIP)):
        with _seekable(source) as file:
            yield from _members(file, name, progress if path else None)
    elif head.startswith(_ZSTD):
        yield _decompress_zstd(source)
    elif head.startswith(_GZIP):
        packed = gzip.GzipFile(fileobj=as_file(source))
        errors = (EOFError, zlib.error)
        yield _decompress(packed, source, source.name.removesuffix(".gz"), errors)
    else:
        yield source


def files_under(
    directory: Path, *, on_error: Callable[[OSError], object] | None = None
) -> Iterator[Path]:
    """Yield the files below a directory that may contain conversations, sorted by name; symbolic links are not followed.

    Args:
        directory: searched recursively.
        on_error: called with the error of each directory that cannot be read.
    """
    return map(Path, _entries_under(directory, on_error))


def _entries_under(
    directory: Path, on_error: Callable[[OSError], object] | None = None
) -> Iterator[os.DirEntry[str]]:
    pending: list[str | Path] = [directory]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if on_error is not None:
                on_error(error)
            continue
        pending += [
            entry.path for entry in reversed(entries) if entry.is_dir(follow_symlinks=False)
        ]
        for entry in entries:
            if entry.name.lower().endswith(_ENDINGS) and entry.is_file(follow_symlinks=False):
                yield entry


class FileState(NamedTuple):
    """State of a file: equal as long as the file was not written.

    Attributes:
        size: bytes.
        changed: time of the last change in nanoseconds; of a database, that of its WAL if that is newer.
    """

    path: str
    size: int
    changed: int


def file_states(path: Path) -> list[FileState]:
    """Return the state of a file, or of each file below a directory that may contain conversations.

    Raises:
        OSError: the file cannot be read.
    """
    if not path.is_dir():
        return [_state(str(path), path.stat())]
    states = []
    for entry in _entries_under(path):
        with suppress(FileNotFoundError):  # removed since it was listed
            states.append(_state(entry.path, entry.stat()))
    return states


def _state(path: str, status: os.stat_result) -> FileState:
    changed = status.st_mtime_ns
    if path.endswith((".db", ".vscdb")):
        with suppress(OSError):
            changed = max(changed, Path(f"{path}-wal").stat().st_mtime_ns)
    return FileState(path, status.st_size, changed)


def open_file(path: Path) -> BinaryIO:
    """Open a file for import.

    Raises:
        FormatError: the file cannot be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", location=str(path)) from error


def size_of(stream: BinaryIO) -> int | None:
    """Return the current size of a regular file in bytes; None for anything else."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_size else None


class _SourceReader(io.RawIOBase):
    """Raw reader over a source, for decompressors."""

    def __init__(self, source: ByteSource) -> None:
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


def as_file(source: ByteSource) -> BinaryIO:
    """Return a source as a buffered, forward-only file."""
    return cast("BinaryIO", io.BufferedReader(_SourceReader(source)))


def _decompress_zstd(source: ByteSource) -> ByteSource:
    # Built in since Python 3.14; the backport is the same code.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    file = zstd.ZstdFile(as_file(source))
    errors = (EOFError, zstd.ZstdError)
    return _decompress(file, source, source.name.removesuffix(".zst"), errors)


def _decompress(
    file: Any, packed: ByteSource, name: str, errors: tuple[type[Exception], ...]
) -> ByteSource:
    """Return a decompressed source that raises for a decompression bomb."""
    read, size = file.read1, 0

    def read1(selected: int) -> bytes:
        nonlocal size
        data: bytes = read(selected)
        size += len(data)
        if size > MAX_MEMBER_BYTES and size > MAX_MEMBER_RATIO * packed.consumed:
            raise FormatError(_bomb_message(size / max(1, packed.consumed)), location=name)
        return data

    file.read1 = read1
    return ByteSource(cast("BinaryIO", file), name, errors=errors)


def _bomb_message(ratio: float) -> str:
    return f"would expand to {ratio:.0f} times its size; decompress it first if you trust it"


@contextmanager
def _seekable(source: ByteSource) -> Iterator[BinaryIO]:
    """Open a zip archive as a seekable file: the file itself, or an unnamed copy of a pipe."""
    with ExitStack() as stack:
        if source.path is not None:
            yield stack.enter_context(open_file(source.path))
            return
        yield stack.enter_context(source.copy())


def _members(
    file: BinaryIO, name: str, progress: Progress | None
) -> Iterator[ByteSource | Problem]:
    try:
        if (size := _directory_size(file)) > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"the central directory has {size:,} bytes")  # noqa: TRY301  # raised like the library's own errors
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        yield problem(name, f"not a readable zip archive: {error}")
        return
    with archive:
        used = 0
        selected = _selected_members(archive.infolist())
        if len(selected) > MAX_MEMBERS:
            yield problem(
                name, f"only the first {MAX_MEMBERS:,} of its {len(selected):,} files are read"
            )
        for info in selected[:MAX_MEMBERS]:
            location = f"{name}:{one_line(info.filename)}"
            if reason := _rejection(info):
                yield problem(location, reason)
                continue
            try:
                stream = archive.open(info)
            except (*_UNPACK_ERRORS, NotImplementedError, RuntimeError, OSError) as error:
                yield problem(location, f"cannot be decompressed: {error}")
                continue
            with stream:
                inner = ByteSource(
                    cast("BinaryIO", stream), location, errors=_UNPACK_ERRORS, progress=_scaled_progress(info, used, progress)
                )  # fmt: skip
                yield _decompress_zstd(inner) if info.filename.endswith(".zst") else inner
            used += info.compress_size


def _scaled_progress(
    info: zipfile.ZipInfo, before: int, progress: Progress | None
) -> Progress | None:
    """Return a callback that converts progress inside a member to progress in the archive."""
    if progress is None:
        return None
    share = info.compress_size / max(1, info.file_size)
    return lambda used: progress(before + int(used * share))


def _directory_size(file: BinaryIO) -> int:
    """Return the size of the central directory, which is read completely; 0 when it is not declared.

    https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.14 to 4.3.16
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 66_000))
    tail = file.read()
    file.seek(0)
    offset = tail.rfind(_EMPTY_ZIP)
    if offset < 0 or offset + 22 > len(tail):
        return 0
    size = int.from_bytes(tail[offset + 12 : offset + 16], "little")
    zip64_end = tail.rfind(b"PK\x06\x06")
    if 0 <= zip64_end <= len(tail) - 48:
        size = max(
            size % 0xFFFFFFFF, int.from_bytes(tail[zip64_end + 40 : zip64_end + 48], "little")
        )
    return size


def _selected_members(infos: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Select members that may contain conversations; in an account export, only those named ``conversations*``."""
    found = [
        info for info in infos if info.filename.lower().endswith(_ENDINGS) and not info.is_dir()
    ]
    conversations = [i for i in found if _stem(i).startswith("conversations")]
    return sorted(conversations or found, key=lambda info: info.filename)


def _stem(info: zipfile.ZipInfo) -> str:
    return PurePosixPath(info.filename.replace("\\", "/")).name.lower()


def _rejection(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "encrypted; extract the archive with its password first"
    is_link = stat.S_ISLNK(info.external_attr >> 16)
    if is_link:
        return "symbolic link; skipped"
    ratio = info.file_size / max(1, info.compress_size)
    if info.file_size > MAX_MEMBER_BYTES and ratio > MAX_MEMBER_RATIO:
        return _bomb_message(ratio)
    return ""
