"""The stdio transport: messages are lines on the stdin and stdout of a program.

The SDK's own transport is not used, because it buffers lines of any length, passes stderr to the terminal and logs
invalid lines. See https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import signal
import time
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError
from mcp.types.jsonrpc import jsonrpc_message_adapter

from omniagent_cli.agent.mcp.orphan_guard import OrphanGuard
from omniagent_cli.agent.mcp.server_log import EDGE_BYTES, LineSplitter, ServerLog, TruncatedLine

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The maximum message size: room for a picture or a large file, and a bound on memory."""

MESSAGE_REJECTED = -32000
"""The code of the error response that replaces a response which cannot be accepted."""

_CHUNK = 65536
_ERROR_LINE_BYTES = 2000
_EXIT_SECONDS = 1.0
_KILL_SECONDS = 1.0
_FLUSH_SECONDS = 0.5
_POLL_SECONDS = 0.01

# Servers write the id of a response after the version or at the very end.
_ID_AT_HEAD = re.compile(rb'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,9})\s*,')
_ID_AT_TAIL = re.compile(rb'.*[,{]\s*"id"\s*:\s*(\d{1,9})\s*\}\s*$', re.DOTALL)


@asynccontextmanager
async def stdio_streams(
    argv: Sequence[str], env: Mapping[str, str], log: ServerLog, ended: Callable[[], None]
) -> AsyncGenerator[tuple[Any, Any], None]:
    """Run a server and yield its message streams; leaving the context stops it and its child processes.

    The server gets the few variables that programs need (PATH, HOME and similar) and `env`, but not the API keys in the
    environment. It runs in a session of its own, so that Ctrl-C in the terminal does not reach it.

    Args:
        argv: program and arguments.
        env: additional variables.
        log: records its other output.
        ended: called when its stdout has ended.

    Raises:
        OSError: the program cannot be run.
        ValueError: the program name or an argument contains a NUL.
    """
    transport, process = await _spawn(argv, {**get_default_environment(), **env})
    # For a host program that exits without closing the agent: a server may ignore the end of its stdin.
    at_exit = partial(_end_now, process.pid, os.getpid())
    atexit.register(at_exit)
    guard = OrphanGuard(process.pid)
    arriving, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, leaving = anyio.create_memory_object_stream[SessionMessage](0)
    writer = asyncio.create_task(_write(process, leaving, arriving))
    readers = [
        asyncio.create_task(_read(process, arriving, log, ended)),
        asyncio.create_task(_collect_errors(process, log)),
    ]
    try:
        yield read, write
    finally:
        write.close()
        read.close()
        # A task of its own, so that cancelling the cleanup does not leave the program running.
        await asyncio.shield(asyncio.create_task(_close(process, transport, writer, readers)))
        atexit.unregister(at_exit)
        guard.end()
        log.end = _describe_end(process)


async def _spawn(
    argv: Sequence[str], env: Mapping[str, str]
) -> tuple[asyncio.SubprocessTransport, Process]:
    # Like asyncio.create_subprocess_exec, but with access to the transport: a grandchild that holds a pipe would
    # keep it open forever.
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: SubprocessStreamProtocol(limit=_CHUNK, loop=loop),
        *argv,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=dict(env),
        start_new_session=True,
    )
    return transport, Process(transport, protocol, loop)


async def _read(
    process: Process,
    arriving: MemoryObjectSendStream[SessionMessage | Exception],
    log: ServerLog,
    ended: Callable[[], None],
) -> None:
    """Pass on incoming messages one at a time, so that a server which floods is throttled."""
    assert process.stdout is not None  # noqa: S101  # created with pipes
    lines = LineSplitter(MAX_MESSAGE_BYTES)
    try:
        async with arriving:
            while data := await process.stdout.read(_CHUNK):
                for line in lines.feed(data):
                    if message := _parse_line(line, log):
                        await arriving.send(message)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        # The session is closed. Further output is discarded, because a program that cannot write does not exit.
        while await process.stdout.read(_CHUNK):
            pass
    except _OversizedMessage as error:
        log.add_stray_line(str(error).encode())
    finally:
        ended()


class _OversizedMessage(Exception):
    """A message is too large and its id was not found, so that no request can be failed."""


def _parse_line(line: bytes | TruncatedLine, log: ServerLog) -> SessionMessage | None:
    """Parse a line; a response that cannot be accepted becomes an error response, so that its request does not hang."""
    if isinstance(line, TruncatedLine):
        limit = f"more than {MAX_MESSAGE_BYTES >> 20} MiB in one message"
        error = _error_response(line, f"the response is too large: {limit}")
        if error is None:
            raise _OversizedMessage(limit)
        return error
    if not line.strip():
        return None
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        log.add_stray_line(line)
        edges = TruncatedLine(line[:EDGE_BYTES], line[-EDGE_BYTES:])
        return _error_response(edges, "the response is malformed or nested too deeply")


def _error_response(line: TruncatedLine, message: str) -> SessionMessage | None:
    found = _ID_AT_HEAD.match(line.head) or _ID_AT_TAIL.match(line.tail)
    if found is None:
        return None
    error = ErrorData(code=MESSAGE_REJECTED, message=message)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=error))


async def _collect_errors(process: Process, log: ServerLog) -> None:
    """Record the last lines of stderr."""
    assert process.stderr is not None  # noqa: S101  # created with pipes
    lines = LineSplitter(_ERROR_LINE_BYTES)
    while data := await process.stderr.read(_CHUNK):
        for line in lines.feed(data):
            log.add_error_line(line.head if isinstance(line, TruncatedLine) else line)
    rest = lines.rest()
    log.add_error_line(rest.head if isinstance(rest, TruncatedLine) else rest)


async def _write(
    process: Process,
    leaving: MemoryObjectReceiveStream[SessionMessage],
    arriving: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    assert process.stdin is not None  # noqa: S101  # created with pipes
    try:
        async with leaving:
            async for item in leaving:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode("utf-8", "replace") + b"\n")
                await process.stdin.drain()
    except OSError:
        # The server reads no more; pending requests fail with a closed connection.
        arriving.close()


async def _close(
    process: Process,
    transport: asyncio.SubprocessTransport,
    writer: asyncio.Task[None],
    readers: Sequence[asyncio.Task[None]],
) -> None:
    """Stop the program as the protocol prescribes: close its stdin, then SIGTERM, then SIGKILL, with its child processes."""
    assert process.stdin is not None  # noqa: S101  # created with pipes
    await asyncio.wait([writer], timeout=_FLUSH_SECONDS)
    writer.cancel()
    process.stdin.close()
    await _wait_until(_EXIT_SECONDS, lambda: process.returncode is not None)
    _signal(process.pid, signal.SIGTERM)
    if not await _wait_until(_KILL_SECONDS, lambda: not _signal(process.pid, 0)):
        _signal(process.pid, signal.SIGKILL)
        await _wait_until(_KILL_SECONDS, lambda: process.returncode is not None)
    # Its last output, unless another process still holds the pipes.
    await asyncio.wait(readers, timeout=_FLUSH_SECONDS)
    for task in readers:
        task.cancel()
    transport.close()
    await asyncio.gather(writer, *readers, return_exceptions=True)


async def _wait_until(seconds: float, done: Callable[[], bool]) -> bool:
    """Wait until a condition holds; return False after the timeout.

    Polls, because `Process.wait` also waits for pipes that a grandchild may hold.
    """
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def _signal(group: int, number: int) -> bool:
    """Send a signal to the process group; return False if it does not exist."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # the remaining process belongs to another user, or is not reaped yet
        return True
    return True


def _end_now(group: int, owner: int) -> None:
    """Stop a server at the exit of a host program that did not close it."""
    if os.getpid() != owner or not _signal(group, signal.SIGTERM):
        return
    end = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < end:
        with suppress(ChildProcessError):
            os.waitpid(group, os.WNOHANG)
        if not _signal(group, 0):
            return
        time.sleep(_POLL_SECONDS)
    _signal(group, signal.SIGKILL)


def _describe_end(process: Process) -> str:
    code = process.returncode
    if code is None:
        return "could not be stopped"
    if code < 0:
        return f"killed by signal {-code}"
    return f"exit code {code}"
