"""The terminal while an answer streams: what is typed is not shown into it, and answers the next prompt."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Self, TextIO

_INPUT, _LOCAL, _SPECIAL = 0, 3, 6
"""Places in what `termios.tcgetattr` returns."""


try:
    import termios
except ImportError:  # no such terminals on this system
    GONE: tuple[type[Exception], ...] = (OSError,)
else:
    GONE = (OSError, termios.error)
"""What a terminal that is gone raises."""


class Quiet:
    """Keeps typed keys unseen and as they are between prompts; Ctrl-C still interrupts, and drops none of them.

    A context manager; prompts inside it set the modes they need and put these back. Without a terminal it does nothing.
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

    def forget_typed(self) -> None:
        """Drop what was typed and not read yet."""
        with suppress(*GONE, ValueError, AttributeError, NameError):
            termios.tcflush(self._stdin.fileno(), termios.TCIFLUSH)

    @contextmanager
    def suspendable(
        self, aside: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Iterator[None]:
        """Give the terminal back as it was while Ctrl-Z has stopped us; prompts do so themselves.

        Args:
            aside: entered meanwhile; takes away what moves, so that the shell's words are not painted over.
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
                )  # a process nobody could wake again is not stopped
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
    """Act on a signal, where this system and this thread can."""
    with suppress(NotImplementedError, ValueError, RuntimeError):
        loop.add_signal_handler(number, act)
