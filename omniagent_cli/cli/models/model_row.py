"""A row of `omniagent models list`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple

from omniagent_cli.json_format import format_time


class ModelRow(NamedTuple):
    """A model that can be used now.

    Attributes:
        model: ``provider:name``, an alias or ``recall``.
        origin: the reason: the source of its key, the address of its server, or its alias target.
        updated_at: the time of the request; None for a model without one.
        chosen: True for the model that is used by default.
        reason: the reason for the choice.
        shutdown_date: the announced shutdown date, if any.
    """

    model: str
    origin: str
    updated_at: datetime | None = None
    chosen: bool = False
    reason: str | None = None
    shutdown_date: date | None = None

    @property
    def record(self) -> dict[str, Any]:
        """The JSON form."""
        updated_at = format_time(self.updated_at) if self.updated_at else None
        end = self.shutdown_date.isoformat() if self.shutdown_date else None
        return {**self._asdict(), "updated_at": updated_at, "shutdown_date": end}

    @property
    def remark(self) -> str:
        """The last column: "chosen" and the shutdown date."""
        end = f"shutdown {self.shutdown_date}" if self.shutdown_date else ""
        return ", ".join(part for part in ("chosen" * self.chosen, end) if part)
