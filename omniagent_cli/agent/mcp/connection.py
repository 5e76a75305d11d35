"""One life of a server: from its start to its end, in a task of its own.

The SDK's client has to be entered and left in the same task; calls may come from any other task of the same loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar

from mcp import Client, MCPError
from mcp.types import (
    CONNECTION_CLOSED,
    Implementation,
    Tool,
    ToolListChangedNotification,
)
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from omniagent_cli._version import __version__
from omniagent_cli.agent.mcp.http_transport import website
from omniagent_cli.agent.mcp.message_filter import Exit, Gate
from omniagent_cli.agent.mcp.results import text_of
from omniagent_cli.agent.mcp.server import McpServer
from omniagent_cli.agent.mcp.server_log import Diary
from omniagent_cli.agent.mcp.stdio_transport import program
from omniagent_cli.errors import AgentError, OmniAgentError
from omniagent_cli.json_format import dump
from omniagent_cli.text.sanitize import cut, one_line

MAX_TOOLS = 256
"""More than any model takes."""

_MAX_PAGES = 50
_REFRESH_SECONDS = 0.2
_WHY_LENGTH = 500

# What the SDK says when the connection is gone, and when an HTTP server does not know us any more.
_CLOSED = "Connection closed"
_FORGOTTEN = "Session terminated"

T = TypeVar("T")


class Connection:
    """A server that is being started, runs, or has ended; never started twice.

    Args:
        server: which.
        changed: called when its list of tools is another one.
    """

    def __init__(self, server: McpServer, changed: Callable[[], None]) -> None:
        self.tools: list[Tool] = []
        self.diary = Diary()
        self._server = server
        self._told_changed = changed
        self._ended = asyncio.Event()
        self._stale = asyncio.Event()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client: Client | None = None
        self._life: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[Any]] = set()

    @property
    def alive(self) -> bool:
        """Whether calls can be answered."""
        return self._client is not None and not self._ended.is_set()

    async def start(self) -> None:
        """Start the server and learn its tools.

        Raises:
            OmniAgentError: it cannot be started, or does not answer in time; the text says what it said last.
        """
        self._life = asyncio.create_task(self._live())
        try:
            await asyncio.shield(self._started)
        except asyncio.CancelledError:
            await self.close()
            raise

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool and return its answer as text; cancelling it tells the server.

        Raises:
            OmniAgentError: the tool failed, or the server did; the text is for the model.
        """
        if self._client is None:
            raise AgentError(self._why("is not running"))
        try:
            result = await self._asked(self._client.call_tool(name, _sendable(arguments)))
        except MCPError as error:
            raise await self._failure(error) from error
        except ValidationError as error:
            raise AgentError(
                f"the MCP server {self._server.name!r} gave an answer that is not MCP"
            ) from error
        except RuntimeError as error:  # the SDK's word for results that break the protocol
            raise AgentError(_shown(f"{self._server.name}: {error}")) from error
        text = text_of(result)
        if result.is_error:
            raise AgentError(text or "the tool failed and did not say why")
        return text

    async def close(self) -> None:
        """End the server."""
        self._ended.set()
        if self._life is None:
            return
        if not self._started.done():
            self._life.cancel()
        await asyncio.wait([self._life, *self._asking])

    async def _asked(self, asking: Coroutine[Any, Any, T]) -> T:
        """Wait for an answer; who stops waiting is not held up while the server is told, which it may not hear."""
        task = asyncio.create_task(asking)
        self._asking.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, in case nobody waits any more

    async def _failure(self, error: MCPError) -> AgentError:
        """Say what an error that stands for an answer means."""
        if error.message == _FORGOTTEN:
            self._ended.set()
        if (error.code, error.message) != (CONNECTION_CLOSED, _CLOSED):
            return AgentError(_shown(f"{self._server.name}: {error.message}"))
        self._ended.set()
        if self._life is not None:  # until it is known how it ended
            await asyncio.wait([self._life])
        return AgentError(
            self._why("ended before it answered; whether it did what was asked is not known")
        )

    async def _live(self) -> None:
        try:
            await self._talk(_transport(self._server, self.diary, self._ended.set))
        except asyncio.CancelledError:
            self._fail(AgentError(self._why("was stopped while it started")))
        except OmniAgentError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  # a server and two libraries fail as groups of anything; it is told
            reason = _reason(error, self._server)
            told = f"could not be started: {reason}" if reason else "could not be started"
            self._fail(AgentError(self._why(told)))
            self.diary.end = self.diary.end or reason
        finally:
            self._client = None
            self._ended.set()

    async def _talk(self, transport: Any) -> None:
        client = Client(
            transport,
            client_info=Implementation(name="omniagent", version=__version__),
            message_handler=self._heard,
            cache=None,
        )
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self._server.start_seconds):
                await stack.enter_async_context(client)
                self.tools = await _listed(client)
            self._client = client
            self._started.set_result(None)
            async with _beside(self._watch(client), self._refresh(client)):
                await self._ended.wait()

    async def _heard(self, message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._stale.set()

    async def _watch(self, client: Client) -> None:
        """Ask a server of the newer protocol to say when its tools change; an older one says so unasked."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (
            tools and tools.list_changed
        ):
            return
        # One that refuses is asked no more: its tools stay as they are.
        with suppress(MCPError, RuntimeError, TimeoutError):
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    self._stale.set()

    async def _refresh(self, client: Client) -> None:
        """Learn the tools again when they change, at most some times a second however often that is."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            with suppress(MCPError, ValidationError):
                self.tools = await _listed(client)
                self._told_changed()
            await asyncio.sleep(_REFRESH_SECONDS)

    def _fail(self, error: OmniAgentError) -> None:
        if not self._started.done():
            self._started.set_exception(error)
            self._started.exception()  # it is looked at here, in case nobody waits any more

    def _why(self, what: str) -> str:
        words = self.diary.last_words()
        return _shown(
            f"the MCP server {self._server.name!r} {what}" + (f": {words}" if words else "")
        )


@asynccontextmanager
async def _transport(
    server: McpServer, diary: Diary, ended: Callable[[], None]
) -> AsyncGenerator[Any, None]:
    """Yield the streams that the SDK's client talks through."""
    wanted = server.filled(os.environ)
    if wanted.url is None:
        streams = program(wanted.argv, wanted.env, diary, ended)
    else:
        streams = website(wanted.url, wanted.headers, diary)
    # The SDK tells its log what servers do wrong, and what nobody listens to is printed on the terminal.
    for name in ("mcp", "client"):
        log = logging.getLogger(name)
        if not log.handlers:
            log.addHandler(logging.NullHandler())
    async with streams as (read, write):
        gate = Gate(read, diary)
        yield gate, Exit(write, gate)


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
    """Run tasks as long as the body does."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listed(client: Client) -> list[Tool]:
    """Return the tools, of endless lists the first ones."""
    tools: list[Tool] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None or len(tools) >= MAX_TOOLS:
            break
    return tools[:MAX_TOOLS]


def _sendable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments without half characters, which no transport can send.

    Raises:
        InvalidRecord: they are nested too deeply.
    """
    dump(dict(arguments))
    text = json.dumps(dict(arguments), ensure_ascii=False)
    sendable: dict[str, Any] = json.loads(text.encode("utf-8", "replace"))
    return sendable


def _reason(error: BaseException, server: McpServer) -> str:
    """Say in a few words what an error of the libraries means for the person, unless what is told anyway says it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"it did not answer within {server.start_seconds:g} s"
    if isinstance(error, FileNotFoundError) and server.argv:
        return f"there is no program {server.argv[0]!r}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, ValidationError):
        return "its answer is not MCP"
    if isinstance(error, MCPError) and error.message == _CLOSED and server.argv:
        return ""  # how it ended says more
    return str(error) or type(error).__name__


def _shown(text: str) -> str:
    return cut(one_line(text), _WHY_LENGTH)
