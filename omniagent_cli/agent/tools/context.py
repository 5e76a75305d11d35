"""The context of a tool call: the store and session of the turn it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniagent_cli.errors import UsageError

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore


class ToolContext:
    """The turn a tool runs in; a tool function receives it through a parameter annotated with this class.

    Attributes:
        session_id: the session of the turn; empty for a stateless one.
        call_id: the id the model gave the call.
    """

    __slots__ = ("_store", "call_id", "session_id")

    def __init__(
        self, store: SessionStore | None = None, session_id: str = "", call_id: str = ""
    ) -> None:
        self._store = store
        self.session_id = session_id
        self.call_id = call_id

    @property
    def store(self) -> SessionStore:
        """The agent's store.

        Raises:
            UsageError: the agent has none.
        """
        if self._store is None:
            raise UsageError("the agent of this tool has no store; give it one: Agent(store=...)")
        return self._store

    def for_call(self, call_id: str) -> ToolContext:
        """Return the same context for one call."""
        return ToolContext(self._store, self.session_id, call_id)
