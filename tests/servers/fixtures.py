"""Fixtures of the servers; a test module imports the ones it uses, or a conftest names this module as a plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.servers.chat_server import ChatServer, Script
from tests.servers.responses_server import BothServer, ResponsesServer


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


@pytest.fixture
def responses_server() -> Iterator[Callable[..., ResponsesServer]]:
    """Make strict Responses servers; all are closed after the test, which fails when one refused a request."""
    servers: list[ResponsesServer] = []

    def make(*script: object, refuses: bool = False, account: str = "") -> ResponsesServer:
        servers.append(ResponsesServer(*script, account=account).start())
        servers[-1].may_refuse = refuses
        return servers[-1]

    yield make
    for server in servers:
        server.close()
    assert [server.refused for server in servers if not server.may_refuse and server.refused] == []


@pytest.fixture
def both_server() -> Iterator[Callable[..., BothServer]]:
    """Make servers that speak Responses and Chat Completions; all are closed after the test."""
    servers: list[BothServer] = []

    def make(chat: Sequence[Script], *script: object) -> BothServer:
        servers.append(BothServer(chat, *script).start())
        return servers[-1]

    yield make
    for server in servers:
        server.close()
