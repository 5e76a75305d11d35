"""Fixtures of the servers; a test module imports the ones it uses, or a conftest names this module as a plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.servers.chat_server import ChatServer, Script


@pytest.fixture
def chat_server() -> Iterator[Callable[..., ChatServer]]:
    """Make servers that follow a script; all are closed after the test."""
    servers: list[ChatServer] = []

    def make(*script: Script, **options: object) -> ChatServer:
        servers.append(ChatServer(*script, **options).start())
        return servers[-1]

    yield make
    for server in servers:
        server.close()
