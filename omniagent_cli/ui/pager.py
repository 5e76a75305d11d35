"""Pager for long output, started only when the output exceeds the screen."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from omniagent_cli.ui.cells import cell_width

_SGR = re.compile(r"\x1b\[[0-9;]*m")


class _PagerExited(BaseException):
    """The user closed the pager. Not an `Exception`, so that no handler swallows it."""


def pager_command(setting: str, environ: Mapping[str, str]) -> list[str]:
    """Return the pager command as arguments; empty without one."""
    if setting == "never":
        return []
    named = environ.get("PAGER", "less") if setting == "auto" else setting
    try:
        command = shlex.split(named)
    except ValueError:
        return []
    if not command or command == ["cat"] or shutil.which(command[0]) is None:
        return []
    return command


class PagedOutput:
    """Lines held back until they fill the screen, then streamed to the pager.

    Args:
        command: the pager and its arguments, see `pager_command`.
        write: writes text to the terminal where no pager is needed.
        size: columns and rows of the terminal.
        environ: environment of the pager.
    """

    def __init__(
        self,
        command: list[str],
        write: Callable[[str], None],
        *,
        size: tuple[int, int],
        environ: Mapping[str, str],
    ) -> None:
        self._command = command
        self._write = write
        self._environ = environ
        self._buffered: list[str] = []
        self._width = max(1, size[0])
        self._rows_left = size[1] - 1
        self._process: subprocess.Popen[str] | None = None

    def line(self, text: str = "") -> None:
        """Write one line, or several joined by newlines."""
        if self._process is not None:
            self._send(f"{text}\n")
            return
        self._buffered.append(f"{text}\n")
        for part in text.split("\n"):
            self._rows_left -= max(1, -(-cell_width(_SGR.sub("", part)) // self._width))
        if self._rows_left < 0:
            self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> bool:
        if self._process is None:
            self._flush()
            return False
        self._wait()
        return kind is _PagerExited

    def _start(self) -> None:
        environ = {"LESS": "FRX", "LV": "-c", **self._environ}
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the user's pager, without a shell
                self._command,
                stdin=subprocess.PIPE,
                env=environ,
                encoding="utf-8",
                errors="backslashreplace",
            )
        except OSError:
            self._rows_left = 1 << 60  # the pager cannot be started: print the lines
            self._flush()
            return
        buffered, self._buffered = "".join(self._buffered), []
        self._send(buffered)

    def _send(self, text: str) -> None:
        assert self._process is not None  # noqa: S101  # only called once it runs
        assert self._process.stdin is not None  # noqa: S101
        try:
            self._process.stdin.write(text)
        except BrokenPipeError as error:
            raise _PagerExited from error

    def _flush(self) -> None:
        buffered, self._buffered = "".join(self._buffered), []
        self._write(buffered)

    def _wait(self) -> None:
        assert self._process is not None  # noqa: S101
        while True:
            try:
                self._process.communicate()
                return
            except KeyboardInterrupt:
                continue  # Ctrl-C is for the pager while it is running
            except BrokenPipeError:
                os.waitpid(self._process.pid, os.WNOHANG)
                return
