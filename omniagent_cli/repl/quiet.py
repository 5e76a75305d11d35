"""The terminal while an answer streams: what is typed is not shown into it, and answers the next prompt."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import asyncio

_INPUT, _LOCAL, _SPECIAL = 0, 3, 6
"""Places in what `termios.tcgetattr` returns."""


@contextmanager
def quiet(stdin: TextIO) -> Iterator[None]:
    """Keep typed keys unseen and as they are, for the next prompt; Ctrl-C still interrupts, and drops none of them."""
    try:
        import termios
    except ImportError:  # no such terminals on this system
        yield
        return
    try:
        descriptor = stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, AttributeError, termios.error):  # no terminal
        yield
        return
    silent = _silenced(before, termios)
    with _suspending(
        lambda: termios.tcsetattr(descriptor, termios.TCSANOW, before),
        lambda: termios.tcsetattr(descriptor, termios.TCSANOW, silent),
    ):
        termios.tcsetattr(descriptor, termios.TCSANOW, silent)
        try:
            yield
        finally:
            with suppress(termios.error):  # the terminal may be gone
                termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _silenced(attributes: list[Any], termios: Any) -> list[Any]:
    silent = [*attributes[:_SPECIAL], [*attributes[_SPECIAL]]]
    silent[_INPUT] &= ~termios.ICRNL
    silent[_LOCAL] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    silent[_LOCAL] |= termios.ISIG | termios.NOFLSH
    silent[_SPECIAL][termios.VMIN], silent[_SPECIAL][termios.VTIME] = 1, 0
    return silent


@contextmanager
def _suspending(leave: Callable[[], None], come_back: Callable[[], None]) -> Iterator[None]:
    """Give the terminal back as it was while Ctrl-Z has stopped us."""
    import asyncio

    loop = asyncio.get_running_loop()

    def suspend() -> None:
        leave()
        loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)  # a process nobody could wake again is not stopped
        loop.add_signal_handler(signal.SIGTSTP, suspend)
        come_back()

    handled(loop, signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        with suppress(NotImplementedError, ValueError):
            loop.remove_signal_handler(signal.SIGTSTP)


def handled(loop: asyncio.AbstractEventLoop, number: int, act: Callable[[], object]) -> None:
    """Act on a signal, where this system and this thread can."""
    with suppress(NotImplementedError, ValueError, RuntimeError):
        loop.add_signal_handler(number, act)
