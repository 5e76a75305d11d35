"""The header of a SQLite file, read without SQLite and without harming this process's open connections.

POSIX removes all locks that a process has on a file when it closes any descriptor of it
(https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
Another process would then believe it is the last one and remove the WAL. So the header of a connected file is read
through a descriptor that stays open as long as the connection.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable

from omniagent_cli.errors import NotOurStore, StoreCorrupt, StoreUnavailable, StoreUnreachable
from omniagent_cli.fork_safety import call_in_child, keep_forever

APPLICATION_ID = 0x6F6D6E69
"""``omni`` in ASCII, at offset 68 of the file: https://www.sqlite.org/fileformat2.html#application_id"""

_MAGIC = b"SQLite format 3\x00"
_HEAD_BYTES = 100
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)

File = tuple[int, int]
"""Device and inode."""

_guard = threading.RLock()
_connected: dict[File, int] = {}
_open: dict[File, int] = {}
_inherited: set[File] = set()


class WatchedConnection(sqlite3.Connection):
    """A counted connection, so that `inspect` knows which files are open; created by `watched`.

    Attributes:
        file: the file, until it is closed.
        exclusive: it locks out all other processes, so it must be closed after each transaction.
    """

    file: File | None = None
    exclusive = False

    def close(self) -> None:
        """Close it, and the descriptor that reads the header of its file."""
        super().close()
        file, self.file = self.file, None
        if file is not None:
            _disconnected(file)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Close a connection that was dropped; at exit, modules may be gone already."""
        if not is_finalizing():
            self.close()


def watched(path: str, connect: Callable[[], WatchedConnection]) -> WatchedConnection:
    """Return the connection that `connect` opens to a file, counted before it takes any lock.

    Raises:
        StoreUnavailable: the file was connected when C code forked this process.
    """
    with _guard:
        status = os.stat(path)  # noqa: PTH116  # this runs at every start
        file = (status.st_dev, status.st_ino)
        if file in _inherited:
            raise StoreUnavailable(
                f"the store {path} was in use when this process was forked without Python's fork hooks, and SQLite"
                " cannot lock it here; open it only after the fork (uWSGI: lazy-apps = true)"
            )
        _connected[file] = _connected.get(file, 0) + 1
    try:
        connection = connect()
    except BaseException:
        _disconnected(file)
        raise
    connection.file = file
    return connection


def is_connected(path: str) -> bool:
    """Return True if this process has a connection to the file."""
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


def leave_to_parent(connection: WatchedConnection) -> None:
    """Drop a connection that came into this child by a fork; its file cannot be used here (see `watched`)."""
    keep_forever(connection)
    if connection.file is not None:
        _inherited.add(connection.file)


def _after_fork() -> None:
    """Reset the state in a child process, which has none of its parent's locks on these files."""
    global _guard  # noqa: PLW0603  # another thread of the parent may have held it
    _guard = threading.RLock()
    for descriptor in _open.values():
        os.close(descriptor)
    _connected.clear()
    _open.clear()


call_in_child(_after_fork)


def _read(path: str) -> bytes:
    with _guard:
        status = os.stat(path)  # noqa: PTH116  # this runs at every start
        file = (status.st_dev, status.st_ino)
        descriptor = _open.get(file)
        if descriptor is None:
            descriptor = os.open(path, _FLAGS)
        try:
            own = os.fstat(descriptor)
            file = (own.st_dev, own.st_ino)  # the file may have been replaced
            if not (stat.S_ISREG(own.st_mode) or stat.S_ISDIR(own.st_mode)):
                raise StoreUnreachable(f"{path} is not a regular file")
            os.lseek(descriptor, 0, os.SEEK_SET)
            return os.read(descriptor, _HEAD_BYTES)
        finally:
            if file in _connected:
                _open[file] = descriptor
            else:
                os.close(descriptor)


def inspect(path: str) -> tuple[bool, bool]:
    """Read the header of a file before SQLite does, and return (it is a store, it is in WAL mode).

    Raises:
        NotOurStore: it is another file.
        StoreCorrupt: it is a truncated SQLite file.
        StoreUnreachable: it is a directory or cannot be read.
    """
    try:
        head = _read(path)
    except FileNotFoundError:
        return False, False
    except IsADirectoryError as error:
        raise StoreUnreachable(
            f"{path} is a directory, but a SQLite store is a file; use file://{path} for a JSON-file store"
        ) from error
    except OSError as error:
        raise StoreUnreachable(f"the store {path} cannot be read: {error.strerror}") from error
    if not head:
        return False, False
    if len(head) < _HEAD_BYTES and head.startswith(_MAGIC):
        raise StoreCorrupt(f"{path} was truncated to {len(head)} bytes; restore a backup")
    if not head.startswith(_MAGIC):
        raise NotOurStore(
            f"{path} is not an omniagent store or SQLite database; it was not changed"
        )
    if int.from_bytes(head[68:72], "big") != APPLICATION_ID:
        raise NotOurStore(f"{path} is a SQLite database of another program; it was not changed")
    return True, head[18] == 2
