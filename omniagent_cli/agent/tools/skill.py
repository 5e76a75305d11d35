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
        name: the name that turns the group on and off, and labels it in lists.
        description: one line.
        origin: the package or setting it comes from, for lists.
        open_seconds: the timeout for opening; downloading a server first can take a while.
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
        """Set up the tools and return them; called once, before the first turn that may offer them.

        Called in the event loop in which the asynchronous tools and `aclose` run. Later changes of the returned list apply
        from the next turn.

        Raises:
            OmniAgentError: opening failed; the turn continues without these tools and the user gets a notice.
        """
        del store
        return self._tools

    @property
    def excluded_tools(self) -> Sequence[str]:
        """One line for each tool that is not offered, with the reason; each line is shown to the user once."""
        return ()

    @property
    def details(self) -> Sequence[str]:
        """Lines that help to diagnose a failure, shown in verbose mode."""
        return ()

    async def aclose(self) -> None:
        """Release what `open` set up."""
