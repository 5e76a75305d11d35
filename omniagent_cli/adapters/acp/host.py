"""The program that serves the protocol: its store, settings and models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from omniagent_cli.agent.mcp.server import McpServer

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.agent.context.cost import Prices
    from omniagent_cli.agent.events import Engine
    from omniagent_cli.agent.tools.permissions import PreapprovedTools
    from omniagent_cli.agent.tools.tool import Approve
    from omniagent_cli.stores.store import SessionStore

Titled = Callable[[str], Awaitable[None]]
"""Called with the id of a session after a model has written its title."""


class Host(Protocol):
    """Store, settings and models of the serving program; the store and the methods are used in threads."""

    allowed: PreapprovedTools
    prices: Prices

    @property
    def store(self) -> SessionStore:
        """The store of the sessions.

        Raises:
            OmniAgentError: it cannot be opened, or it is encrypted and there is no key.
        """
        ...

    def agent(
        self, session_id: str, servers: Sequence[McpServer], approve: Approve, titled: Titled
    ) -> Agent:
        """Return an agent for a session with additional MCP servers."""
        ...

    def models(self) -> list[str]:
        """Return the names of the known models."""
        ...

    def engine(self, model: str) -> Engine:
        """Return the engine of a model."""
        ...
