"""Protocol selection for OpenAI-compatible servers: the Responses API or Chat Completions.

OpenAI is called through Responses, which its current models need for tools; other addresses through Chat Completions,
which all of them support. A server that rejects one is called through the other in the same request.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

from omniagent_cli.agent.events import EngineEvent, Finished, ModelSettings, Notice
from omniagent_cli.agent.models import connection
from omniagent_cli.agent.models.chat_completions import ChatCompletionsEngine
from omniagent_cli.agent.models.connection import Connection
from omniagent_cli.agent.models.protocol_memory import ProtocolMemory
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.responses import ResponsesEngine
from omniagent_cli.agent.models.streaming_engine import StreamingEngine, WrongProtocolError
from omniagent_cli.errors import ModelRefused, UsageError
from omniagent_cli.text.sanitize import one_line

RESPONSES, CHAT = "responses", "chat"

_ENGINES: Mapping[str, type[StreamingEngine]] = {
    RESPONSES: ResponsesEngine,
    CHAT: ChatCompletionsEngine,
}
_OTHER = {RESPONSES: CHAT, CHAT: RESPONSES}


def engine_for(
    endpoint: Endpoint, *, api: str | None = None, memory: ProtocolMemory | None = None
) -> ProtocolEngine:
    """Return the engine of an endpoint.

    Args:
        endpoint: the server and the model.
        api: ``responses`` or ``chat``, to try first; None decides by the address.
        memory: the protocols learned from servers; by default only this engine remembers them.

    Raises:
        UsageError: unknown protocol.
    """
    if api not in (None, *_ENGINES):
        raise UsageError(f"unknown api {one_line(str(api))!r}: choose {' or '.join(_ENGINES)}")
    return ProtocolEngine(endpoint, api=api, memory=memory)


def default_protocol(endpoint: Endpoint) -> str:
    """Return the protocol to try first at an address: Responses at OpenAI's own, in any region."""
    host = urlsplit(endpoint.base_url).hostname or ""
    is_openai = endpoint.provider.name == "openai" and f".{host}".endswith(".api.openai.com")
    return RESPONSES if is_openai else CHAT


class ProtocolEngine:
    """The engine of one model at one address; see `omniagent_cli.agent.events.Engine`."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        api: str | None = None,
        memory: ProtocolMemory | None = None,
        backoff_seconds: float = 0.5,
    ) -> None:
        self.endpoint = endpoint
        self.name = f"{endpoint.provider.name}:{endpoint.model}"
        self._preferred = api or default_protocol(endpoint)
        self._memory = memory or ProtocolMemory()
        self._key = f"{self._preferred} {endpoint.base_url} {endpoint.model}"
        self._connection = Connection(endpoint)
        self._backoff_seconds = backoff_seconds
        self._engines: dict[str, StreamingEngine] = {}

    @property
    def protocol(self) -> str:
        """The protocol of the next request: ``responses`` or ``chat``."""
        known = self._memory.get(self._key) or ""
        return known if known in _ENGINES else self._preferred

    def preload(self) -> None:
        """Import the library; safe in any thread, so that it loads while the user types."""
        connection.preload()

    async def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> AsyncGenerator[EngineEvent, None]:
        """Send a request, and send it through the other protocol if the server rejects this one.

        Raises:
            ModelError: the request failed.
        """
        first = self.protocol
        try:
            async with aclosing(self._engine(first).stream(messages, tools, settings)) as events:
                async for event in events:
                    yield event
            return
        except WrongProtocolError as error:
            refused = error
        other = self._engine(_OTHER[first])
        yield Notice(
            f"{one_line(self.endpoint.model)} does not support this protocol; using {other.protocol}: {refused}",
            detail=True,
        )
        try:
            async with aclosing(other.stream(messages, tools, settings)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        self._remember(_OTHER[first])
                    yield event
            return
        except ModelRefused as error:
            if not refused.names_other:
                raise refused.original from error
            if not isinstance(error, WrongProtocolError):
                raise
        # The model wants a protocol that its server does not have: only other options remain.
        only = self._engine(first)
        only.is_only_protocol = True
        try:
            async with aclosing(only.stream(messages, tools, settings)) as events:
                async for event in events:
                    yield event
        except WrongProtocolError as error:
            raise error.original from error

    async def aclose(self) -> None:
        """Close connections; the engine may be used again."""
        await self._connection.aclose()

    def _engine(self, protocol: str) -> StreamingEngine:
        if protocol not in self._engines:
            self._engines[protocol] = _ENGINES[protocol](
                self.endpoint,
                connection=self._connection,
                memory=self._memory,
                backoff_seconds=self._backoff_seconds,
            )
        return self._engines[protocol]

    def _remember(self, protocol: str) -> None:
        self._memory.set(self._key, None if protocol == self._preferred else protocol)
