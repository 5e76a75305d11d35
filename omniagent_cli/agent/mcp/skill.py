"""An MCP server as a skill: started on demand and restarted after it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.mcp.naming import tool_name
from omniagent_cli.agent.mcp.server import McpServer
from omniagent_cli.agent.tools.skill import Skill
from omniagent_cli.agent.tools.tool import Effect, Tool
from omniagent_cli.errors import AgentError
from omniagent_cli.fork_safety import ForkAware, keep_forever, register
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from mcp.types import Tool as Listed

    from omniagent_cli.agent.mcp.connection import Connection
    from omniagent_cli.stores.store import SessionStore

RESTART_SECONDS = (0.0, 1.0, 5.0, 15.0)
"""The delay before each restart without an answered call in between; after the last one the server is given up."""


_MAX_EXCLUDED_LINES = 8
"""The number of excluded tools that are listed one by one."""

_CLOSING_SECONDS = 5.0
"""The time to stop a server that did not start in time."""


class McpSkill(ForkAware, Skill):
    """The tools of one MCP server.

    Args:
        server: the server.
        restart_seconds: see `RESTART_SECONDS`.
    """

    def __init__(
        self, server: McpServer, *, restart_seconds: Sequence[float] = RESTART_SECONDS
    ) -> None:
        super().__init__(server.name, description=f"the MCP server {one_line(server.name)}")
        self.open_seconds = server.start_seconds + _CLOSING_SECONDS
        self.server = server
        self._restart_seconds = tuple(restart_seconds)
        self._offered: list[Tool] = []
        self._duplicates: list[str] = []
        self._connection: Connection | None = None
        self._start_lock = asyncio.Lock()
        self._failures = 0
        self._closed = False
        register(self)

    def after_fork_in_child(self) -> None:
        """Start a server of this process on the next use; the running one is the parent's."""
        keep_forever(self._connection)
        self._connection, self._start_lock = None, asyncio.Lock()

    @property
    def excluded_tools(self) -> Sequence[str]:
        """One line for each tool of the server that is not offered, with the reason."""
        connection = self._connection
        found = [*(connection.log.excluded if connection else ()), *self._duplicates]
        lines = [
            f"MCP server {self.name}: tool not available: {line}"
            for line in found[:_MAX_EXCLUDED_LINES]
        ]
        if more := len(found) - len(lines):
            lines.append(f"MCP server {self.name}: {more} more tools not available")
        return lines

    @property
    def details(self) -> Sequence[str]:
        """The last lines that the server wrote to stderr."""
        return list(self._connection.log.errors) if self._connection else []

    async def open(self, store: SessionStore | None) -> Sequence[Tool]:
        """Start the server and return its tools, in a list that is updated when the server changes them.

        Raises:
            OmniAgentError: the server cannot be started, or does not respond in time.
        """
        del store
        self._closed = False
        await self._connected()
        return self._offered

    async def aclose(self) -> None:
        """Stop the server and its child processes."""
        self._closed = True
        if self._connection is not None:
            await self._connection.close()

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool by its original name; cancelling cancels the request and leaves the server running."""
        connection = await self._connected()
        try:
            return await connection.call(name, arguments)
        finally:
            if connection.alive:
                self._failures = 0

    async def _connected(self) -> Connection:
        """Return the connection, a new one if the last has ended."""
        async with self._start_lock:
            if self._connection is not None:
                if self._connection.alive:
                    return self._connection
                await self._connection.close()
                await self._wait_before_start()
            if self._closed:
                raise AgentError(f"the MCP server {self.name!r} was closed")
            connection = self._connection = _connection(self.server, self._update_tools)
            await connection.start()
            self._update_tools()
            return connection

    async def _wait_before_start(self) -> None:
        if self._failures >= len(self._restart_seconds):
            raise AgentError(
                f"the MCP server {self.name!r} ended {self._failures} times without a response and will not be"
                " restarted; check its settings"
            )
        self._failures += 1
        await asyncio.sleep(self._restart_seconds[self._failures - 1])

    def _update_tools(self) -> None:
        """Update the offered tools from the server's list."""
        if self._connection is None:
            return
        tools: dict[str, Tool] = {}
        duplicates = []
        for listed in self._connection.tools:
            tool = self._tool(listed)
            if tool.name in tools:
                duplicates.append(f"{one_line(listed.name)}: duplicate name")
            tools.setdefault(tool.name, tool)
        self._duplicates = duplicates
        self._offered[:] = tools.values()

    def _tool(self, listed: Listed) -> Tool:
        own_name = listed.name

        async def run(**arguments: Any) -> str:
            return await self._call(own_name, arguments)

        return Tool(
            tool_name(self.server.name, own_name),
            listed.description or "",
            run,
            listed.input_schema,
            _effect(listed, trusted=self.server.trust_hints),
            self.server.call_seconds,
        )


def _effect(listed: Listed, *, trusted: bool) -> Effect:
    """Return the effect of a tool; its hint that it destroys is always believed, that it only reads only if trusted."""
    hints = listed.annotations
    if hints is not None and hints.destructive_hint:
        return "destroy"
    if hints is not None and hints.read_only_hint and trusted:
        return "read"
    return "write"


def _connection(server: McpServer, on_change: Callable[[], None]) -> Connection:
    try:
        from omniagent_cli.agent.mcp.connection import Connection
    except ImportError as error:
        raise AgentError(MISSING) from error
    return Connection(server, on_change)


MISSING = "MCP servers need the extra 'mcp': pip install 'omniagent-cli[mcp]'"


def mcp_skills(servers: Iterable[McpServer]) -> list[Skill]:
    """Return a skill for each server; if the extra is not installed, one skill that reports it for all of them."""
    from importlib.util import find_spec

    wanted = list(servers)
    if wanted and find_spec("mcp") is None:
        return [_MissingExtra("mcp", description=MISSING)]
    return [McpSkill(server) for server in wanted]


class _MissingExtra(Skill):
    """A skill that reports that the extra is not installed."""

    async def open(self, store: SessionStore | None) -> Sequence[Tool]:
        raise AgentError(MISSING)
