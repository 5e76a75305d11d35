"""The connection to a server, which runs in a dedicated task.

The SDK's client has to be entered and exited in the same task; calls may come from any other task of the same loop.
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
"""The maximum number of tools, more than any model accepts."""

_MAX_PAGES = 50
_REFRESH_SECONDS = 0.2
_MESSAGE_LENGTH = 500

# Messages of the SDK: the connection is closed; the HTTP server does not know the session any more.
_CLOSED_MESSAGE = "Connection closed"
_UNKNOWN_SESSION_MESSAGE = "Session terminated"

T = TypeVar("T")


class Connection:
    """A connection that is starting, open or closed; it is never reopened.

    Args:
        server: the server.
        on_change: called when the list of tools has changed.
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
        """True if calls can be answered."""
        return self._client is not None and not self._ended.is_set()

    async def start(self) -> None:
        """Start the server and list its tools.

        Raises:
            OmniAgentError: it cannot be started, or does not respond in time; the message has its last output.
        """
        self._task = asyncio.create_task(self._run())
        try:
            await asyncio.shield(self._started)
        except asyncio.CancelledError:
            await self.close()
            raise

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool and return its result as text; cancelling the call cancels the request.

        Raises:
            OmniAgentError: the tool or the server failed; the message is for the model.
        """
        if self._client is None:
            raise AgentError(self._describe("is not running"))
        try:
            result = await self._request(self._client.call_tool(name, _encodable(arguments)))
        except MCPError as error:
            raise await self._failure(error) from error
        except ValidationError as error:
            raise AgentError(
                f"the MCP server {self._server.name!r} sent an invalid response"
            ) from error
        except RuntimeError as error:  # the SDK raises it for results that violate the protocol
            raise AgentError(_clip(f"{self._server.name}: {error}")) from error
        text = result_text(result)
        if result.is_error:
            raise AgentError(text or "the tool failed without a message")
        return text

    async def close(self) -> None:
        """Stop the server."""
        self._ended.set()
        if self._task is None:
            return
        if not self._started.done():
            self._task.cancel()
        await asyncio.wait([self._task, *self._requests])

    async def _request(self, request: Coroutine[Any, Any, T]) -> T:
        """Wait for a response; on cancellation, return immediately and notify the server in the background."""
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
            task.exception()  # retrieved, so that asyncio does not log it

    async def _failure(self, error: MCPError) -> AgentError:
        """Describe a JSON-RPC error response."""
        if error.message == _UNKNOWN_SESSION_MESSAGE:
            self._ended.set()
        if (error.code, error.message) != (CONNECTION_CLOSED, _CLOSED_MESSAGE):
            return AgentError(_clip(f"{self._server.name}: {error.message}"))
        self._ended.set()
        if self._task is not None:  # so that the exit status is known
            await asyncio.wait([self._task])
        return AgentError(self._describe("ended before it answered; the call may have run"))

    async def _run(self) -> None:
        try:
            await self._run_session(_transport(self._server, self.log, self._ended.set))
        except asyncio.CancelledError:
            self._fail(AgentError(self._describe("was stopped during startup")))
        except OmniAgentError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  # the SDK raises exception groups of any kind; all are reported
            reason = _reason(error, self._server)
            text = f"could not be started: {reason}" if reason else "could not be started"
            self._fail(AgentError(self._describe(text)))
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
        """Subscribe to tool list changes on a server of the newer protocol; older ones send notifications unsolicited."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (
            tools and tools.list_changed
        ):
            return
        # If the server refuses, its tools are never refreshed.
        with suppress(MCPError, RuntimeError, TimeoutError):
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    self._stale.set()

    async def _refresh(self, client: Client) -> None:
        """List the tools again after a change, at most every `_REFRESH_SECONDS`."""
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
            self._started.exception()  # retrieved, so that asyncio does not log it

    def _describe(self, what: str) -> str:
        words = self.log.failure_detail()
        return _clip(
            f"the MCP server {self._server.name!r} {what}" + (f": {words}" if words else "")
        )


@asynccontextmanager
async def _transport(
    server: McpServer, log: ServerLog, ended: Callable[[], None]
) -> AsyncGenerator[Any, None]:
    """Yield the message streams for the SDK's client."""
    expanded = server.expand_variables(os.environ)
    if expanded.url is None:
        streams = stdio_streams(expanded.argv, expanded.env, log, ended)
    else:
        streams = http_streams(expanded.url, expanded.headers, log)
    # The SDK logs protocol errors, and without a handler they would be printed to the terminal.
    for name in ("mcp", "client"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    async with streams as (read, write):
        message_filter = MessageFilter(read, log)
        yield message_filter, ResponseTracker(write, message_filter)


@asynccontextmanager
async def _background_tasks(*work: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
    """Run tasks for the duration of the body."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _list_tools(client: Client) -> list[Tool]:
    """Return the tools, at most `MAX_TOOLS`, because a server may send an endless list."""
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
    """Return the arguments with lone surrogates replaced, which no transport can encode.

    Raises:
        InvalidRecord: the arguments are nested too deeply.
    """
    dump(dict(arguments))
    text = json.dumps(dict(arguments), ensure_ascii=False)
    encodable: dict[str, Any] = json.loads(text.encode("utf-8", "replace"))
    return encodable


def _reason(error: BaseException, server: McpServer) -> str:
    """Describe an error of the SDK in a few words; empty if the exit status says more."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"no response within {server.start_seconds:g} s"
    if isinstance(error, FileNotFoundError) and server.argv:
        return f"program not found: {server.argv[0]!r}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, ValidationError):
        return "invalid response"
    if isinstance(error, MCPError) and error.message == _CLOSED_MESSAGE and server.argv:
        return ""  # the exit status says more
    return str(error) or type(error).__name__


def _clip(text: str) -> str:
    return cut(one_line(text), _MESSAGE_LENGTH)
