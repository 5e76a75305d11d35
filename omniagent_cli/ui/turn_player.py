"""Run of one turn: render its events, and stop on signals without losing received text."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from omniagent_cli.agent.events import TextDelta, ToolReturned, TurnDone, TurnEvent
from omniagent_cli.errors import AgentError, OmniAgentError
from omniagent_cli.ui.stream import StreamView

_STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_SIGNAL_INTERVAL_SECONDS = 1.0
_YIELD_INTERVAL_SECONDS = 0.005
"""Interval at which a model that never pauses is interrupted, so that signals and frames are handled."""


@dataclass(slots=True)
class TurnResult:
    """Result of a turn.

    Attributes:
        status: ``complete``, ``interrupted`` or ``failed``, as stored.
        text: the answer, possibly partial.
        done: final event; None if the turn did not complete.
        error: reason of a failure.
        signal: signal that interrupted the turn; None if it was cancelled otherwise.
    """

    status: str = "complete"
    text: str = ""
    done: TurnDone | None = None
    error: AgentError | None = None
    signal: signal.Signals | None = None


async def play_turn(
    events: AsyncGenerator[TurnEvent, None], view: StreamView | None = None
) -> TurnResult:
    """Run a turn to its end; SIGINT, SIGTERM and SIGHUP stop the model and keep its partial answer.

    Args:
        events: `Agent.stream`; always closed, so that received text is stored.
        view: view to render to; finished or aborted here. None renders nothing.

    Raises:
        StoreError: the turn cannot be stored.
        OSError: the turn cannot be displayed, for example because of a closed pipe.
    """
    result = TurnResult()
    pieces: list[str] = []
    try:
        with _stop_on_signals(result):
            try:
                async with aclosing(rendered_events(events, view)) as shown:
                    async for event in shown:
                        _collect(event, pieces, result)
            except asyncio.CancelledError:
                _accept_cancellation(result)
            except AgentError as error:
                result.status, result.error = "failed", error
            result.text = result.done.message.text if result.done else "".join(pieces)
            if view is not None:
                view.abort("interrupted" if result.status == "interrupted" else "")
        await _absorb_late_signal(result)
    except BaseException:
        if view is not None:
            with suppress(OSError, OmniAgentError):
                view.finish()  # received text stays on the screen
        raise
    return result


async def rendered_events(
    events: AsyncGenerator[TurnEvent, None], view: StreamView | None
) -> AsyncGenerator[TurnEvent, None]:
    """Render and yield each event, and return to the event loop regularly so that signals are handled.

    Args:
        events: always closed, so that received text is stored.
        view: view to render to; None renders nothing.
    """
    loop = asyncio.get_running_loop()
    next_yield = loop.time()
    async with aclosing(events):
        async for event in events:
            yield event
            if view is not None:
                view.feed(event)
            if loop.time() >= next_yield:
                await asyncio.sleep(0)
                next_yield = loop.time() + _YIELD_INTERVAL_SECONDS


async def _absorb_late_signal(result: TurnResult) -> None:
    """Handle a signal that arrived after the last event, so it cancels nothing else."""
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        _accept_cancellation(result)


def _accept_cancellation(result: TurnResult) -> None:
    """Treat cancellation as the end of the turn if a signal requested it."""
    task = asyncio.current_task()
    if result.signal is None or task is None:
        raise asyncio.CancelledError
    task.uncancel()
    if result.done is None and result.error is None:
        result.status = "interrupted"


def _collect(event: TurnEvent, pieces: list[str], result: TurnResult) -> None:
    if isinstance(event, TextDelta):
        pieces.append(event.text)
    elif isinstance(event, ToolReturned):
        pieces.clear()
    elif isinstance(event, TurnDone):
        result.done = event


@contextmanager
def _stop_on_signals(result: TurnResult) -> Iterator[None]:
    """Cancel this task on a stop signal, at most once per second, so that storing is not interrupted.

    Plain handlers are used because an event loop loses signals between its last iteration and their removal.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    last_stop = -_SIGNAL_INTERVAL_SECONDS

    def stop() -> None:
        nonlocal last_stop
        if task is not None and loop.time() - last_stop >= _SIGNAL_INTERVAL_SECONDS:
            last_stop = loop.time()
            task.cancel()

    def handle(number: int, _frame: FrameType | None) -> None:
        result.signal = result.signal or signal.Signals(number)
        loop.call_soon_threadsafe(stop)

    previous_handlers: dict[int, Any] = {}
    for name in _STOP_SIGNALS:
        number = getattr(signal, name, None)
        # Outside of the main thread, the embedding program handles signals.
        with suppress(ValueError):
            if number is not None:
                previous_handlers[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        last_stop = math.inf  # too late to stop anything
        for number, previous in previous_handlers.items():
            signal.signal(number, previous or signal.SIG_DFL)
