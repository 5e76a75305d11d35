"""One turn from its first event to its end: painted, and stopped by Ctrl-C without losing what came."""

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
"""A model that never pauses is made to, so that signals are heard and the screen is painted."""


@dataclass(slots=True)
class TurnResult:
    """What became of a turn.

    Attributes:
        status: ``complete``, ``interrupted`` or ``failed``, as it is stored.
        text: the answer, or what came of it.
        done: the turn's end; None when it did not get there.
        error: why it failed.
        signal: what interrupted it; None when it was cancelled from within.
    """

    status: str = "complete"
    text: str = ""
    done: TurnDone | None = None
    error: AgentError | None = None
    signal: signal.Signals | None = None


async def play_turn(
    events: AsyncGenerator[TurnEvent, None], view: StreamView | None = None
) -> TurnResult:
    """Take a turn to its end; SIGINT, SIGTERM and SIGHUP stop the model and keep what it said.

    Args:
        events: `Agent.stream`; it is closed in any case, so that what came is stored.
        view: where it is painted; finished or aborted here. None shows nothing.

    Raises:
        StoreError: the turn could not be written down.
        OSError: it could not be shown: a closed pipe, for example.
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
                view.finish()  # what came stays on the screen
        raise
    return result


async def rendered_events(
    events: AsyncGenerator[TurnEvent, None], view: StreamView | None
) -> AsyncGenerator[TurnEvent, None]:
    """Hand each event on and show it, with a breath now and then, in which signals are heard.

    Args:
        events: closed in any case, so that what came is stored.
        view: where they are shown; None for nowhere.
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
    """Take in a signal that came after the last event; nobody else is to be cancelled by it."""
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        _accept_cancellation(result)


def _accept_cancellation(result: TurnResult) -> None:
    """Take being cancelled for the end of the turn, when a signal asked for it."""
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
    """Cancel this task when a signal asks to stop; once a second at most, so that storing is not cut short.

    Plain handlers, because what reaches an event loop's own between its last round and their removal is lost.
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
        # In another thread the program around us decides about signals.
        with suppress(ValueError):
            if number is not None:
                previous_handlers[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        last_stop = math.inf  # too late to stop anything
        for number, previous in previous_handlers.items():
            signal.signal(number, previous or signal.SIG_DFL)
