"""An event loop in a thread of its own, which lets synchronous functions use the asynchronous agent."""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from omniagent_cli.errors import AgentError
from omniagent_cli.fork_safety import ForkAware, keep_forever, register

T = TypeVar("T")

_CLOSE_TIMEOUT_SECONDS = 5.0


_AT_EXIT = "the agent cannot run, because Python is shutting down; run it before the program ends"


@contextmanager
def refuse_at_exit() -> Iterator[None]:
    """Raise `AgentError` for the `RuntimeError` of Python when it starts no more threads, after the main one ended."""
    try:
        yield
    except RuntimeError as error:
        if threading.main_thread().is_alive():
            raise
        raise AgentError(_AT_EXIT) from error


class LoopThread(ForkAware):
    """Runs coroutines for synchronous callers; the thread starts with the first coroutine.

    It ends when this object is closed or garbage-collected. A forked child starts one of its own.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._finalizer: weakref.finalize[[asyncio.AbstractEventLoop], LoopThread] | None = None
        register(self)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return its result; Ctrl-C cancels it, waits for its cleanup and is re-raised."""
        future = self.submit(work)
        try:
            return future.result()
        except CancelledError as error:
            raise AgentError("the agent was closed while the call was running") from error
        except BaseException:
            if not future.done():
                future.cancel()
                self._wait_for_cleanup()
            raise

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Schedule a coroutine and return the future of its result."""
        try:
            loop = self._started()
        except AgentError:
            work.close()
            raise
        return asyncio.run_coroutine_threadsafe(work, loop)

    def iterate(self, events: AsyncIterator[T]) -> Iterator[T]:
        """Yield the items of an asynchronous iterator."""
        end = object()
        closing = events.__aiter__()
        try:
            while True:
                event = self.run(_next_or(closing, end))
                if event is end:
                    return
                yield event  # type: ignore[misc]  # everything except the sentinel is a T
        finally:
            close = getattr(closing, "aclose", None)
            if close is not None and not _exiting.is_set():
                self.run(close())

    def _wait_for_cleanup(self) -> None:
        """Wait until the cancelled tasks have finished their cleanup."""
        asyncio.run_coroutine_threadsafe(_other_tasks(), self._started()).result(timeout=10)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                if _exiting.is_set():
                    raise AgentError(_AT_EXIT)
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="omniagent", daemon=True
                )
                with refuse_at_exit():
                    self._thread.start()
                self._finalizer = weakref.finalize(self, _retire, self._loop)
                self._finalizer.atexit = False  # `_close_running` does more
                _running.add(self)
            return self._loop

    def close(self) -> None:
        """Cancel all tasks and stop the thread.

        A thread that is blocked in a user's function is abandoned until the program exits.
        """
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        self._forget()
        if loop is not None and thread is not None:
            # Tasks that ignore their cancellation are abandoned; a report of them would be useless at exit.
            loop.set_exception_handler(lambda _loop, _context: None)
            ending = asyncio.run_coroutine_threadsafe(_other_tasks(cancel=True), loop)
            with suppress(TimeoutError):
                ending.result(_CLOSE_TIMEOUT_SECONDS + 1)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_CLOSE_TIMEOUT_SECONDS if ending.done() else 0)

    def _forget(self) -> None:
        _running.discard(self)
        if self._finalizer is not None:
            self._finalizer.detach()

    def after_fork_in_child(self) -> None:
        """Leave the loop to the parent: closing the copy would change the epoll set that both share."""
        if self._loop is not None:
            keep_forever(self._loop)
        self._forget()
        self._loop, self._thread, self._lock = None, None, threading.Lock()


_running: weakref.WeakSet[LoopThread] = weakref.WeakSet()
_exiting = threading.Event()
"""Set when the interpreter exits: an iterator collected after that must not start a loop again."""


@atexit.register
def _close_running() -> None:
    """Close loops that the host program left open: finalizing the interpreter under a running thread can crash it."""
    _exiting.set()
    for loop_thread in list(_running):
        loop_thread.close()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped; `SystemExit` and `KeyboardInterrupt` end only the task that raised them."""
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue  # the loop re-raises these; without this its other tasks would never resume
        loop.close()
        return


def _retire(loop: asyncio.AbstractEventLoop) -> None:
    """Stop the loop of an object that was garbage-collected."""
    asyncio.run_coroutine_threadsafe(_wind_down(loop), loop)


async def _wind_down(loop: asyncio.AbstractEventLoop) -> None:
    await _other_tasks()
    await _other_tasks(cancel=True)
    loop.stop()


async def _other_tasks(*, cancel: bool = False) -> None:
    """Wait a limited time until the other tasks of this loop have ended."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        if cancel:
            task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=_CLOSE_TIMEOUT_SECONDS)


async def _next_or(events: AsyncIterator[T], end: object) -> T | object:
    return await anext(events, end)
