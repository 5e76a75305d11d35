"""The first bytes of a SQLite file, looked at without SQLite and without harm to what this process has open.

POSIX takes away all locks that a process has on a file when it closes any descriptor of it
(https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
Another process would then think itself the last, and remove the WAL from under us. So a file that is connected here
is looked at through a descriptor that stays open as long as the connection.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable

from omniagent_cli.errors import NotOurStore, StoreCorrupt, StoreUnreachable

APPLICATION_ID = 0x6F6D6E69
"""``omni`` in ASCII, at offset 68 of the file: https://www.sqlite.org/fileformat2.html#application_id"""

_MAGIC = b"SQLite format 3\x00"
_HEAD_BYTES = 100
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)

File = tuple[int, int]
"""Device and inode."""

_guard = threading.Lock()
_connected: dict[File, int] = {}
_open: dict[File, int] = {}


class WatchedConnection(sqlite3.Connection):
    """A connection that is counted, so that `inspect` knows which files are open here; made by `watched`."""

    file: File | None = None

    def close(self) -> None:
        """Close it, and what was opened to look at its file."""
        super().close()
        file, self.file = self.file, None
        if file is not None:
            _disconnected(file)


def watched(path: str, connect: Callable[[], WatchedConnection]) -> WatchedConnection:
    """Return the connection that `connect` makes to the file at a path, noted before it takes any lock."""
    with _guard:
        status = os.stat(path)  # noqa: PTH116  # this runs at every start
        file = (status.st_dev, status.st_ino)
        _connected[file] = _connected.get(file, 0) + 1
    try:
        connection = connect()
    except BaseException:
        _disconnected(file)
        raise
    connection.file = file
    return connection


def is_connected(path: str) -> bool:
    """Tell whether this process has the file at a path open."""
    with _guard:
        status = os.stat(path)  # noqa: PTH116  # this runs at every start
        return (status.st_dev, status.st_ino) in _connected


def _disconnected(file: File) -> None:
    with _guard:
        left = _connected.get(file, 0) - 1
        if left > 0:
            _connected[file] = left
            return
        _connected.pop(file, None)
        if (descriptor := _open.pop(file, None)) is not None:
            os.close(descriptor)


def _after_fork() -> None:
    """Begin anew in a child: it has none of its parent's locks, and a thread may have held the guard."""
    global _guard  # noqa: PLW0603  # a lock cannot be told that its owner is gone
    _guard = threading.Lock()
    for descriptor in _open.values():
        os.close(descriptor)
    _connected.clear()
    _open.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def _read(path: str) -> bytes:
    with _guard:
        status = os.stat(path)  # noqa: PTH116  # this runs at every start
        file = (status.st_dev, status.st_ino)
        descriptor = _open.get(file)
        if descriptor is None:
            descriptor = os.open(path, _FLAGS)
        try:
            own = os.fstat(descriptor)
            file = (own.st_dev, own.st_ino)  # it may have been replaced just now
            if not (stat.S_ISREG(own.st_mode) or stat.S_ISDIR(own.st_mode)):
                raise StoreUnreachable(f"{path} is not a file; a SQLite store is one")
            os.lseek(descriptor, 0, os.SEEK_SET)
            return os.read(descriptor, _HEAD_BYTES)
        finally:
            if file in _connected:
                _open[file] = descriptor
            else:
                os.close(descriptor)


def inspect(path: str) -> tuple[bool, bool]:
    """Look at a file before SQLite does: (does it hold a store, is it in WAL mode).

    Raises:
        NotOurStore: it is something else.
        StoreCorrupt: it is a SQLite file that was cut short.
        StoreUnreachable: it is a directory or cannot be read.
    """
    try:
        head = _read(path)
    except FileNotFoundError:
        return False, False
    except IsADirectoryError as error:
        raise StoreUnreachable(
            f"{path} is a directory, and a SQLite store is a file; for a JSON-file store write file://{path}"
        ) from error
    except OSError as error:
        raise StoreUnreachable(f"the store {path} cannot be read: {error.strerror}") from error
    if not head:
        return False, False
    if len(head) < _HEAD_BYTES and head.startswith(_MAGIC):
        raise StoreCorrupt(f"{path} was cut short to {len(head)} bytes; put a backup in its place")
    if not head.startswith(_MAGIC):
        raise NotOurStore(
            f"{path} is not an omniagent store, nor any SQLite database; it was left alone"
        )
    if int.from_bytes(head[68:72], "big") != APPLICATION_ID:
        raise NotOurStore(f"{path} is a SQLite database of another program; it was left alone")
    return True, head[18] == 2
