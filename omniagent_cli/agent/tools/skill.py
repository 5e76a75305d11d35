"""Skills: named groups of tools that are opened before their first use and closed with the agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniagent_cli.agent.tools.tool import Tool
    from omniagent_cli.stores.store import SessionStore


class Skill:
    """A named group of tools.

    Attributes:
        name: switches it on and off, and stands before it in lists.
        description: one line.
        origin: where it comes from, for lists.
        open_seconds: how long it may take to be set up; a server that is fetched first takes a while.
    """

    name: str
    description: str = ""
    origin: str = ""
    open_seconds: float = 60.0

    def __init__(self, name: str, tools: Sequence[Tool] = (), *, description: str = "") -> None:
        self.name = name
        self.description = description
        self._tools = list(tools)

    async def open(self, store: SessionStore | None) -> Sequence[Tool]:
        """Set up what the tools need and return them; called once, before the first turn that may offer them.

        It is called in the loop in which the asynchronous tools and `aclose` will run. A list that is changed later
        changes what the next turn is offered.

        Raises:
            OmniAgentError: it cannot be set up; the turn goes on without its tools, and the person is told.
        """
        del store
        return self._tools

    @property
    def excluded_tools(self) -> Sequence[str]:
        """What of it is not offered and why, a line each, as far as is known by now; each is told once."""
        return ()

    @property
    def details(self) -> Sequence[str]:
        """What helps to find out why it fails, a line each, for who wants to know more (``-v``)."""
        return ()

    async def aclose(self) -> None:
        """Let go of what was set up."""
