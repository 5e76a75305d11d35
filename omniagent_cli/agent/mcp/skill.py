"""A server as a skill: started when it is needed, and again when it has ended."""

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
"""How long to wait before each start after an end, when no call was answered in between; then it is left alone."""


_MAX_EXCLUDED_LINES = 8
"""So many tools that are left out are told one by one."""

_CLOSING_SECONDS = 5.0
"""Until a server that did not start in time has been ended."""


class McpSkill(ForkAware, Skill):
    """The tools of one MCP server.

    Args:
        server: which.
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
        """What of the server's tools is not offered, and why, a line each."""
        connection = self._connection
        found = [*(connection.log.excluded if connection else ()), *self._duplicates]
        told = [
            f"a tool of the MCP server {self.name} is left out: {line}"
            for line in found[:_MAX_EXCLUDED_LINES]
        ]
        if more := len(found) - len(told):
            told.append(f"{more} more tools of the MCP server {self.name} are left out")
        return told

    @property
    def details(self) -> Sequence[str]:
        """The last lines the server wrote to stderr."""
        return list(self._connection.log.errors) if self._connection else []

    async def open(self, store: SessionStore | None) -> Sequence[Tool]:
        """Start the server and return its tools, in a list that follows when the server changes them.

        Raises:
            OmniAgentError: the server cannot be started, or does not answer in time.
        """
        del store
        self._closed = False
        await self._connected()
        return self._offered

    async def aclose(self) -> None:
        """End the server and what it started."""
        self._closed = True
        if self._connection is not None:
            await self._connection.close()

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool by the server's own name for it; cancelling tells the server and leaves it running."""
        connection = await self._connected()
        try:
            return await connection.call(name, arguments)
        finally:
            if connection.alive:
                self._failures = 0

    async def _connected(self) -> Connection:
        """Return the connection, a new one when the last has ended."""
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
                f"the MCP server {self.name!r} ended {self._failures} times without an answer and is not started"
                " again in this run; look at its settings"
            )
        self._failures += 1
        await asyncio.sleep(self._restart_seconds[self._failures - 1])

    def _update_tools(self) -> None:
        """Take over what the server lists now."""
        if self._connection is None:
            return
        tools: dict[str, Tool] = {}
        duplicates = []
        for listed in self._connection.tools:
            tool = self._tool(listed)
            if tool.name in tools:
                duplicates.append(f"{one_line(listed.name)}: there are two tools of this name")
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
    """Say what a tool does. A server's word that it harms is taken; that it does not, only when it is trusted."""
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
    """Return a skill for each server; without the extra one that says so, once for all of them."""
    from importlib.util import find_spec

    wanted = list(servers)
    if wanted and find_spec("mcp") is None:
        return [_MissingExtra("mcp", description=MISSING)]
    return [McpSkill(server) for server in wanted]


class _MissingExtra(Skill):
    """Stands for the servers when the extra is not there."""

    async def open(self, store: SessionStore | None) -> Sequence[Tool]:
        raise AgentError(MISSING)
