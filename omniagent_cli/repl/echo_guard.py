"""Echo control: disable terminal echo while an answer streams; keep type-ahead for the next prompt."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from omniagent_cli.ui.terminal import Terminal

_INPUT, _LOCAL, _SPECIAL = 0, 3, 6
"""Indexes into the result of `termios.tcgetattr`."""


try:
    import termios
except ImportError:  # no termios on this system
    GONE: tuple[type[Exception], ...] = (OSError,)
else:
    GONE = (OSError, termios.error)
"""Errors raised by a terminal that was closed."""


class EchoGuard:
    """Context manager that hides typed keys between prompts and keeps them for the next one; Ctrl-C still interrupts.

    Prompts inside it set their own modes and restore these. Without a terminal it does nothing.
    """

    def __init__(self, stdin: TextIO) -> None:
        self._stdin = stdin
        self._before: list[Any] | None = None
        self._silent: list[Any] = []

    def __enter__(self) -> Self:
        with suppress(*GONE, ValueError, AttributeError, NameError):
            self._before = termios.tcgetattr(self._stdin.fileno())
            self._silent = _silenced(self._before)
            self._set(self._silent)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            self._set(self._before)

    def _set(self, attributes: list[Any]) -> None:
        with suppress(*GONE):
            termios.tcsetattr(self._stdin.fileno(), termios.TCSANOW, attributes)

    @contextmanager
    def suspendable(
        self, aside: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Iterator[None]:
        """Restore the terminal while the process is suspended by Ctrl-Z; prompts do so themselves.

        Args:
            aside: entered during the suspension; stops live output, so that the shell is not overwritten.
        """
        if self._before is None:
            yield
            return
        loop, before = asyncio.get_running_loop(), self._before

        def suspend() -> None:
            with aside():
                self._set(before)
                loop.remove_signal_handler(signal.SIGTSTP)
                os.kill(
                    os.getpid(), signal.SIGTSTP
                )  # an orphaned process group could not be resumed
                loop.add_signal_handler(signal.SIGTSTP, suspend)
                self._set(self._silent)

        handled(loop, signal.SIGTSTP, suspend)
        try:
            yield
        finally:
            with suppress(NotImplementedError, ValueError):
                loop.remove_signal_handler(signal.SIGTSTP)


def _silenced(attributes: list[Any]) -> list[Any]:
    silent = [*attributes[:_SPECIAL], [*attributes[_SPECIAL]]]
    silent[_INPUT] &= ~termios.ICRNL
    silent[_LOCAL] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    silent[_LOCAL] |= termios.ISIG | termios.NOFLSH
    silent[_SPECIAL][termios.VMIN], silent[_SPECIAL][termios.VTIME] = 1, 0
    return silent


def handled(loop: asyncio.AbstractEventLoop, number: int, act: Callable[[], object]) -> None:
    """Install a signal handler, where this system and this thread support it."""
    with suppress(NotImplementedError, ValueError, RuntimeError):
        loop.add_signal_handler(number, act)


def discard_output(terminal: Terminal) -> None:
    """Discard further output to a closed terminal, so that storing is not disturbed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (terminal.stdout, terminal.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
