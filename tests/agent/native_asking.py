"""What the tests of the native engines share: the five protocols, each with its server and a model of its provider."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint
from omniagent_cli.agent.native.engine import NativeEngine
from tests.agent.asking import KEY
from tests.servers import (
    anthropic_server,
    bedrock_server,
    google_server,
    groq_server,
    mistral_server,
)
from tests.servers.anthropic_server import AnthropicServer
from tests.servers.bedrock_server import BedrockServer
from tests.servers.chat_server import ChatServer, Script
from tests.servers.google_server import GoogleServer
from tests.servers.groq_server import GroqServer
from tests.servers.mistral_server import MistralServer


@dataclass(frozen=True)
class Protocol:
    """One provider's protocol; `speaks` has the replies of its server."""

    name: str
    speaks: ModuleType
    server: type[ChatServer]
    key_header: tuple[str, str]

    @property
    def model(self) -> str:
        """One of its models that thinks."""
        return str(self.speaks.MODEL)

    def engine(self, server: ChatServer, *, key: str = KEY, model: str = "") -> NativeEngine:
        """Make an engine that asks a server."""
        url = f"http://127.0.0.1:{server.port}"
        endpoint = Endpoint(PROVIDERS[self.name], model or self.model, url, key, native=True)
        return NativeEngine(endpoint, backoff_seconds=0.01)


_BEARER = ("authorization", f"Bearer {KEY}")
PROTOCOLS = (
    Protocol("anthropic", anthropic_server, AnthropicServer, ("x-api-key", KEY)),
    Protocol("gemini", google_server, GoogleServer, ("x-goog-api-key", KEY)),
    Protocol("bedrock", bedrock_server, BedrockServer, _BEARER),
    Protocol("mistral", mistral_server, MistralServer, _BEARER),
    Protocol("groq", groq_server, GroqServer, _BEARER),
)
BY_NAME = {protocol.name: protocol for protocol in PROTOCOLS}


class Servers:
    """Makes servers of a protocol, all closed after the test."""

    def __init__(self) -> None:
        self._servers: list[ChatServer] = []

    def __call__(self, protocol: Protocol, *script: Script, **options: Any) -> ChatServer:
        self._servers.append(protocol.server(*script, **options).start())
        return self._servers[-1]

    def close(self) -> None:
        """Close all of them."""
        for server in self._servers:
            server.close()
