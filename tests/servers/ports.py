"""TCP ports of this machine for tests."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_FREE = range(11_000, 22_000)
"""Ports that no system takes for outgoing connections; a Redis cluster uses the one 10,000 above too."""


def free_port() -> int:
    """Return a port for a server that cannot choose one itself; it may be taken before the server is there."""
    while True:
        port = random.choice(_FREE)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


@contextmanager
def refusing_port() -> Iterator[int]:
    """Hold a port where connections are refused, and which nobody else can take."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
