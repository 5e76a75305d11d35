"""Processes of the program without the time to start Python: forks of one process that has loaded the libraries.

    python fork_server.py SOCKET        serve until its input ends

A request is a marshalled dictionary (``argv`` after the interpreter, ``env``, ``cwd``), sent with the three standard
streams. The replies are the process id and, at its end, the exit code as `subprocess` reports it, four bytes each.
Each process has its own id, streams, environment, directory and signals, and ends as any other, except that nothing is
freed then; what it shares is the interpreter's start and its imports. `test_entry` and `test_loaded` cover those.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import marshal
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
import time
from types import CodeType
from typing import Any

LIBRARIES = (
    "asyncio", "cryptography.hazmat.primitives.ciphers.aead", "httpx2", "mcp", "mcp.server.stdio", "multiprocessing", "omniagent_cli.adapters.mcp_server", "openai", "openai.resources.chat",
    "openai.resources.responses", "psycopg", "redis", "sqlite3", "urllib.request", "uuid", "yaml",
)  # fmt: skip
_LEFT_OUT = ("omniagent_cli.testing", "omniagent_cli.adapters", "omniagent_cli.__main__")


def load_libraries() -> None:
    """Import what commands import, so that no fork has to."""
    import omniagent_cli

    names = [m.name for m in pkgutil.walk_packages(omniagent_cli.__path__, "omniagent_cli.")]
    for name in (*LIBRARIES, *(name for name in names if not name.startswith(_LEFT_OUT))):
        importlib.import_module(name)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return a request and its streams."""
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    if not head:
        raise EOFError
    size = int.from_bytes(head, "big")
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return marshal.loads(data), streams  # from the test


class ForkServer:
    """The processes that run, with the connections that wait for their exit codes."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._children: dict[int, socket.socket] = {}
        self._ended, self._ending = socket.socketpair()
        self._ended.setblocking(False)
        self._ending.setblocking(False)

    def serve(self) -> dict[str, Any]:
        """Answer requests; returns in each forked process, with its request."""
        signal.set_wakeup_fd(self._ending.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        print("ready", flush=True)
        while True:
            waiting = {connection: pid for pid, connection in self._children.items()}
            ready = select.select([0, self._ended, self._listener, *waiting], [], [])[0]
            if 0 in ready:
                os._exit(0)
            for connection in waiting.keys() & set(ready):
                os.kill(waiting[connection], signal.SIGKILL)  # whoever started it was killed
            self._reap()
            if self._listener in ready:
                connection, _ = self._listener.accept()
                request = self._fork(connection)
                if request is not None:
                    return request

    def _reap(self) -> None:
        """Send the exit codes of the processes that ended."""
        with contextlib.suppress(BlockingIOError):
            self._ended.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while (status := os.waitpid(-1, os.WNOHANG))[0]:
                connection = self._children.pop(status[0])
                code = os.waitstatus_to_exitcode(status[1])
                with connection, contextlib.suppress(OSError):
                    connection.sendall(code.to_bytes(4, "big", signed=True))

    def _fork(self, connection: socket.socket) -> dict[str, Any] | None:
        """Fork a process for a request; return its request in the process itself."""
        try:
            request, streams = receive(connection)
        except (EOFError, OSError):  # whoever connected was killed
            connection.close()
            return None
        child = os.fork()
        if child:
            self._children[child] = connection
            for stream in streams:
                os.close(stream)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in (self._listener, self._ended, self._ending, *self._children.values()):
            other.close()
        become(request, streams)
        # From now on signals reach the program.
        connection.sendall(os.getpid().to_bytes(4, "big"))
        connection.close()
        return request


def become(request: dict[str, Any], streams: list[int]) -> None:
    """Take the streams, environment, directory and arguments of a request."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    encoding = request["env"].get("PYTHONIOENCODING")
    errors = "strict" if encoding else "surrogateescape"
    direct = bool(request["env"].get("PYTHONUNBUFFERED"))
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            open(number, mode, 0 if direct and number else -1, closefd=False),  # noqa: SIM115  # for life
            encoding=encoding or "utf-8",
            errors="backslashreplace" if number == 2 else errors,
            newline="\n",
            line_buffering=number == 2 or os.isatty(number),
            write_through=direct,
        )
        for number, mode in enumerate(("rb", "wb", "wb"))
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    places = [place for place in request["env"].get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:1] = [request["cwd"] if request["argv"][0] == "-m" else "", *places]
    importlib.invalidate_caches()


def main() -> tuple[list[str], CodeType | None, bool]:
    """Serve; in a forked process return its arguments, the code after ``-c``, and whether to finalize Python."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load_libraries()
    gc.collect()
    gc.freeze()
    request = ForkServer(sys.argv[1]).serve()
    kind, *argv = request["argv"]
    sys.argv = [kind, *argv[1:]]
    code = compile(argv[0], "<string>", "exec") if kind == "-c" else None
    return argv, code, request.get("finalize", False)


def end(code: int) -> None:
    """End the process as Python does, except that the libraries are not freed, which takes longer than most programs."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    words, program, finalize = main()
    status: object = None
    try:
        if program is None:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            exec(program, {"__name__": "__main__"})
    except SystemExit as ended:
        status = ended.code
        if finalize or not isinstance(status, int | None):
            raise
    if not finalize:
        end(status or 0)  # an exception ends the process with all that Python does then
