"""A person at a terminal: a program on a pty, its screen emulated, keys typed into it."""

from __future__ import annotations

import copy
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pyte

PASTE = "\x1b[200~{}\x1b[201~"
UP, TAB, ESCAPE = "\x1b[A", "\t", "\x1b"
ALT_ENTER, CTRL_C, CTRL_D, CTRL_R, CTRL_Z = "\x1b\r", "\x03", "\x04", "\x12", "\x1a"

PATIENCE_SECONDS = 60.0
"""Longest wait for a program on a busy machine; only a failing test takes that long."""

_ALTERNATE = 1049


class Screen(pyte.HistoryScreen):
    """A screen that answers where its cursor is, as prompts ask."""

    def __init__(self, columns: int, rows: int, reply: Callable[[str], object]) -> None:
        super().__init__(columns, rows, history=5000, ratio=0.5)
        self._reply = reply
        self._first: Any = None

    def write_process_input(self, data: str) -> None:
        self._reply(data)

    @property
    def text(self) -> str:
        """The text on the screen and scrolled off it, without blanks at the ends of lines."""
        above = [
            "".join(row[column].data for column in range(self.columns)) for row in self.history.top
        ]
        return "\n".join(line.rstrip() for line in [*above, *self.display]).rstrip()

    def set_mode(self, *modes: int, **options: Any) -> None:
        """Like a terminal, and unlike pyte, give programs that ask for it another screen, and the first one back."""
        if _ALTERNATE in modes and options.get("private") and self._first is None:
            self._first = copy.deepcopy((dict(self.buffer), self.cursor))
            self.erase_in_display(2)
        super().set_mode(*modes, **options)

    def reset_mode(self, *modes: int, **options: Any) -> None:
        if _ALTERNATE in modes and options.get("private") and self._first is not None:
            lines, self.cursor = self._first
            self._first = None
            self.buffer.clear()
            self.buffer.update(lines)
            self.dirty.update(range(self.lines))
        super().reset_mode(*modes, **options)


class TerminalProgram:
    """A program on a terminal of its own; a context manager that ends it.

    Attributes:
        raw: every byte the program has written.
        code: its exit code, once `wait` has returned; negative for the signal that ended it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        *,
        columns: int = 100,
        rows: int = 30,
        cwd: str | None = None,
    ) -> None:
        self.raw = bytearray()
        self.code: int | None = None
        self.pid, self._master = pty.fork()
        if self.pid == 0:  # pragma: no cover  # the program itself
            try:
                if cwd:
                    os.chdir(cwd)
                os.execvpe(argv[0], list(argv), dict(environ))
            finally:
                os._exit(127)
        self._open = True
        self.resize(columns, rows)
        self.screen = Screen(columns, rows, self.send)
        self._stream = pyte.ByteStream(self.screen)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def say(self, line: str) -> None:
        """Type a line and Enter."""
        self.send(line + "\r")

    @property
    def shown(self) -> str:
        """What is on the screen and was scrolled off it, without blanks at the ends of lines."""
        return self.screen.text

    @property
    def rows(self) -> list[str]:
        """The lines on the screen that are not blank."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def wait_for(self, text: str, *, count: int = 1, timeout: float = PATIENCE_SECONDS) -> str:
        """Wait until a text is shown (that many times) and return all that is shown."""
        return self.wait_until(lambda shown: shown.count(text) >= count, text, timeout=timeout)

    def wait_match(self, pattern: str, *, timeout: float = PATIENCE_SECONDS) -> str:
        """Wait until a pattern is shown and return all that is shown."""
        found = re.compile(pattern)
        return self.wait_until(
            lambda shown: found.search(shown) is not None, pattern, timeout=timeout
        )

    def wait_until(self, ok, what: str, *, timeout: float = PATIENCE_SECONDS) -> str:
        """Wait until what is shown satisfies a condition."""
        end = time.monotonic() + timeout
        while not ok(self.shown):
            if time.monotonic() > end or not self._read(0.05):
                raise AssertionError(f"{what!r} is not shown:\n{self.shown}")
        return self.shown

    def wait_prompt(self, count: int, *, timeout: float = PATIENCE_SECONDS) -> str:
        """Wait until the prompt stands empty at the end for the next line, after that many prompts before."""
        return self.wait_until(
            lambda shown: len(re.findall(r"(?m)^you>", shown)) >= count, "you>", timeout=timeout
        )

    def wait(self, *, timeout: float = PATIENCE_SECONDS) -> int:
        """Wait for the end of the program and return its exit code."""
        end = time.monotonic() + timeout
        while self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise AssertionError(f"the program has not ended:\n{self.shown}")
            elif not self._open or not self._read(0.02):
                select.select([], [], [], 0.005)
        while self._open and self._read(0.05):
            pass
        return self.code

    def hang_up(self) -> None:
        """Close the terminal's window."""
        os.close(self._master)
        self._open = False

    def signal(self, number: int) -> None:
        """Send a signal to the program."""
        os.kill(self.pid, number)

    def _read(self, timeout: float) -> bool:
        """Take what the program has written; tell whether it can write more."""
        if not select.select([self._master], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:
            data = b""
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.code is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                sys.exc_info()
        if self._open:
            os.close(self._master)
