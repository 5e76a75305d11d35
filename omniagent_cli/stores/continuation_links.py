"""How conversations that follow on each other are linked: by names in their metadata, which follow when one is renamed."""

from __future__ import annotations

from typing import Any

from omniagent_cli.stores.backend import Transaction
from omniagent_cli.stores.unit_of_work import StoreCore, is_expired

CONTINUES = "continues"
"""Metadata of a session that began when another was set aside: the id of that one."""

CONTINUED_IN = "continued_in"
"""Metadata of a session that was set aside: the id under which the conversation went on."""

REASON = "rollover"
"""Metadata of a session that was set aside: why, such as ``idle`` or ``daily``."""


class Links(StoreCore):
    """Keeps the links between sessions right."""

    def _relink(
        self, tx: Transaction, linked_id: Any, link: str, session_id: str, new_id: str
    ) -> None:
        """Let a session name another one, which moves, by its new id; one that is gone or names none is left."""
        linked = tx.find(linked_id) if isinstance(linked_id, str) else None
        if linked is None or is_expired(linked, tx.now()):
            return
        data = self._data(linked)
        metadata = data.get("metadata") or {}
        if metadata.get(link) == session_id:
            self._set_data(linked, {**data, "metadata": {**metadata, link: new_id}})
            linked.revision += 1
            tx.put(linked)
