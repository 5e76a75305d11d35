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
from omniagent_cli.agent.mcp.http_transport import http_streams
from omniagent_cli.agent.mcp.message_filter import MessageFilter, ResponseTracker
from omniagent_cli.agent.mcp.results import result_text
from omniagent_cli.agent.mcp.server import McpServer
from omniagent_cli.agent.mcp.server_log import ServerLog
from omniagent_cli.agent.mcp.stdio_transport import stdio_streams
from omniagent_cli.errors import AgentError, OmniAgentError
from omniagent_cli.json_format import dump
from omniagent_cli.text.sanitize import cut, one_line

MAX_TOOLS = 256
"""More than any model takes."""

_MAX_PAGES = 50
_REFRESH_SECONDS = 0.2
_MESSAGE_LENGTH = 500

# What the SDK says when the connection is gone, and when an HTTP server does not know us any more.
_CLOSED_MESSAGE = "Connection closed"
_UNKNOWN_SESSION_MESSAGE = "Session terminated"

T = TypeVar("T")


class Connection:
    """A server that is being started, runs, or has ended; never started twice.

    Args:
        server: which.
        on_change: called when its list of tools is another one.
    """

    def __init__(self, server: McpServer, on_change: Callable[[], None]) -> None:
        self.tools: list[Tool] = []
        self.log = ServerLog()
        self._server = server
        self._on_change = on_change
        self._ended = asyncio.Event()
        self._stale = asyncio.Event()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._requests: set[asyncio.Task[Any]] = set()

    @property
    def alive(self) -> bool:
        """Whether calls can be answered."""
        return self._client is not None and not self._ended.is_set()

    async def start(self) -> None:
        """Start the server and learn its tools.

        Raises:
            OmniAgentError: it cannot be started, or does not answer in time; the text says what it said last.
        """
        self._task = asyncio.create_task(self._run())
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
            raise AgentError(self._describe("is not running"))
        try:
            result = await self._request(self._client.call_tool(name, _encodable(arguments)))
        except MCPError as error:
            raise await self._failure(error) from error
        except ValidationError as error:
            raise AgentError(
                f"the MCP server {self._server.name!r} gave an answer that is not MCP"
            ) from error
        except RuntimeError as error:  # the SDK's word for results that break the protocol
            raise AgentError(_clip(f"{self._server.name}: {error}")) from error
        text = result_text(result)
        if result.is_error:
            raise AgentError(text or "the tool failed and did not say why")
        return text

    async def close(self) -> None:
        """End the server."""
        self._ended.set()
        if self._task is None:
            return
        if not self._started.done():
            self._task.cancel()
        await asyncio.wait([self._task, *self._requests])

    async def _request(self, request: Coroutine[Any, Any, T]) -> T:
        """Wait for an answer; who stops waiting is not held up while the server is told, which it may not hear."""
        task = asyncio.create_task(request)
        self._requests.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._requests.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, in case nobody waits any more

    async def _failure(self, error: MCPError) -> AgentError:
        """Say what an error that stands for an answer means."""
        if error.message == _UNKNOWN_SESSION_MESSAGE:
            self._ended.set()
        if (error.code, error.message) != (CONNECTION_CLOSED, _CLOSED_MESSAGE):
            return AgentError(_clip(f"{self._server.name}: {error.message}"))
        self._ended.set()
        if self._task is not None:  # until it is known how it ended
            await asyncio.wait([self._task])
        return AgentError(
            self._describe("ended before it answered; whether it did what was asked is not known")
        )

    async def _run(self) -> None:
        try:
            await self._run_session(_transport(self._server, self.log, self._ended.set))
        except asyncio.CancelledError:
            self._fail(AgentError(self._describe("was stopped while it started")))
        except OmniAgentError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  # a server and two libraries fail as groups of anything; it is told
            reason = _reason(error, self._server)
            told = f"could not be started: {reason}" if reason else "could not be started"
            self._fail(AgentError(self._describe(told)))
            self.log.end = self.log.end or reason
        finally:
            self._client = None
            self._ended.set()

    async def _run_session(self, transport: Any) -> None:
        client = Client(
            transport,
            client_info=Implementation(name="omniagent", version=__version__),
            message_handler=self._on_message,
            cache=None,
        )
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self._server.start_seconds):
                await stack.enter_async_context(client)
                self.tools = await _list_tools(client)
            self._client = client
            self._started.set_result(None)
            async with _background_tasks(self._watch_tools(client), self._refresh(client)):
                await self._ended.wait()

    async def _on_message(self, message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._stale.set()

    async def _watch_tools(self, client: Client) -> None:
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
                self.tools = await _list_tools(client)
                self._on_change()
            await asyncio.sleep(_REFRESH_SECONDS)

    def _fail(self, error: OmniAgentError) -> None:
        if not self._started.done():
            self._started.set_exception(error)
            self._started.exception()  # it is looked at here, in case nobody waits any more

    def _describe(self, what: str) -> str:
        words = self.log.failure_detail()
        return _clip(
            f"the MCP server {self._server.name!r} {what}" + (f": {words}" if words else "")
        )


@asynccontextmanager
async def _transport(
    server: McpServer, log: ServerLog, ended: Callable[[], None]
) -> AsyncGenerator[Any, None]:
    """Yield the streams that the SDK's client talks through."""
    wanted = server.expand_variables(os.environ)
    if wanted.url is None:
        streams = stdio_streams(wanted.argv, wanted.env, log, ended)
    else:
        streams = http_streams(wanted.url, wanted.headers, log)
    # The SDK tells its log what servers do wrong, and what nobody listens to is printed on the terminal.
    for name in ("mcp", "client"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    async with streams as (read, write):
        message_filter = MessageFilter(read, log)
        yield message_filter, ResponseTracker(write, message_filter)


@asynccontextmanager
async def _background_tasks(*work: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
    """Run tasks as long as the body does."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _list_tools(client: Client) -> list[Tool]:
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


def _encodable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments without half characters, which no transport can send.

    Raises:
        InvalidRecord: they are nested too deeply.
    """
    dump(dict(arguments))
    text = json.dumps(dict(arguments), ensure_ascii=False)
    encodable: dict[str, Any] = json.loads(text.encode("utf-8", "replace"))
    return encodable


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
    if isinstance(error, MCPError) and error.message == _CLOSED_MESSAGE and server.argv:
        return ""  # how it ended says more
    return str(error) or type(error).__name__


def _clip(text: str) -> str:
    return cut(one_line(text), _MESSAGE_LENGTH)
