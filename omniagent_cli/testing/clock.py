"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from omniagent_cli.durations import parse_duration


class FakeClock:
    """Returns the same moment until it is moved; hand it to a store as ``clock=``."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        self.now = start

    def __call__(self) -> datetime:
        """Return the moment the clock stands at."""
        return self.now

    def advance(self, length: timedelta | str) -> datetime:
        """Move on by a length such as ``7d`` and return the new time."""
        step = parse_duration(length) if isinstance(length, str) else length
        self.now += step or timedelta(0)
        return self.now
