"""Disk access of the JSON-file store: private files, complete writes, and the lock.

The lock is a separate file that is never replaced. A writer holds it exclusively; a reader of many files may share it.
Readers of a single session need none, because lines before the last header line of a log are never changed in place.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from omniagent_cli.errors import StoreLocked
from omniagent_cli.fork_safety import ForkAware, Lock, register

WAIT_SECONDS = 15.0
"""Total wait for other processes."""

_BINARY = getattr(os, "O_BINARY", 0)


def open_private(path: Path, flags: int) -> int:
    """Open a file for writing, created with mode 0600 whatever the umask, and return its descriptor."""
    descriptor = os.open(path, flags | os.O_CREAT | _BINARY, 0o600)
    if os.name == "posix" and os.fstat(descriptor).st_mode & 0o777 != 0o600:
        with contextlib.suppress(
            PermissionError
        ):  # created by another account that shares the store
            os.fchmod(descriptor, 0o600)
    return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes; a full disk writes a part of them and fails at the next call."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def append_at(path: Path, size: int, data: bytes, *, durable: bool) -> None:
    """Append to a file of this size; if that fails, the file is truncated to it again."""
    descriptor = os.open(path, os.O_WRONLY | _BINARY)
    try:
        os.lseek(descriptor, size, os.SEEK_SET)
        try:
            write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
        except BaseException:
            # A partial append must not remain, even after Ctrl-C.
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(
    path: Path, *, shared: bool = False, wait_seconds: float = WAIT_SECONDS
) -> Iterator[None]:
    """Hold the lock file, waiting in slices so that Ctrl-C is handled.

    It is opened each time, because the directory may be replaced, and because a lock belongs to the open file, which
    a forked child shares (flock(2)).

    Raises:
        StoreLocked: other processes held it for longer than `wait_seconds`.
    """
    deadline = time.monotonic() + wait_seconds
    pause = 0.0002
    while True:
        with _guard:
            descriptor = open_private(path, os.O_RDWR)
            _lock_descriptors.add(descriptor)
        try:
            while not _try_lock(descriptor, shared=shared):
                if time.monotonic() > deadline:
                    raise StoreLocked(
                        f"the store {path.parent.parent} is in use by another process; try again later"
                    )
                time.sleep(pause * (0.5 + random.random()))  # noqa: S311  # waiters must not march in step
                pause = min(pause * 1.5, 0.01)
            if _is_at(descriptor, path):
                yield
                return
        finally:
            _unlock(descriptor)
            with _guard:
                _lock_descriptors.discard(descriptor)
                os.close(descriptor)


class _LockDescriptors(ForkAware, set[int]):
    """Descriptors of lock files that this process has open.

    A child's copies would keep the lock of a parent that was killed, so the child replaces them.
    """

    def fork_lock(self) -> Lock:
        """Return the lock: each open descriptor must be known."""
        return _guard

    def after_fork_in_child(self) -> None:
        """Let the inherited descriptors refer to another file; closing them would allow their numbers to be reused."""
        global _guard  # noqa: PLW0603  # the parent's lock may have threads waiting for it
        _guard = threading.RLock()
        for descriptor in self:
            with open(os.devnull, "rb") as nothing:  # noqa: PTH123  # a descriptor is what dup2 takes
                os.dup2(nothing.fileno(), descriptor, inheritable=False)
        self.clear()


_guard = threading.RLock()
_lock_descriptors = _LockDescriptors()
register(_lock_descriptors)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there, own = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _try_lock(descriptor: int, *, shared: bool) -> bool:
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        with contextlib.suppress(OSError):
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        # Closing is not enough: a forked child has a copy of the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
