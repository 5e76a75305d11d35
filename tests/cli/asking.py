"""A model on this machine for commands that ask, as variables, and programs that are watched while they answer."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

from tests import forked
from tests.cli.conftest import environment
from tests.servers.chat_server import ChatServer


def variables(server: ChatServer | str) -> dict[str, str]:
    """Return the environment in which a server answers as openai:fake-1."""
    url = server if isinstance(server, str) else server.url
    return {
        "OMNIAGENT_MODEL": "openai:fake-1",
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "sk-of-a-test",
    }


class Program:
    """A command that runs while the test watches its output; a context manager that ends it."""

    def __init__(
        self, db: Path, *argv: str, stdin: int = subprocess.DEVNULL, **environ: str
    ) -> None:
        self.out = b""
        self.times: list[tuple[float, int]] = []
        self._process = forked.start(
            ["-m", "omniagent_cli", *argv],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(db, **environ),
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def wait_for(self, text: str, timeout: float = 60.0) -> None:
        """Read until the text has come."""
        end = time.monotonic() + timeout
        while text.encode() not in self.out:
            if not self._selector.select(end - time.monotonic()):
                raise AssertionError(f"{text!r} did not come: {self.out!r}")
            data = os.read(self._process.stdout.fileno(), 65536)
            if not data:
                raise AssertionError(f"{text!r} did not come: {self.out!r} {self._rest()[1]}")
            self.out += data
            self.times.append((time.monotonic(), len(self.out)))

    def say(self, line: str) -> None:
        """Write a line to its stdin."""
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def hang_up(self) -> None:
        """Stop reading what it writes."""
        self._process.stdout.close()

    def wait(self) -> tuple[int, str, str]:
        """Wait for the end; return exit code, stdout and stderr."""
        out, err = self._rest()
        self.out += out
        return self._process.returncode, self.out.decode(), err.decode()

    def _rest(self) -> tuple[bytes, bytes]:
        if self._process.stdout.closed:
            err = self._process.stderr.read()
            self._process.wait(20)
            return b"", err
        return self._process.communicate(timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
