"""In-memory terminal: output is emulated, and the visible screen can be read."""

from __future__ import annotations

import io

import pyte

from omniagent_cli.ui.terminal import Terminal


class FakeTty(io.StringIO):
    """A stream that says it is a terminal and shows what is written on an emulated screen.

    Attributes:
        written: everything as it was written.
        writes: how often something was.
    """

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        super().__init__()
        self.written = ""
        self.writes = 0
        self.screen = pyte.HistoryScreen(columns, rows, history=100_000, ratio=0.5)
        self._stream = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written += text
        self.writes += 1
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def resize(self, columns: int, rows: int = 24) -> None:
        self.screen.resize(rows, columns)

    @property
    def shown(self) -> str:
        """What is on the screen and was scrolled off it."""
        columns = self.screen.columns
        above = ["".join(row[c].data for c in range(columns)) for row in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip()


def tty(
    columns: int = 80, rows: int = 24, **environ: str
) -> tuple[Terminal, FakeTty, FakeTty | io.StringIO]:
    """Return a terminal without styles: an emulated screen for stdout and a plain stream for stderr."""
    out, err = FakeTty(columns, rows), io.StringIO()
    known = {"TERM": "xterm", "COLUMNS": str(columns), **environ}
    terminal = Terminal(stdin=io.StringIO(), stdout=out, stderr=err, environ=known)
    terminal.color = "never"
    return terminal, out, err


def pipe(*, encoding: str = "utf-8") -> tuple[Terminal, io.BytesIO, io.StringIO]:
    """Return a terminal whose stdout is a pipe."""
    data, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(data, encoding=encoding, newline="")
    return Terminal(stdin=io.StringIO(), stdout=out, stderr=err, environ={}), data, err


class Clock:
    """Clock that advances on request."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
