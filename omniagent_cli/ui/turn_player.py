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

_STOPS = ("SIGINT", "SIGTERM", "SIGHUP")
_IMPATIENT_SECONDS = 1.0
_BREATH_SECONDS = 0.005
"""A model that never pauses is made to, so that signals are heard and the screen is painted."""


@dataclass(slots=True)
class Played:
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


async def play(events: AsyncGenerator[TurnEvent, None], view: StreamView | None = None) -> Played:
    """Take a turn to its end; SIGINT, SIGTERM and SIGHUP stop the model and keep what it said.

    Args:
        events: `Agent.stream`; it is closed in any case, so that what came is stored.
        view: where it is painted; finished or aborted here. None shows nothing.

    Raises:
        StoreError: the turn could not be written down.
        OSError: it could not be shown: a closed pipe, for example.
    """
    played = Played()
    pieces: list[str] = []
    try:
        with _stopped_by_signals(played):
            try:
                async with aclosing(painted(events, view)) as shown:
                    async for event in shown:
                        _collect(event, pieces, played)
            except asyncio.CancelledError:
                _accept(played)
            except AgentError as error:
                played.status, played.error = "failed", error
            played.text = played.done.message.text if played.done else "".join(pieces)
            if view is not None:
                view.abort("interrupted" if played.status == "interrupted" else "")
        await _settled(played)
    except BaseException:
        if view is not None:
            with suppress(OSError, OmniAgentError):
                view.finish()  # what came stays on the screen
        raise
    return played


async def painted(
    events: AsyncGenerator[TurnEvent, None], view: StreamView | None
) -> AsyncGenerator[TurnEvent, None]:
    """Hand each event on and show it, with a breath now and then, in which signals are heard.

    Args:
        events: closed in any case, so that what came is stored.
        view: where they are shown; None for nowhere.
    """
    loop = asyncio.get_running_loop()
    breath = loop.time()
    async with aclosing(events):
        async for event in events:
            yield event
            if view is not None:
                view.feed(event)
            if loop.time() >= breath:
                await asyncio.sleep(0)
                breath = loop.time() + _BREATH_SECONDS


async def _settled(played: Played) -> None:
    """Take in a signal that came after the last event; nobody else is to be cancelled by it."""
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        _accept(played)


def _accept(played: Played) -> None:
    """Take being cancelled for the end of the turn, when a signal asked for it."""
    task = asyncio.current_task()
    if played.signal is None or task is None:
        raise asyncio.CancelledError
    task.uncancel()
    if played.done is None and played.error is None:
        played.status = "interrupted"


def _collect(event: TurnEvent, pieces: list[str], played: Played) -> None:
    if isinstance(event, TextDelta):
        pieces.append(event.text)
    elif isinstance(event, ToolReturned):
        pieces.clear()
    elif isinstance(event, TurnDone):
        played.done = event


@contextmanager
def _stopped_by_signals(played: Played) -> Iterator[None]:
    """Cancel this task when a signal asks to stop; once a second at most, so that storing is not cut short.

    Plain handlers, because what reaches an event loop's own between its last round and their removal is lost.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    last = -_IMPATIENT_SECONDS

    def stop() -> None:
        nonlocal last
        if task is not None and loop.time() - last >= _IMPATIENT_SECONDS:
            last = loop.time()
            task.cancel()

    def note(number: int, _frame: FrameType | None) -> None:
        played.signal = played.signal or signal.Signals(number)
        loop.call_soon_threadsafe(stop)

    before: dict[int, Any] = {}
    for name in _STOPS:
        number = getattr(signal, name, None)
        # In another thread the program around us decides about signals.
        with suppress(ValueError):
            if number is not None:
                before[number] = signal.signal(number, note)
    try:
        yield
    finally:
        last = math.inf  # too late to stop anything
        for number, earlier in before.items():
            signal.signal(number, earlier or signal.SIG_DFL)
