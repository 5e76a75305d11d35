"""The scripted model servers for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.servers.fixtures import both_server, chat_server, responses_server

__all__ = ["both_server", "chat_server", "responses_server"]


@pytest.fixture
def native_server(monkeypatch) -> Iterator:
    """Make servers that speak a provider's own protocol; all are closed after the test."""
    # It takes long to load what they are asked with, which the other tests of this folder do without.
    from tests.agent.native_asking import Servers

    for name in ("AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    servers = Servers()
    yield servers
    servers.close()
