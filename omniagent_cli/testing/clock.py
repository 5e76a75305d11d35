"""A fake clock that only a test advances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from omniagent_cli.durations import parse_duration


class FakeClock:
    """Clock for tests; pass it to a store as ``clock=``. The time changes only through ``advance``."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        self.now = start

    def __call__(self) -> datetime:
        """Return the current fake time."""
        return self.now

    def advance(self, length: timedelta | str) -> datetime:
        """Advance by a duration such as ``7d`` and return the new time."""
        step = parse_duration(length) if isinstance(length, str) else length
        self.now += step or timedelta(0)
        return self.now
