"""Fork safety of stores, event loops and worker threads: callbacks before `os.fork` and in the child.

A child has copies of all locks, but only the thread that forked: a lock that another thread held is never released
there, and sockets, event loops and worker threads still belong to the parent. So each open object is registered here.
Before a fork, the objects with state that must not be copied halfway are locked and flushed; in the child every
object replaces its locks and drops what it inherited, and opens its own on first use.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from itertools import count
from typing import Protocol

_LOCK_SECONDS = 0.1
"""Longest wait for one lock while others are held; then all are released, because another thread may need them."""


class Lock(Protocol):
    """The methods of ``threading.RLock`` that are used here."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...  # noqa: FBT001, FBT002, D102  # as in threading

    def release(self) -> None: ...  # noqa: D102


class ForkAware:
    """Base of objects that are affected by a fork; each calls `register` once it is initialized."""

    def fork_lock(self) -> Lock | None:
        """Return the reentrant lock to hold during a fork; None: nothing of the object can be copied halfway."""
        return None

    def before_fork(self) -> None:
        """Close what must not be open in two processes; the lock is held, and this must not raise."""

    def after_fork_in_child(self) -> None:
        """Replace locks and drop what belongs to the parent, without closing or finalizing it (see `keep_forever`)."""


_lock = threading.RLock()
_numbers = count()
_objects: weakref.WeakValueDictionary[int, ForkAware] = weakref.WeakValueDictionary()
_callbacks: list[Callable[[], None]] = []
_held: list[Lock] = []


def register(aware: ForkAware) -> None:
    """Call the methods of an object at each fork, as long as it exists."""
    with _lock:
        _objects[next(_numbers)] = aware


def call_in_child(callback: Callable[[], None]) -> None:
    """Call a function in each child, for the state of a module."""
    _callbacks.append(callback)


def keep_forever(*inherited: object) -> None:
    """Leak objects of the parent, so that not even the exit of the interpreter finalizes them.

    A finalizer would close a connection or an event loop that the parent still uses: a server is sent the end of the
    session, an epoll set loses its entries, and a pool waits for threads that do not exist here.
    """
    import ctypes  # only needed in children

    for one in inherited:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


def _before() -> None:
    first: Lock = _lock
    while (busy := _hold_all(first)) is not None:
        first = busy
    for aware in list(_objects.values()):
        aware.before_fork()


def _hold_all(first: Lock) -> Lock | None:
    """Hold all locks; if one is not free in time, release them and return it.

    Only the first is waited for without limit, while no other is held, so that no order of locks elsewhere can
    deadlock with this.
    """
    first.acquire()
    taken = [first]
    for lock in _locks():
        if lock is first:
            continue
        if not lock.acquire(timeout=_LOCK_SECONDS):
            _release(taken)
            return lock
        taken.append(lock)
    _held[:] = taken
    return None


def _locks() -> Iterator[Lock]:
    yield _lock  # first, so that no object is added afterwards
    for aware in list(_objects.values()):
        if (lock := aware.fork_lock()) is not None:
            yield lock


def _release(locks: list[Lock]) -> None:
    while locks:
        locks.pop().release()


def _after_in_parent() -> None:
    taken = _held.copy()
    _held.clear()
    _release(taken)


def _after_in_child() -> None:
    global _lock  # noqa: PLW0603  # the parent's lock may have threads waiting for it, which are not here
    _lock = threading.RLock()
    _held.clear()
    for aware in list(_objects.values()):
        aware.after_fork_in_child()
    for callback in _callbacks:
        callback()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
