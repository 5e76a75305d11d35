"""Executor with one worker thread, which a forked child starts again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from omniagent_cli.fork_safety import ForkAware, register

P = ParamSpec("P")
T = TypeVar("T")


class SerialExecutor(ForkAware, Executor):
    """Runs calls in one thread, in order; calls that were pending at a fork run only in the parent.

    Args:
        name: prefix of the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._shut_down = False
        register(self)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call in the worker thread and return its future.

        In exit handlers, where Python starts no calls in other threads, it runs here.
        """
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except RuntimeError:
            if self._shut_down:
                raise
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  # the future raises it
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, **options: Any) -> None:  # noqa: FBT001, FBT002  # as in Executor
        """End the worker thread after the pending calls."""
        self._shut_down = True
        self._pool.shutdown(wait, **options)

    def after_fork_in_child(self) -> None:
        """Replace the pool, whose thread only the parent has."""
        if not self._shut_down:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix=self._name)
