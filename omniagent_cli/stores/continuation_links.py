"""Links between sessions that continue each other: ids in their metadata, updated when a session is renamed."""

from __future__ import annotations

from typing import Any

from omniagent_cli.json_format import format_time
from omniagent_cli.stores.facts import facts_of, restamp
from omniagent_cli.stores.unit_of_work import UnitOfWork

CONTINUES = "continues"
"""Metadata of a session that a rollover started: the id of the previous one."""

CONTINUED_IN = "continued_in"
"""Metadata of a session that was rolled over: the id of the session that continues it."""

REASON = "rollover"
"""Metadata of a session that was rolled over: the reason, such as ``idle`` or ``daily``."""


def relink(unit: UnitOfWork, linked_id: Any, link: str, session_id: str, new_id: str) -> None:
    """Change a link to a renamed session.

    Args:
        unit: the unit of work.
        linked_id: the session that has the link; nothing happens if it does not exist.
        link: `CONTINUES` or `CONTINUED_IN`.
        session_id: the old id.
        new_id: the new id.
    """
    linked = unit.tx.find(linked_id) if isinstance(linked_id, str) else None
    if linked is None or linked.is_expired(unit.now()):
        return
    data = unit.data(linked)
    metadata = data.get("metadata") or {}
    if metadata.get(link) == session_id:
        before, now = facts_of(linked, data), format_time(unit.now())
        data = {**data, "metadata": {**metadata, link: new_id}}
        restamp(before, linked, data, now)
        unit.set_data(linked, data)
        linked.mark_changed(now, activity=False)
        unit.tx.put(linked)
