"""The engine of a model that was chosen automatically: it changes to another one when the provider lacks the model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from omniagent_cli.agent.events import Engine, EngineEvent, ModelSettings, Notice
from omniagent_cli.agent.models.providers import PROVIDERS
from omniagent_cli.errors import ModelNotFound
from omniagent_cli.text.sanitize import one_line


class AutomaticEngine:
    """An engine that changes to another model at most once; see `omniagent_cli.agent.events.Engine`.

    Args:
        engine: the engine of the chosen model.
        successor: returns the engine of the next model, or None; called once, in a thread, because it may send
            a request for the list of models.
    """

    def __init__(self, engine: Engine, successor: Callable[[], Engine | None]) -> None:
        self.name = engine.name
        self._engine = engine
        self._successor: Callable[[], Engine | None] | None = successor

    def preload(self) -> None:
        """Import the library of the engine."""
        preload = getattr(self._engine, "preload", None)
        if callable(preload):
            preload()

    async def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> AsyncGenerator[EngineEvent, None]:
        """Send one request, and send it to the next model when the provider does not have this one.

        Raises:
            ModelError: the request failed.
        """
        try:
            async with aclosing(self._request(messages, tools, settings)) as events:
                async for event in events:
                    yield event
            return
        except ModelNotFound:
            find, self._successor = self._successor, None
            other = await asyncio.to_thread(find) if find else None
            if other is None:
                raise
        missing, self._engine, self.name = self._engine, other, other.name
        await missing.aclose()
        yield Notice(_replaced(missing.name, other.name))
        async with aclosing(self._request(messages, tools, settings)) as events:
            async for event in events:
                yield event

    def _request(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> AsyncGenerator[EngineEvent, None]:
        stream = self._engine.stream(messages, tools, settings)
        return cast("AsyncGenerator[EngineEvent, None]", stream)

    async def aclose(self) -> None:
        """Close connections; the engine may be used again."""
        await self._engine.aclose()


def _replaced(missing: str, other: str) -> str:
    provider, _, model = missing.partition(":")
    return f"{PROVIDERS[provider].title} has no model {one_line(model)} for this key; using {one_line(other)}"
