"""The context of a tool call: the store and session of the turn it runs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The turn a tool runs in; a tool function receives it through a parameter annotated with this class.

    Attributes:
        store: the agent's store; None when it has none.
        session_id: the session of the turn; empty for a stateless one.
        call_id: the id the model gave the call.
    """

    store: SessionStore | None = None
    session_id: str = ""
    call_id: str = ""
