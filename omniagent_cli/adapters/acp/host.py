"""The program that serves the protocol: its store, settings and models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """The agent that a session needs.

    Attributes:
        cwd: the directory in which the client opens the session.
        client: the name of the client, such as ``zed``; empty if it gave none.
        servers: the MCP servers of the client, in addition to those of the settings.
    """

    session_id: str
    cwd: str
    client: str
    servers: Sequence[McpServer]
    approve: Approve
    titled: Titled


@dataclass(frozen=True, slots=True)
class SavedText:
    """A saved prompt with its variables and its input.

    Attributes:
        text: the message; may be empty.
        system: the system prompt that applies from now on, if any.
        model: the model of this turn, if any.
    """

    text: str
    system: str | None = None
    model: str | None = None


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

    def agent(self, request: AgentRequest) -> Agent:
        """Return an agent for a session."""
        ...

    def saved_prompts(self, cwd: str) -> list[tuple[str, str]]:
        """Return name and description of each saved prompt that can be used in a directory."""
        ...

    def saved_prompt(self, cwd: str, name: str, text: str) -> SavedText | None:
        """Return a saved prompt with the rest of its line; None if there is none of this name.

        Raises:
            UsageError: a variable has no value.
            ConfigError: the prompt cannot be used.
        """
        ...

    def models(self) -> list[str]:
        """Return the names of the known models."""
        ...

    def engine(self, model: str) -> Engine:
        """Return the engine of a model."""
        ...
