"""Processes that a test starts: forks of a process that has loaded the libraries already; see `servers.fork_server`.

`start` and `run` are used as `subprocess.Popen` and `subprocess.run` are, with the arguments after the interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import marshal
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from tests.servers.guardian import GUARDIAN

SERVER = Path(__file__).parent / "servers" / "fork_server.py"
LAUNCHER = SERVER.with_name("forked_python.py")
HONOURED = {"PYTHONPATH", "PYTHONIOENCODING", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL


class _ForkServer:
    """The fork server of this test process, started with the first process that is needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._socket = ""

    @property
    def socket(self) -> str:
        """Return the path of its socket."""
        if self._process is None:
            # Outside, because a path of a socket has at most 104 bytes; it names the forks for the guardian.
            self._socket = str(GUARDIAN.make_directory("fork-") / "socket")
            kept = ("HOME", "PATH", "LD_LIBRARY_PATH")
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), self._socket],
                stdin=PIPE,
                stdout=PIPE,
                text=True,
                env={name: os.environ[name] for name in kept if name in os.environ},
            )
            atexit.register(self._end)
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == "ready\n"
        return self._socket

    def _end(self) -> None:
        assert self._process is not None
        self._process.communicate()
        shutil.rmtree(Path(self._socket).parent, ignore_errors=True)


FORK_SERVER = _ForkServer()


class ForkedProcess:
    """A process that the fork server has started, with the interface of `subprocess.Popen`."""

    def __init__(
        self,
        argv: Sequence[str | bytes | Path],
        *,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        text: bool = False,
        finalize: bool = False,
    ) -> None:
        self.returncode: int | None = None
        environ = dict(os.environ if env is None else env)
        unmet = {name for name in env or () if name.startswith("PYTHON")} - HONOURED
        assert not unmet, f"only an interpreter of its own heeds {unmet}"
        request = {
            "argv": [os.fsdecode(word) for word in argv],
            "env": environ,
            "cwd": str(cwd or Path.cwd()),
            "finalize": finalize,
        }
        self._given: list[int] = []
        self._lock = threading.Lock()
        theirs = self._streams(stdin, stdout, stderr, text=text)
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(FORK_SERVER.socket)
            data = marshal.dumps(request)
            socket.send_fds(self._connection, [len(data).to_bytes(4, "big")], theirs)
            self._connection.sendall(data)
            self.pid = int.from_bytes(self._connection.recv(4, socket.MSG_WAITALL), "big")
        finally:
            for descriptor in self._given:
                os.close(descriptor)
        assert self.pid

    def _streams(self, *streams: int | IO[Any] | None, text: bool) -> list[int]:
        """Return the descriptors for the process; the other ends of pipes become attributes."""
        theirs: list[int] = []
        own: list[IO[Any] | None] = []
        for number, stream in enumerate(streams):
            ours = None
            if stream == PIPE:
                reading, writing = os.pipe()
                end, kept = (reading, writing) if number == 0 else (writing, reading)
                ours = os.fdopen(kept, ("w" if number == 0 else "r") + "b" * (not text))
                self._given.append(end)
            elif stream == DEVNULL:
                end = os.open(os.devnull, os.O_RDWR)
                self._given.append(end)
            elif stream == subprocess.STDOUT:
                end = theirs[1]
            else:
                end = (
                    number
                    if stream is None
                    else stream
                    if isinstance(stream, int)
                    else stream.fileno()
                )
            theirs.append(end)
            own.append(ours)
        self.stdin, self.stdout, self.stderr = own
        return theirs

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code."""
        with self._lock:
            if self.returncode is None:
                if not select.select([self._connection], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired("forked process", timeout or 0.0)
                data = self._connection.recv(4, socket.MSG_WAITALL)
                assert data, "the fork server is gone"
                self.returncode = int.from_bytes(data, "big", signed=True)
                self._connection.close()
        return self.returncode

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002  # as Popen has it
        """Write its input, read what it prints, and wait for its end."""
        end = None if timeout is None else time.monotonic() + timeout
        printed: list[Any] = [None, None]

        def read(number: int, stream: IO[Any]) -> None:
            with stream:
                printed[number] = stream.read()

        readers = [
            threading.Thread(target=read, args=(number, stream), daemon=True)
            for number, stream in enumerate((self.stdout, self.stderr))
            if stream is not None
        ]
        for reader in readers:
            reader.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                if input:
                    self.stdin.write(input)
                self.stdin.close()
        for reader in readers:
            reader.join(None if end is None else max(0.0, end - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired("forked process", timeout or 0.0)
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        return printed[0], printed[1]

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash does."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self.wait()


def start(argv: Sequence[str | bytes | Path], **options: Any) -> ForkedProcess:
    """Start a process: ``-m MODULE`` or ``-c CODE`` and its arguments, with the options of `subprocess.Popen`.

    With ``finalize`` Python frees everything at its end, as it does in a process of its own.
    """
    return ForkedProcess(argv, **options)


def run(
    argv: Sequence[str | bytes | Path],
    *,
    input: Any = None,  # noqa: A002  # as subprocess.run has it
    timeout: float = 60,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a process to its end and catch what it prints."""
    options = {
        "stdin": PIPE if input is not None else DEVNULL,
        "stdout": PIPE,
        "stderr": PIPE,
        **options,
    }
    process = start(argv, **options)
    try:
        out, err = process.communicate(input, timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    finally:
        with process:
            pass
    if check:
        assert process.returncode == 0, err
    return subprocess.CompletedProcess(list(argv), process.returncode, out, err)


def interpreter() -> list[str]:
    """Return the words that stand for the interpreter, before ``-m`` or ``-c``, in a program that starts programs."""
    return [sys.executable, "-SI", str(LAUNCHER), FORK_SERVER.socket]


def python() -> str:
    """Return the same words for a shell."""
    return shlex.join(interpreter())


def install(directory: Path) -> None:
    """Put a program ``omniagent`` into a directory for the PATH of a shell."""
    program = directory / "omniagent"
    program.write_text(f'#!/bin/sh\nexec {python()} -m omniagent_cli "$@"\n')
    program.chmod(0o755)
