"""A terminal without a pty: a command in this process, its keys from a pipe, its screen emulated.

It has the interface of `TerminalProgram`. What only a pty shows stays there: signals, job control, echo, resizing.
"""

from __future__ import annotations

import io
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from omniagent_cli.cli import main
from tests.repl.terminal import CTRL_D, PATIENCE_SECONDS, Screen


class _Screen(io.TextIOBase):
    """The stdout and stderr of a terminal."""

    encoding = "utf-8"

    def __init__(self, feed: Callable[[str], None]) -> None:
        self._feed = feed

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._feed(text.replace("\n", "\r\n"))  # as a terminal's ONLCR does
        return len(text)


class _Keyboard(io.TextIOBase):
    """The stdin of a terminal: lines come as they are typed, and are echoed."""

    encoding = "utf-8"

    def __init__(self, echo: Callable[[str], None]) -> None:
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._echo = echo
        self._device = Path(os.devnull).open("rb")  # noqa: SIM115  # closed by `close`

    def fileno(self) -> int:
        return self._device.fileno()  # a device, as a terminal is

    def close(self) -> None:
        self._device.close()
        super().close()

    def isatty(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> str:
        line = self.lines.get()
        self._echo(line.replace("\n", "\r\n"))
        return line


class PipedProgram:
    """A command at an emulated terminal, in a thread; a context manager that ends it.

    Attributes:
        raw: all the command has written.
        code: its exit code, once `wait` has returned.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        *,
        columns: int = 100,
        rows: int = 24,
        cwd: str | Path | None = None,
    ) -> None:
        self.raw = bytearray()
        self.code: int | None = None
        self._columns, self._rows = columns, rows
        self.screen = Screen(columns, rows, self._reply)
        self._stream = pyte.Stream(self.screen)
        self._changed = threading.Condition()
        self._keyboard = _Keyboard(self._feed)
        self._environ = {**environ, "COLUMNS": str(columns), "LINES": str(rows)}
        self._stack = ExitStack()
        self._keys: PipeInput = self._stack.enter_context(create_pipe_input())
        self._take_streams()
        work = (list(argv), Path(cwd) if cwd else None)
        self._thread = threading.Thread(target=self._run, args=work, daemon=True)
        self._thread.start()

    def _take_streams(self) -> None:
        before = sys.stdin, sys.stdout, sys.stderr, os.environ.copy()
        screen: Any = _Screen(self._feed)
        sys.stdin, sys.stdout, sys.stderr = self._keyboard, screen, screen  # type: ignore[assignment]
        os.environ.update({k: v for k, v in self._environ.items() if k in {"TERM", "HOME"}})

        def give_back() -> None:
            sys.stdin, sys.stdout, sys.stderr, environ = before
            os.environ.clear()
            os.environ.update(environ)

        self._stack.callback(self._keyboard.close)
        self._stack.callback(give_back)

    def _run(self, argv: list[str], cwd: Path | None) -> None:
        size = Size(self._rows, self._columns)
        output = Vt100_Output(sys.stdout, lambda: size, term=self._environ.get("TERM"))
        code = 70
        try:
            with create_app_session(self._keys, output):
                code = main(argv, environ=self._environ, cwd=cwd)
        finally:
            with self._changed:
                self.code = code
                self._changed.notify_all()

    def _feed(self, text: str) -> None:
        with self._changed:
            self.raw += text.encode("utf-8", "replace")
            self._stream.feed(text)
            self._changed.notify_all()

    def _reply(self, data: str) -> None:
        self._keys.send_text(data)

    def send(self, keys: str) -> None:
        """Type."""
        self._keys.send_text(keys)
        for line in keys.replace("\r", "\n").splitlines(keepends=True):
            self._keyboard.lines.put("" if line == CTRL_D else line)

    def say(self, line: str) -> None:
        """Type a line and Enter."""
        self.send(line + "\r")

    @property
    def shown(self) -> str:
        """The text on the screen and scrolled off it, without blanks at the ends of lines."""
        with self._changed:
            return self.screen.text

    @property
    def rows(self) -> list[str]:
        """The lines on the screen that are not blank."""
        with self._changed:
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

    def wait_prompt(self, count: int, *, timeout: float = PATIENCE_SECONDS) -> str:
        """Wait until the prompt is shown for the next line, after that many prompts before."""
        return self.wait_until(
            lambda shown: len(re.findall(r"(?m)^you>", shown)) >= count, "you>", timeout=timeout
        )

    def wait_until(
        self, ok: Callable[[str], bool], what: str, *, timeout: float = PATIENCE_SECONDS
    ) -> str:
        """Wait until the screen satisfies a condition."""
        end = time.monotonic() + timeout
        with self._changed:
            while not ok(shown := self.screen.text):
                if self.code is not None or not self._changed.wait(end - time.monotonic()):
                    if ok(self.screen.text):
                        break
                    raise AssertionError(f"{what!r} is not shown:\n{self.screen.text}")
            return shown

    def wait(self, *, timeout: float = PATIENCE_SECONDS) -> int:
        """Wait for the end of the command and return its exit code."""
        self._thread.join(timeout)
        if self.code is None:
            raise AssertionError(f"the command has not ended:\n{self.shown}")
        return self.code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread.is_alive():
            self._keyboard.lines.put("")
            self._keys.close()  # as a closed window: end of input
            self._thread.join(PATIENCE_SECONDS)
        self._stack.close()
        assert not self._thread.is_alive(), f"the command does not end:\n{self.shown}"
