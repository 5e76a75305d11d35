"""Stdin and stdout as the wire of a protocol: lines come in and go out in threads that hold up no end of the program.

The SDK's own reading waits in a thread that cannot be given up, so that Ctrl-C would wait for the client's next word.
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
"""A longer message is refused; nothing that may be asked here comes near it."""

LAST_ANSWERS_SECONDS = 1.0
"""How long answers may still take once stdin has ended, as in ``omniagent mcp < requests``; clients wait for twice that."""

_WAITING = 64
_PIECE = 1 << 16
_TOO_LONG = (
    '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"the message is longer than'
    f' {MAX_LINE_BYTES >> 20} MiB"}}}}\n'
)


def check_streams() -> None:
    """Make sure that there is a wire; to be asked first, for a file that is opened later gets a closed one's number.

    Raises:
        UsageError: stdin or stdout was closed when the program started.
    """
    if sys.__stdin__ is None or sys.__stdout__ is None:
        raise UsageError(
            "stdin and stdout have to be open: a client starts this program and talks with it through them"
        )


@contextmanager
def standard_streams() -> Iterator[tuple[int, int]]:
    """Take stdin and stdout for the protocol alone and give them back; what else is printed goes to stderr.

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
    except OSError:  # there is no stderr
        os.dup2(nothing, 1)
    os.close(nothing)
    try:
        yield incoming, outgoing
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        # The copies stay open: a thread may wait in them, and must not find another file there.
        os.dup2(incoming, 0)
        os.dup2(outgoing, 1)


def _copy(descriptor: int) -> int:
    """Return a copy that programs we start do not get, and that is none of the standard three."""
    if sys.platform == "win32":
        return os.dup(descriptor)
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


class Outgoing:
    """Writes in a thread of its own; the SDK uses it as its asynchronous stdout.

    Attributes:
        error: why nothing can be written any more.
        lines: how many went out.
        grown: set with each line that went out.
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
        """Write a line and wait until it is out.

        Raises:
            OSError: nobody reads any more, or the disk behind ``>`` is full.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((text.encode("utf-8", "replace"), done))
        await done
        self.lines += 1
        self.grown.set()

    async def flush(self) -> None:
        """Nothing is held back."""

    def _work(self) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
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
    """Reads lines in a thread of its own, no more than wait to be answered; the SDK uses it as its stdin."""

    def __init__(self, descriptor: int, outgoing: Outgoing) -> None:
        self._descriptor = descriptor
        self._outgoing = outgoing
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._room = threading.Semaphore(_WAITING)
        self._asked = 0
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
            self._asked += 1
            await self._outgoing.write(_TOO_LONG)

    def _count(self, line: str) -> None:
        """Count what will be answered, as far as that can be told without reading it: an error costs a second at the end."""
        if '"method"' in line:
            self._asked += ('"id"' in line) - ('"notifications/cancelled"' in line)

    async def _last_answers(self) -> None:
        """Wait for the answers that are owed: the SDK gives up all work as soon as it is told of the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                while self._outgoing.lines < self._asked and self._outgoing.error is None:
                    self._outgoing.grown.clear()
                    await self._outgoing.grown.wait()

    def _work(self) -> None:
        with suppress(RuntimeError):  # the loop was closed
            for line in self._read():
                self._room.acquire()
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line)

    def _read(self) -> Iterator[str | None]:
        """Yield the lines, an empty text for one that is too long, and None at the end."""
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
        except OSError:  # a terminal that went away
            return b""
