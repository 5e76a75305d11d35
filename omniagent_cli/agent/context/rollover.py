"""When a session begins anew: after a long silence, or with a new day. What was said becomes a session of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from omniagent_cli.errors import UsageError
from omniagent_cli.stores.operations.rollover import RolledOverSession
from omniagent_cli.stores.store import SessionStore

_WHY = {
    "idle": "after a long silence a new conversation begins",
    "daily": "with the new day a new conversation begins",
}


@dataclass(frozen=True, slots=True)
class Rollover:
    """The rule; without an argument nothing ever rolls over.

    Attributes:
        idle: begin anew when the last message is at least this long ago.
        daily: begin anew when the last message was said on an earlier day.
        timezone: where days begin; None: where this machine is.
    """

    idle: timedelta | None = None
    daily: bool = False
    timezone: tzinfo | None = None

    def __post_init__(self) -> None:
        if self.idle is not None and self.idle <= timedelta(0):
            raise UsageError("a session cannot roll over after no time at all; None is never")

    @property
    def ever(self) -> bool:
        """Whether a session can roll over at all."""
        return self.daily or self.idle is not None

    def reason(self, last: datetime, now: datetime) -> str | None:
        """Return why a session whose last message was said then begins anew now: ``idle``, ``daily``, or None."""
        if self.idle is not None and now - last >= self.idle:
            return "idle"
        if self.daily and self._day(now) > self._day(last):
            return "daily"
        return None

    def _day(self, moment: datetime) -> str:
        return moment.astimezone(self.timezone).date().isoformat()

    def apply(self, store: SessionStore, session_id: str) -> str | None:
        """Let a session begin anew if it is time, and return what to tell the person.

        The id goes on empty; what was said is found under ``ID@DAY``, the day of its last message.
        """
        if not self.ever:
            return None

        def due(last: datetime, now: datetime) -> RolledOverSession | None:
            reason = self.reason(last, now)
            return RolledOverSession(f"{session_id}@{self._day(last)}", reason) if reason else None

        aside = store.roll_over(session_id, due)
        if aside is None:
            return None
        return f"{_WHY[aside.reason]}; the one before is kept as {aside.session_id}"
