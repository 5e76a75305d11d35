"""Capture of the standard streams of a tool: its output is part of the result, and its stdin is empty.

`sys.stdin`, `sys.stdout` and `sys.stderr` are global to the process, while several tools and the host program run
concurrently. While a tool runs, each of the three is a proxy that selects the stream by context: the tool's
`CapturedOutput`, or the real stream for all other code. Threads and subprocesses started by a tool use the real
streams, because Python cannot tell which tool they belong to.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from omniagent_cli.fork_safety import call_in_child

_STREAMS = ("stdin", "stdout", "stderr")

MAX_CAPTURED_BYTES = 1_000_000
"""The maximum output kept; more is counted and discarded."""


class CapturedOutput:
    """The output of one tool."""

    def __init__(self) -> None:
        self._bytes = _Bounded()
        out = io.TextIOWrapper(
            self._bytes, encoding="utf-8", errors="backslashreplace", write_through=True
        )
        self.streams = {"stdout": out, "stderr": out, "stdin": io.TextIOWrapper(io.BytesIO())}

    @property
    def text(self) -> str:
        """The output; if it was truncated, its beginning and the number of bytes that are missing."""
        text = self._bytes.getvalue().decode("utf-8", "replace").strip("\n")
        over = self._bytes.written - MAX_CAPTURED_BYTES
        return f"{text}\n({over:,} more bytes)" if over > 0 else text


class _Bounded(io.BytesIO):
    """A buffer that keeps only the beginning of the data."""

    written = 0

    def write(self, data: Any) -> int:
        kept = bytes(data)
        self.written += len(kept)
        super().write(kept[: max(0, MAX_CAPTURED_BYTES - self.tell())])
        return len(kept)


_CAPTURED: ContextVar[CapturedOutput | None] = ContextVar("omniagent_printed", default=None)


class _RedirectedStream:
    """A proxy of one standard stream."""

    def __init__(self, name: str, real: Any) -> None:
        self._name = name
        self._real = real

    def __getattr__(self, attribute: str) -> Any:
        own = _CAPTURED.get()
        return getattr(self._real if own is None else own.streams[self._name], attribute)

    def __iter__(self) -> Iterator[Any]:
        own = _CAPTURED.get()
        return iter(self._real if own is None else own.streams[self._name])


_lock = threading.Lock()
_running = 0
_redirected: dict[str, _RedirectedStream] = {}


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  # another thread of the parent may have held it
    _lock = threading.Lock()


call_in_child(_after_fork)


@contextmanager
def redirect_stdio() -> Iterator[None]:
    """Install the proxies; the last user restores the streams, unless another program has replaced them."""
    global _running  # noqa: PLW0603  # the streams are global to the process, and so is this count
    with _lock:
        _running += 1
        if _running == 1:
            for name in _STREAMS:
                if (real := getattr(sys, name)) is not None:
                    _redirected[name] = _RedirectedStream(name, real)
                    setattr(sys, name, _redirected[name])
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if _running == 0:
                for name, proxy in _redirected.items():
                    if getattr(sys, name) is proxy:
                        setattr(sys, name, proxy._real)  # noqa: SLF001  # same module
                _redirected.clear()


@contextmanager
def capture_output(printed: CapturedOutput) -> Iterator[None]:
    """Capture everything printed by the current thread or task."""
    with redirect_stdio():
        token = _CAPTURED.set(printed)
        try:
            yield
        finally:
            with suppress(
                ValueError
            ):  # a task that ignored its cancellation is closed with its loop, in another context
                _CAPTURED.reset(token)
