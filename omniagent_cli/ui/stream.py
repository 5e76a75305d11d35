"""View of a turn: events are rendered live on a terminal and written as plain data elsewhere."""

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
    """Receiver of the parts of an answer."""

    def text(self, text: str) -> None: ...
    def thinking(self, text: str) -> None: ...
    def tool_called(self, call: ToolCall) -> None: ...
    def tool_ended(self, call: ToolCall, status: CallStatus, result: str) -> None: ...
    def note(self, text: str) -> None: ...
    def finish(self, *, early: bool = False) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class StreamView:
    """View of one turn; pass it the events, then call `finish` or `abort`.

    In a running event loop it redraws pending changes once per frame and animates a spinner; without one it draws only
    when it receives events.

    Args:
        terminal: output.
        thinking: show thinking as one line with its duration, in full, or not at all.
        spoken: screen reader mode: no Markdown layout, no animation, speakers in words.
        answer: ``stream`` it, print it ``whole`` at the end, or ``none`` of it, only notes.
        clock: monotonic time in seconds; for tests.
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
        """Render one event of the turn."""
        renderer = self._renderer
        if isinstance(event, TextDelta):
            renderer.text(event.text)
        elif isinstance(event, ThinkingDelta):
            renderer.thinking(event.text)
        elif isinstance(event, ToolCalled):
            renderer.tool_called(event.call)
        elif isinstance(event, ToolEnded):
            renderer.tool_ended(event.call, *_result_of(event, event.text))
        elif isinstance(event, ToolReturned):
            renderer.tool_ended(event.call, *_result_of(event, event.message.text))
        elif isinstance(event, Notice):
            if self._verbose or not event.detail:
                renderer.note(event.text)
        elif isinstance(event, Retrying):
            renderer.note(f"{event.reason}; retrying in {event.wait_seconds:.2g} s")

    def finish(self, *, early: bool = False) -> None:
        """Print the rest of the answer; `early` if it is not complete."""
        if not self._is_finished:
            self._is_finished = True
            self._renderer.finish(early=early)

    def abort(self, reason: str = "") -> None:
        """Print the rest of an answer that ends early, and the reason if given."""
        self.finish(early=bool(reason))
        if reason:
            self._renderer.note(reason)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause output for other uses of the terminal; pending output follows afterwards."""
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
        # Output that failed cannot be completed.
        if kind is None or not issubclass(kind, OSError | OutputFailed):
            self.finish(early=kind is not None)
        else:
            self._is_finished = True


def _result_of(event: ToolEnded | ToolReturned, text: str) -> tuple[CallStatus, str]:
    """Return the status and result to show; a denial by the user needs no reason."""
    if event.denied_by:
        return "denied", "" if event.denied_by == "asked" else text
    return ("failed" if event.failed else "ok"), text
