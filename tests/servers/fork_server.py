"""Processes of the program without the time to start Python: forks of one process that has loaded the libraries.

    python fork_server.py SOCKET        serve until its input ends

A request is a marshalled dictionary (``argv`` after the interpreter, ``env``, ``cwd``), sent with the three standard
streams. The replies are the process id and, at its end, the exit code as `subprocess` reports it, four bytes each.
Each process has its own id, streams, environment, directory and signals, and ends as any other; what it shares is the
interpreter's start and its imports. `test_entry` and `test_loaded` cover those.
"""

from __future__ import annotations

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
import time
from types import CodeType
from typing import Any

LIBRARIES = (
    "asyncio", "cryptography.hazmat.primitives.ciphers.aead", "httpx2", "mcp", "mcp.server.stdio", "multiprocessing", "omniagent_cli.adapters.mcp_server", "openai", "openai.resources.chat",
    "openai.resources.responses", "psycopg_pool", "redis", "sqlite3", "urllib.request", "uuid", "yaml",
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
    size = int.from_bytes(head, "big")
    data = bytearray()
    while len(data) < size:
        data += connection.recv(size - len(data))
    return marshal.loads(data), streams  # from the test


def serve(path: str) -> dict[str, Any]:
    """Answer requests; returns in each forked process, with its request."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        ready = select.select([0, listener], [], [])[0]
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # so that their CPU time counts
                pass
        if 0 in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        listener.close()
        ended, ending = socket.socketpair()
        ending.setblocking(False)
        signal.set_wakeup_fd(ending.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        request, streams = receive(connection)
        child = os.fork()
        if not child:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            ended.close()
            ending.close()
            become(request, streams)
            connection.sendall(
                os.getpid().to_bytes(4, "big")
            )  # from now on signals reach the program
            connection.close()
            return request
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        for stream in streams:
            os.close(stream)
        if ended not in select.select([connection, ended], [], [])[0]:
            os.kill(child, signal.SIGKILL)  # whoever started it was killed
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            connection.sendall(code.to_bytes(4, "big", signed=True))
        finally:
            os._exit(0)


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


def main() -> tuple[list[str], CodeType | None]:
    """Serve; in a forked process return its arguments and, after ``-c``, the code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load_libraries()
    gc.collect()
    gc.freeze()
    request = serve(sys.argv[1])
    kind, *argv = request["argv"]
    sys.argv = [kind, *argv[1:]]
    return argv, compile(argv[0], "<string>", "exec") if kind == "-c" else None


if __name__ == "__main__":
    words, code = main()
    # The end of this file is the end of the process, with all that Python does then.
    if code is None:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        exec(code, {"__name__": "__main__"})
