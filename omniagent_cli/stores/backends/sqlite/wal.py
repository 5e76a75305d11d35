"""Check of a WAL left by a crash: SQLite would treat damage in its middle as its end.

SQLite reads a WAL up to the first frame with a wrong checksum, because a crash leaves such frames at the end, and drops
the rest silently. Frames are written one after another, so if frames follow the end of a transaction, that transaction
was complete and was damaged later. A killed process also leaves the number of written frames in the shared memory file.
File format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from struct import Struct, unpack
from typing import BinaryIO, NamedTuple

from omniagent_cli.errors import StoreCorrupt
from omniagent_cli.stores.backends.sqlite.file_header import is_connected
from omniagent_cli.stores.disk_errors import write_error

DAMAGED = "-wal.damaged-"
"""Part between the name of a store and a time in the name of a copy of its damaged WAL."""

_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_HEADER_BYTES = 32
_FRAME = Struct(">II8s")
"""Page, size of the file in pages when a transaction ends here, and salts; a checksum follows, and the page."""
_FRAME_BYTES = 24
_FLOCK = Struct("hhqqi4x")
"""``struct flock`` on Linux."""
_USERS_BYTE = 128
"""Locked by everyone who uses a WAL, in its shared memory: https://www.sqlite.org/walformat.html#wal_locks"""

_CHECKPOINT_SECONDS = 5.0
"""Time to wait for the end of a checkpoint of another process."""


class WalRemainder(NamedTuple):
    """The frames of a WAL.

    Attributes:
        salts: value that distinguishes its frames from older ones further back in the file.
        ends: numbers of the frames that end a transaction, from 1.
        last: number of the last frame.
        known: number of the last written frame in the shared memory; 0 if unknown.
    """

    salts: bytes
    ends: list[int]
    last: int
    known: int


def read_leftover_wal(path: str) -> WalRemainder | None:
    """Read the WAL of a store that no process has open; None if there is no WAL, or the store is open."""
    try:
        with open(path + "-wal", "rb", buffering=0) as file:  # noqa: PTH123  # this runs at every start
            if is_connected(path) or (memory := _memory(path + "-shm")) is None:
                return None
            return _read(file, memory)
    except OSError:
        return None  # it was removed just now, or SQLite will report that it cannot be read


def _memory(shm: str) -> bytes | None:
    """Return the shared memory file if no process uses it; None if one does, or this cannot be determined."""
    if not sys.platform.startswith("linux"):
        return None
    import fcntl

    try:
        with open(shm, "rb") as file:  # noqa: PTH123
            wish = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _USERS_BYTE, 1, 0)
            found = fcntl.fcntl(file, fcntl.F_GETLK, wish)
            return file.read(100) if _FLOCK.unpack(found)[0] == fcntl.F_UNLCK else None
    except FileNotFoundError:
        return b""


def _last_frame(memory: bytes, salts: bytes) -> int:
    """Return the last frame of a WAL with these salts (empty: any) that was written and not checkpointed."""
    if len(memory) < 100 or memory[:48] != memory[48:96] or salts not in (b"", memory[32:40]):
        return 0
    written, moved = unpack("=I", memory[16:20])[0], unpack("=I", memory[96:100])[0]
    return int(written) if written > moved else 0


def _read(file: BinaryIO, memory: bytes) -> WalRemainder:
    header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return WalRemainder(b"", [], 0, _last_frame(memory, b""))
    size = int.from_bytes(header[8:12], "big")
    if size not in (1 << power for power in range(9, 17)):
        size = 4096  # it was changed, and this is what we never change
    salts = header[16:24]
    ends: list[int] = []
    last = 0
    whole = _is_whole(header)
    end = os.fstat(file.fileno()).st_size
    frames = range(_HEADER_BYTES, end - _FRAME_BYTES - size + 1, _FRAME_BYTES + size)
    for number, offset in enumerate(frames, 1):
        _, pages, own = _FRAME.unpack(os.pread(file.fileno(), _FRAME.size, offset))
        if number == 1 and not whole:
            salts = own
        if own == salts:
            last = number
            if pages:
                ends.append(number)
    return WalRemainder(salts, ends, last, _last_frame(memory, salts if whole else b""))


def _is_whole(header: bytes) -> bool:
    """Return True if the checksum of a WAL's header is right."""
    if header[:4] not in _MAGIC:
        return False
    order = ">" if header[3] & 1 else "<"
    one = two = 0
    words = unpack(f"{order}6I", header[:24])
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return (one, two) == unpack(">II", header[24:32])


def check_recovered(connection: sqlite3.Connection, path: str, left: WalRemainder) -> None:
    """Compare the transactions that SQLite recovered from a WAL with those in it.

    Raises:
        StoreCorrupt: some could not be read; a copy of the WAL was made.
    """
    try:
        taken = _recovered_frames(connection)
    except sqlite3.OperationalError:
        return  # the disk is full: the WAL is unchanged and is checked again at the next start
    if taken is None:
        return  # others use the store, and have checked it when they opened it
    lost = [number for number in left.ends if number > taken]
    if left.known <= taken and (not lost or left.last == lost[0]):
        return  # at most what a crash leaves: the last transaction was not finished
    copy = f"{path}{DAMAGED}{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        with open(path + "-wal", "rb") as file:  # noqa: PTH123
            if _read(file, b"").salts != left.salts:
                return  # another process has started a new one
            file.seek(0)
            _keep(file, copy)
    except FileNotFoundError:
        return
    except OSError as error:
        raise write_error(copy, error) from error
    raise StoreCorrupt(
        f"the last changes of {path} cannot be read, because its WAL is damaged; earlier changes are intact, and"
        f" {copy} is a copy of the WAL. Try again to continue without the last changes"
    )


def _recovered_frames(connection: sqlite3.Connection) -> int | None:
    """Return the number of frames that SQLite took from the WAL; None if another process is checkpointing for long."""
    deadline = time.monotonic() + _CHECKPOINT_SECONDS
    while True:
        _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if frames >= 0:  # -1: another process is checkpointing
            return int(frames)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.001)


def _keep(file: BinaryIO, copy: str) -> None:
    descriptor = os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        if os.name == "posix":
            os.fchmod(descriptor, 0o600)
        shutil.copyfileobj(file, target, 1 << 20)
        target.flush()
        os.fsync(descriptor)
