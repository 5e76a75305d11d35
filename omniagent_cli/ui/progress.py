"""How far something long is: one line on stderr that goes away again."""

from __future__ import annotations

import time
from typing import TextIO

_AFTER_SECONDS = 1.0
_EVERY_SECONDS = 0.1
_BAR_CELLS = 24


class Progress:
    """A bar, or a count when the end is not known; invisible for the first second."""

    def __init__(self, stream: TextIO, label: str, total: int | None) -> None:
        self._stream = stream
        self._label = label
        self._total = total
        self._done = 0
        self._next = time.monotonic() + _AFTER_SECONDS
        self._shown = False

    def advance(self, steps: int = 1) -> None:
        """Count steps, and paint when it is time."""
        self._done += steps
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY_SECONDS
            self._stream.write(f"\r\x1b[K{self._text()}")
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False

    def _text(self) -> str:
        if not self._total:
            return f"{self._label}: {self._done:,}"
        part = min(1.0, self._done / self._total)
        filled = round(part * _BAR_CELLS)
        bar = "#" * filled + "-" * (_BAR_CELLS - filled)
        return f"{self._label} [{bar}] {part:4.0%} {self._done:,}/{self._total:,}"
