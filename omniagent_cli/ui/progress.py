"""Progress bar: one line on stderr that is removed at the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from omniagent_cli.ui.cells import cell_width, cut_cells
from omniagent_cli.ui.views import file_size

_AFTER_SECONDS = 1.0
_EVERY_SECONDS = 0.1
_BAR_CELLS = 24
_WINDOW_SECONDS = 10.0
"""Time window of the rate; the remaining time is estimated from the current speed."""

_MAX_SAMPLES = 200


def steps_to(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Return a function of the total so far that advances by the steps since its last call."""
    before = 0

    def progress(done: int) -> None:
        nonlocal before
        advance(done - before)
        before = done

    return progress


class Progress:
    """Bar with rate and remaining time, or a count if the total is unknown; hidden for the first second.

    Args:
        stream: a terminal.
        label: description; shortened in a narrow line.
        total: number of steps, if known.
        steps: unit of the steps: ``bytes`` are formatted as sizes, anything else as numbers.
        width: width of the line in cells.
        encode: converts a line to characters that the terminal supports.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        label: str,
        total: int | None,
        *,
        steps: str = "",
        width: int = 80,
        encode: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._label = label
        self._total = total
        self._in_bytes = steps == "bytes"
        self._width = width
        self._to_shown = encode
        self._clock = clock
        self._done = 0
        now = clock()
        self._next_at = now + _AFTER_SECONDS
        self._samples: deque[tuple[float, int]] = deque([(now, 0)], maxlen=_MAX_SAMPLES)
        self._shown = False

    def advance(self, steps: int = 1) -> None:
        """Add steps, and redraw if due."""
        self._done += steps
        now = self._clock()
        if now >= self._next_at:
            self._next_at = now + _EVERY_SECONDS
            self._samples.append((now, self._done))
            while len(self._samples) > 2 and self._samples[1][0] < now - _WINDOW_SECONDS:
                self._samples.popleft()
            self._stream.write(f"\r\x1b[K{self._to_shown(self._text(now))}")
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False

    def _text(self, now: float) -> str:
        since, done = self._samples[0]
        rate = (self._done - done) / (now - since) if now > since else 0.0
        facts = [self._format_count(self._done)]
        if rate > 0:
            facts.append(f"{self._format_count(round(rate))}/s")
        bar = ""
        if self._total:
            part = min(1.0, self._done / self._total)
            filled = round(part * _BAR_CELLS)
            bar = f" [{'#' * filled}{'-' * (_BAR_CELLS - filled)}] {part:4.0%}"
            facts[0] = f"{facts[0]} of {self._format_count(self._total)}"
            if rate > 0 and part < 1:
                facts.append(f"{_duration((self._total - self._done) / rate)} left")
        return self._fit(bar, ", ".join(facts))

    def _fit(self, bar: str, facts: str) -> str:
        """Return the line shortened to the width: first the label, then the bar, then the numbers."""
        room = self._width - 1
        label = cut_cells(self._label, max(8, room - len(bar) - len(facts) - 2))
        text = f"{label}{bar} {facts}" if bar else f"{label}: {facts}"
        return text if cell_width(text) <= room else facts[:room]

    def _format_count(self, number: int) -> str:
        if not self._in_bytes:
            return f"{number:,}"
        return file_size(number)


def _duration(seconds: float) -> str:
    """Format a remaining time, such as ``1:05`` or ``2:03:04``."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
