"""Line transport over stdin and stdout, in daemon threads that do not delay the end of the program.

The SDK's own reader waits in a thread that cannot be canceled, so that Ctrl-C would wait for the client's next message.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from omniagent_cli.errors import UsageError

MAX_LINE_BYTES = 16 << 20
"""Maximum bytes of a message; valid requests are far smaller."""

LAST_ANSWERS_SECONDS = 1.0
"""Seconds to wait for pending responses after the end of stdin; clients wait for twice as long."""

_WAITING = 64
_PIECE = 1 << 16
_TOO_LONG = (
    '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"the message is longer than'
    f' {MAX_LINE_BYTES >> 20} MiB"}}}}\n'
)


def check_streams() -> None:
    """Check that stdin and stdout are open; call it first, because a file opened later may reuse a closed descriptor.

    Raises:
        UsageError: stdin or stdout was closed when the program started.
    """
    if sys.__stdin__ is None or sys.__stdout__ is None:
        raise UsageError(
            "stdin and stdout must be open; a client starts this program and communicates through them"
        )


@contextmanager
def standard_streams() -> Iterator[tuple[int, int]]:
    """Reserve stdin and stdout for the protocol and restore them afterwards; other output goes to stderr.

    Raises:
        UsageError: one of them is closed.
    """
    check_streams()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    incoming, outgoing = _copy(0), _copy(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # stderr is closed
        os.dup2(nothing, 1)
    os.close(nothing)
    try:
        yield incoming, outgoing
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        # The copies stay open: a waiting thread must not find another file under its descriptor.
        os.dup2(incoming, 0)
        os.dup2(outgoing, 1)


def _copy(descriptor: int) -> int:
    """Return a copy that is not inherited by child processes and not a standard descriptor."""
    if sys.platform == "win32":
        return os.dup(descriptor)
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


class Outgoing:
    """Writer with a thread of its own; the SDK uses it as its asynchronous stdout.

    Attributes:
        error: the error after which nothing can be written.
        lines: the number of lines written.
        grown: an event that is set with each written line.
    """

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self.lines = 0
        self.grown = asyncio.Event()
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="omniagent-mcp-out", daemon=True).start()

    async def write(self, text: str) -> None:
        """Write a line and wait until it is written.

        Raises:
            OSError: the reader has closed the pipe, or the disk is full.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((text.encode("utf-8", "replace"), done))
        await done
        self.lines += 1
        self.grown.set()

    async def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def _work(self) -> None:
        with suppress(RuntimeError):  # the loop was closed: no caller waits
            while True:
                data, done = self._queue.get()
                error = self._put(data)
                self._loop.call_soon_threadsafe(_settle, done, error)

    def _put(self, data: bytes) -> OSError | None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            self.error = error
        return self.error


def _settle(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


class Incoming:
    """Reader with a thread of its own that reads ahead only a bounded number of lines; the SDK uses it as its stdin."""

    def __init__(self, descriptor: int, outgoing: Outgoing) -> None:
        self._descriptor = descriptor
        self._outgoing = outgoing
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._room = threading.Semaphore(_WAITING)
        self._requests = 0
        threading.Thread(target=self._work, name="omniagent-mcp-in", daemon=True).start()

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> str:
        while True:
            line = await self._lines.get()
            self._room.release()
            if line is None:
                await self._last_answers()
                raise StopAsyncIteration
            if line:
                self._count(line)
                return line
            self._requests += 1
            await self._outgoing.write(_TOO_LONG)

    def _count(self, line: str) -> None:
        """Count pending requests by scanning raw bytes; a miscount only delays shutdown by a second."""
        if '"method"' in line:
            self._requests += ('"id"' in line) - ('"notifications/cancelled"' in line)

    async def _last_answers(self) -> None:
        """Wait for pending responses: the SDK cancels all work at the end of input."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                while self._outgoing.lines < self._requests and self._outgoing.error is None:
                    self._outgoing.grown.clear()
                    await self._outgoing.grown.wait()

    def _work(self) -> None:
        with suppress(RuntimeError):  # the loop was closed
            for line in self._read():
                self._room.acquire()
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line)

    def _read(self) -> Iterator[str | None]:
        """Yield lines, an empty string for one that is too long, and None at the end."""
        pieces: list[bytes] = []
        size = 0
        while data := self._piece():
            *ended, rest = data.split(b"\n")
            for line in ended:
                size += len(line)
                pieces.append(line)
                if size > MAX_LINE_BYTES:
                    yield ""
                elif text := b"".join(pieces).decode("utf-8", "replace").strip():
                    yield text
                pieces, size = [], 0
            size += len(rest)
            pieces = [] if size > MAX_LINE_BYTES else [*pieces, rest]
        if last := b"".join(pieces).decode("utf-8", "replace").strip():
            yield last
        yield None

    def _piece(self) -> bytes:
        try:
            return os.read(self._descriptor, _PIECE)
        except OSError:  # a closed terminal
            return b""
