"""A server as a skill: started when it is needed, and again when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from omniagent_cli.agent.background import Background
from omniagent_cli.agent.mcp.naming import tool_name
from omniagent_cli.agent.mcp.server import McpServer
from omniagent_cli.agent.skills import Skill
from omniagent_cli.agent.tools import Effect, Tool
from omniagent_cli.errors import AgentError, OmniAgentError
from omniagent_cli.text import one_line

if TYPE_CHECKING:
    from mcp.types import Tool as Listed

    from omniagent_cli.agent.mcp.connection import Connection
    from omniagent_cli.stores.base import SessionStore

RESTART_SECONDS = (0.0, 1.0, 5.0, 15.0)
"""How long to wait before each start after an end, when no call was answered in between; then it is left alone."""

T = TypeVar("T")


class McpSkill(Skill):
    """The tools of one MCP server.

    The server lives in a thread and loop of its own, so that any number of other loops, one after the other, can
    call it: the agent's, the prompt's, or those of `asyncio.run`.

    Args:
        server: which.
        restart_seconds: see `RESTART_SECONDS`.
    """

    def __init__(
        self, server: McpServer, *, restart_seconds: Sequence[float] = RESTART_SECONDS
    ) -> None:
        super().__init__(server.name, description=f"the MCP server {one_line(server.name)}")
        self.server = server
        self._restart_seconds = tuple(restart_seconds)
        self._offered: list[Tool] = []
        self._duplicates: list[str] = []
        self._background = Background()
        self._opening: asyncio.Task[Connection] | None = None
        self._begun = False
        self._connection: Connection | None = None
        self._one_start = asyncio.Lock()
        self._ends = 0

    # For the person.

    @property
    def left_out(self) -> list[str]:
        """What of the server's tools is not offered, and why, a line each."""
        connection = self._connection
        return [*(connection.diary.left_out if connection else ()), *self._duplicates]

    @property
    def last_errors(self) -> list[str]:
        """The last lines the server wrote to stderr."""
        return list(self._connection.diary.errors) if self._connection else []

    # For the agent.

    def begin(self) -> None:
        """Start the server without waiting for it; `open` then has less to wait for."""
        self._begun = True
        self._background.submit(self._start())

    async def open(self, store: SessionStore | None) -> Sequence[Tool]:
        """Start the server and return its tools, in a list that follows when the server changes them.

        Who stops waiting does not stop the start: the next turn finds it done.

        Raises:
            OmniAgentError: the server cannot be started, or does not answer in time.
        """
        del store
        self._begun = True
        await self._there(self._open())
        return self._offered

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool by the server's own name for it; cancelling tells the server and leaves it running.

        Raises:
            OmniAgentError: the tool or the server failed; the text is for the model.
        """
        return await self._there(self._call(name, arguments))

    async def aclose(self) -> None:
        """End the server and what it started."""
        if self._begun:
            self._begun = False
            await self._there(self._close())
        self._background.close()

    # In the server's own loop.

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(self._background.submit(work))

    async def _start(self) -> asyncio.Task[Connection]:
        if self._opening is None:
            self._opening = asyncio.create_task(self._running())
            # Looked at here, in case nobody waits for it.
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._opening

    async def _open(self) -> None:
        opening = await self._start()
        try:
            await asyncio.shield(opening)
        except OmniAgentError:
            self._opening = None
            raise

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        connection = await self._running()
        try:
            return await connection.call(name, arguments)
        finally:
            if connection.alive:
                self._ends = 0

    async def _running(self) -> Connection:
        """Return the connection, a new one when the last has ended."""
        async with self._one_start:
            if self._connection is not None:
                if self._connection.alive:
                    return self._connection
                await self._connection.close()
                await self._wait_before_start()
            connection = self._connection = _connection(self.server, self._learn)
            await connection.start()
            self._learn()
            return connection

    async def _wait_before_start(self) -> None:
        if self._ends >= len(self._restart_seconds):
            raise AgentError(
                f"the MCP server {self.name!r} ended {self._ends} times without an answer and is not started"
                " again in this run; look at its settings"
            )
        self._ends += 1
        await asyncio.sleep(self._restart_seconds[self._ends - 1])

    async def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        async with self._one_start:
            if self._connection is not None:
                await self._connection.close()

    def _learn(self) -> None:
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
            return await self.call(own_name, arguments)

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


def _connection(server: McpServer, changed: Callable[[], None]) -> Connection:
    try:
        from omniagent_cli.agent.mcp.connection import Connection
    except ImportError as error:
        raise AgentError(MISSING) from error
    return Connection(server, changed)


MISSING = "MCP servers need the extra 'mcp': pip install 'omniagent-cli[mcp]'"


def mcp_skills(servers: Iterable[McpServer]) -> list[Skill]:
    """Return a skill for each server; without the extra one that says so, once for all of them."""
    from importlib.util import find_spec

    wanted = list(servers)
    if wanted and find_spec("mcp") is None:
        return [_Missing("mcp", description=MISSING)]
    return [McpSkill(server) for server in wanted]


class _Missing(Skill):
    """Stands for the servers when the extra is not there."""

    async def open(self, store: SessionStore | None) -> Sequence[Tool]:
        raise AgentError(MISSING)
