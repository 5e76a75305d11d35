"""A turn's events, painted: every finished block of Markdown once, and only the open tail live.

On anything but a terminal the answer is data, written as it comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Protocol, Self

from omniagent_cli.agent.events import (
    Notice,
    Retrying,
    TextDelta,
    ThinkingDelta,
    ToolCalled,
    ToolEnded,
    ToolReturned,
    TurnEvent,
)
from omniagent_cli.models import ToolCall
from omniagent_cli.ui.live_renderer import LiveRenderer, Thinking
from omniagent_cli.ui.plain_renderer import BufferedRenderer, PlainRenderer
from omniagent_cli.ui.terminal import OutputFailed, Terminal
from omniagent_cli.ui.tool_call_rows import CallStatus


class _Renderer(Protocol):
    """What takes the parts of an answer."""

    def text(self, text: str) -> None: ...
    def thinking(self, text: str) -> None: ...
    def tool_called(self, call: ToolCall) -> None: ...
    def tool_ended(self, call: ToolCall, status: CallStatus, result: str) -> None: ...
    def note(self, text: str) -> None: ...
    def finish(self, *, early: bool = False) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class StreamView:
    """Shows one turn; feed it the turn's events, then `finish` or `abort` it.

    Inside a running event loop it repaints by itself what came between two frames, and turns a spinner until the
    first word; without one it paints when it is fed.

    Args:
        terminal: where to.
        thinking: of what the model thinks show one line with its time, all of it, dimmed, or nothing.
        spoken: for screen readers: no Markdown laid out, nothing that moves, and who speaks is said in words.
        answer: ``stream`` it, show it ``whole`` at the end, or ``none`` of it, only what is said beside it.
        clock: seconds that only go forward; for tests.
    """

    def __init__(
        self,
        terminal: Terminal,
        *,
        thinking: Thinking = "folded",
        spoken: bool = False,
        answer: Literal["stream", "whole", "none"] = "stream",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        live = terminal.is_terminal and not terminal.is_dumb and not spoken
        self._renderer: _Renderer
        if answer != "stream":
            silent = answer == "none"
            self._renderer = BufferedRenderer(
                terminal, silent=silent, as_markdown=live, clock=clock
            )
        elif live:
            self._renderer = LiveRenderer(terminal, thinking=thinking, clock=clock)
        else:
            self._renderer = PlainRenderer(terminal, spoken=spoken, thinking=thinking, clock=clock)
        self._is_finished = False
        self._is_paused = False
        self._verbose = terminal.verbose

    def feed(self, event: TurnEvent) -> None:
        """Take one event of the turn."""
        renderer = self._renderer
        if isinstance(event, TextDelta):
            renderer.text(event.text)
        elif isinstance(event, ThinkingDelta):
            renderer.thinking(event.text)
        elif isinstance(event, ToolCalled):
            renderer.tool_called(event.call)
        elif isinstance(event, ToolEnded):
            renderer.tool_ended(event.call, "failed" if event.failed else "ok", event.text)
        elif isinstance(event, ToolReturned):
            renderer.tool_ended(event.call, "failed" if event.failed else "ok", event.message.text)
        elif isinstance(event, Notice):
            if self._verbose or not event.detail:
                renderer.note(event.text)
        elif isinstance(event, Retrying):
            renderer.note(f"{event.reason}; trying again in {event.wait_seconds:.2g} s")

    def finish(self, *, early: bool = False) -> None:
        """Show what is left; the answer is whole, or ends early."""
        if not self._is_finished:
            self._is_finished = True
            self._renderer.finish(early=early)

    def abort(self, reason: str = "") -> None:
        """Show what came of an answer that ends early, and say why when told."""
        self.finish(early=bool(reason))
        if reason:
            self._renderer.note(reason)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Write nothing, so that something else can be shown or asked; what comes meanwhile follows."""
        if self._is_paused:
            yield
            return
        self._is_paused = True
        self._renderer.pause()
        try:
            yield
        finally:
            self._is_paused = False
            if not self._is_finished:
                self._renderer.resume()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        # What failed to be written will not be written now either.
        if kind is None or not issubclass(kind, OSError | OutputFailed):
            self.finish(early=kind is not None)
        else:
            self._is_finished = True
