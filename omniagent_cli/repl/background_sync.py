"""Synchronization with the store of ``sync.auto``, in a thread of its own, when a chat begins and after each turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from omniagent_cli.errors import OmniAgentError
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from omniagent_cli.stores.sync.driver import SyncReport
    from omniagent_cli.ui.terminal import Terminal

_FINISH_SECONDS = 10.0
"""Time that the end of a chat waits for the last synchronization; the next one continues it."""


class BackgroundSync:
    """The synchronizations of one chat, one at a time; nothing waits for them but the end of the chat.

    Args:
        sync: synchronizes with a store; None if nothing is kept.
        other: the other store; None: there is nothing to do.
        terminal: for failures.
    """

    def __init__(
        self, sync: Callable[..., SyncReport] | None, other: str | None, terminal: Terminal
    ) -> None:
        self._sync = sync
        self._other = other
        self._terminal = terminal
        self._wanted = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        self._ended: Callable[[], None] = lambda: None
        self._trouble = ""
        self._reported = ""

    def start(self) -> None:
        """Synchronize soon, if a store is set; one that is running is followed by another."""
        if self._other is None or self._sync is None:
            return
        with self._lock:
            self._wanted.set()
            if self._idle.is_set():
                self._idle.clear()
                # A daemon: what it has not written when the process ends, the next synchronization does.
                threading.Thread(target=self._run, daemon=True, name="sync").start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._wanted.is_set():
                    self._idle.set()
                    self._ended()
                    return
                self._wanted.clear()
            self._trouble = self._synchronize()

    def _synchronize(self) -> str:
        """Synchronize, and return what prevented it."""
        assert self._sync is not None  # noqa: S101  # as `start` checked
        try:
            report = self._sync(self._other, batch=True)
        except OmniAgentError as error:
            return str(error)
        return report.refused[0][1] if report.refused else ""

    def report(self) -> None:
        """Print why the last synchronization failed, once per reason."""
        trouble = self._trouble
        if trouble and trouble != self._reported:
            name = one_line(self._other or "")
            self._terminal.warn(f"could not synchronize with {name}: {one_line(trouble)}")
        self._reported = trouble

    async def finish(self) -> None:
        """Wait for the last synchronization, but not for long, and report its failure."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            with suppress(RuntimeError):  # the chat did not wait until now
                loop.call_soon_threadsafe(ended.set)

        with self._lock:
            self._ended = end
            idle = self._idle.is_set()
        if not idle:
            self._terminal.note("Synchronizing; Ctrl-C skips it")
            with suppress(asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(ended.wait(), _FINISH_SECONDS)
        self.report()
