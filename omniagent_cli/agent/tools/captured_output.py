"""What a tool prints and reads: kept with its result, off the screen, out of the pipe, and never from the keyboard.

`sys.stdout`, `sys.stderr` and `sys.stdin` stand for the whole process, while several tools and the program around them
run at once. So while a tool runs, each of the three is a stand-in that looks up, write by write, who is asking: a tool
reaches its own `CapturedOutput`, everybody else the real stream. Threads that a tool starts itself are everybody else, and so
is a program it starts without catching its output: Python cannot tell whose they are.
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
"""More than that is counted, and dropped."""


class CapturedOutput:
    """What one tool has printed."""

    def __init__(self) -> None:
        self._bytes = _Bounded()
        out = io.TextIOWrapper(
            self._bytes, encoding="utf-8", errors="backslashreplace", write_through=True
        )
        self.streams = {"stdout": out, "stderr": out, "stdin": io.TextIOWrapper(io.BytesIO())}

    @property
    def text(self) -> str:
        """All of it, or its beginning and how much there was."""
        text = self._bytes.getvalue().decode("utf-8", "replace").strip("\n")
        over = self._bytes.written - MAX_CAPTURED_BYTES
        return f"{text}\n({over:,} more bytes)" if over > 0 else text


class _Bounded(io.BytesIO):
    """Keeps the beginning of what is written to it."""

    written = 0

    def write(self, data: Any) -> int:
        kept = bytes(data)
        self.written += len(kept)
        super().write(kept[: max(0, MAX_CAPTURED_BYTES - self.tell())])
        return len(kept)


_CAPTURED: ContextVar[CapturedOutput | None] = ContextVar("omniagent_printed", default=None)


class _RedirectedStream:
    """Stands for one of the streams."""

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
    """Have the stand-ins in place; the last to leave takes them away, if nobody has put others there since."""
    global _running  # noqa: PLW0603  # the streams are the process's, and so is this count
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
                for name, stand_in in _redirected.items():
                    if getattr(sys, name) is stand_in:
                        setattr(sys, name, stand_in._real)  # noqa: SLF001  # its other half
                _redirected.clear()


@contextmanager
def capture_output(printed: CapturedOutput) -> Iterator[None]:
    """Take what this thread or task prints from here on."""
    with redirect_stdio():
        token = _CAPTURED.set(printed)
        try:
            yield
        finally:
            with suppress(
                ValueError
            ):  # what would not end is ended with its loop, in another context
                _CAPTURED.reset(token)
