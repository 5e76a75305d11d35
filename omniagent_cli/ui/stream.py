"""A turn's events, painted: every finished block of Markdown once, and only the open tail live.

On anything but a terminal the answer is data, written as it comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Protocol, Self

from omniagent_cli.agent.events import (
    Notice,
    Retrying,
    TextDelta,
    ThinkingDelta,
    ToolCalled,
    ToolReturned,
    TurnEvent,
)
from omniagent_cli.models import ToolCall
from omniagent_cli.text import first_line, one_line, visible
from omniagent_cli.ui.cells import cut_cells
from omniagent_cli.ui.painting import LivePainter
from omniagent_cli.ui.terminal import OutputFailed, Terminal


class _Painter(Protocol):
    """What takes the parts of an answer."""

    def text(self, text: str) -> None: ...
    def thinking(self, text: str) -> None: ...
    def called(self, key: str, shown: str) -> None: ...
    def returned(self, key: str, shown: str, line: str) -> None: ...
    def note(self, text: str) -> None: ...
    def finish(self) -> None: ...
    def clear(self) -> None: ...


class StreamView:
    """Shows one turn; feed it the turn's events, then `finish` or `abort` it.

    Inside a running event loop it repaints by itself what came between two frames, and turns a spinner until the
    first word; without one it paints when it is fed.

    Args:
        terminal: where to.
        show_thinking: print what the model thinks, dimmed, instead of one line that it did.
        raw: no Markdown and nothing that moves: for screen readers and ``--raw``.
        answer: ``stream`` it, show it ``whole`` at the end, or ``none`` of it, only what is said beside it.
        clock: seconds that only go forward; for tests.
    """

    def __init__(
        self,
        terminal: Terminal,
        *,
        show_thinking: bool = False,
        raw: bool = False,
        answer: Literal["stream", "whole", "none"] = "stream",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        live = terminal.is_terminal and not terminal.is_dumb and not raw
        self._painter: _Painter
        if answer != "stream":
            self._painter = _Whole(terminal, silent=answer == "none", laid_out=live)
        elif live:
            self._painter = LivePainter(terminal, show_thinking=show_thinking, clock=clock)
        else:
            self._painter = _Plain(terminal)
        self._over = False

    def feed(self, event: TurnEvent) -> None:
        """Take one event of the turn."""
        painter = self._painter
        if isinstance(event, TextDelta):
            painter.text(event.text)
        elif isinstance(event, ThinkingDelta):
            painter.thinking(event.text)
        elif isinstance(event, ToolCalled):
            painter.called(*_named(event.call))
        elif isinstance(event, ToolReturned):
            result = "failed" if event.failed else "ok"
            told = f"{result}: {first_line(event.message.text, 200)}"
            painter.returned(*_named(event.call), one_line(told))
        elif isinstance(event, Notice):
            painter.note(event.text)
        elif isinstance(event, Retrying):
            painter.note(f"{event.reason}; trying again in {event.wait_seconds:.2g} s")

    def finish(self) -> None:
        """Show what is left; the answer is whole."""
        if not self._over:
            self._over = True
            self._painter.finish()

    def abort(self, reason: str = "") -> None:
        """Show what came of an answer that ends early, and say why when told."""
        self.finish()
        if reason:
            self._painter.note(reason)

    def clear(self) -> None:
        """Take away what moves, so that something else can be shown or asked; the next event brings it back."""
        self._painter.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        # What failed to be written will not be written now either.
        if kind is None or not issubclass(kind, OSError | OutputFailed):
            self.finish()
        else:
            self._over = True


def _named(call: ToolCall) -> tuple[str, str]:
    """Return what identifies a call, and the call on one line."""
    function = call["function"]
    arguments = one_line(function.get("arguments") or "").removeprefix("{").removesuffix("}")
    shown = f"{one_line(function['name'])}({arguments})"
    return call.get("id") or shown, shown


class _Plain:
    """Text as it comes: unchanged into a pipe, harmless on a terminal that cannot be painted on."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._line_begun = False
        self._held = ""  # a carriage return, until it is known what follows

    def text(self, text: str) -> None:
        """Write a piece of the answer."""
        if self._terminal.is_terminal:
            text = self._held + text
            self._held = "\r" if text.endswith("\r") else ""
            text = visible(text.removesuffix("\r"))
        self._write(text)

    def thinking(self, text: str) -> None:
        """Nobody asked for it."""

    def called(self, key: str, shown: str) -> None:
        """Set the text before a tool apart from what follows."""
        del key, shown
        self._end_line()

    def returned(self, key: str, shown: str, line: str) -> None:
        """Say on stderr what a tool did."""
        del key
        self.note(f"{cut_cells(shown, 60)} {line}")

    def note(self, text: str) -> None:
        """Say a line beside the answer."""
        if self._terminal.is_terminal:
            self._end_line()
        self._terminal.note(text)

    def finish(self) -> None:
        """End the last line."""
        self._end_line()

    def clear(self) -> None:
        """Nothing moves."""

    def _end_line(self) -> None:
        if self._line_begun:
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._line_begun = not text.endswith("\n")
            self._terminal.write(text)
            self._terminal.flush()


class _Whole(_Plain):
    """The answer when it is over, or not at all."""

    def __init__(self, terminal: Terminal, *, silent: bool, laid_out: bool) -> None:
        super().__init__(terminal)
        self._silent = silent
        self._laid_out = laid_out
        self._pieces: list[str] = []

    def text(self, text: str) -> None:
        """Keep a piece of the answer."""
        self._pieces.append(text)

    def called(self, key: str, shown: str) -> None:
        """Show what was said before the tool."""
        del key, shown
        self.finish()

    def finish(self) -> None:
        """Show what was kept."""
        text, self._pieces = "".join(self._pieces), []
        if self._silent or not text:
            return
        if self._laid_out:
            self._terminal.line(self._terminal.markdown(text))
        else:
            super().text(text)
            super().finish()
