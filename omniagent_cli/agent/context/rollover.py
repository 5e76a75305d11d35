"""The rollover policy: a session starts empty after a long pause or on a new day; its messages get a session of their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from omniagent_cli.errors import UsageError
from omniagent_cli.stores.operations.rollover import RolledOverSession
from omniagent_cli.stores.store import SessionStore

_MESSAGES = {
    "idle": "Started a new conversation after a long pause",
    "daily": "Started a new conversation for the new day",
}


@dataclass(frozen=True, slots=True)
class Rollover:
    """The policy; by default sessions never roll over.

    Attributes:
        idle: roll over if the last message is at least this old.
        daily: roll over if the last message is of an earlier day.
        timezone: the time zone of days; None: that of this machine.
    """

    idle: timedelta | None = None
    daily: bool = False
    timezone: tzinfo | None = None

    def __post_init__(self) -> None:
        if self.idle is not None and self.idle <= timedelta(0):
            raise UsageError("idle must be more than 0; None disables it")

    @property
    def ever(self) -> bool:
        """True if sessions can roll over."""
        return self.daily or self.idle is not None

    def reason(self, last: datetime, now: datetime) -> str | None:
        """Return why a session with this last message rolls over now: ``idle``, ``daily``, or None."""
        if self.idle is not None and now - last >= self.idle:
            return "idle"
        if self.daily and self._day(now) > self._day(last):
            return "daily"
        return None

    def _day(self, moment: datetime) -> str:
        return moment.astimezone(self.timezone).date().isoformat()

    def apply(self, store: SessionStore, session_id: str) -> str | None:
        """Roll the session over if it is due, and return a notice for the user.

        The id continues with an empty session; the earlier messages are in ``ID@DAY``, the day of the last of them.
        """
        if not self.ever:
            return None

        def due(last: datetime, now: datetime) -> RolledOverSession | None:
            reason = self.reason(last, now)
            return RolledOverSession(f"{session_id}@{self._day(last)}", reason) if reason else None

        rolled = store.roll_over(session_id, due)
        if rolled is None:
            return None
        return f"{_MESSAGES[rolled.reason]}; the previous one is {rolled.session_id}"
