"""The engine that asks a provider in its own protocol; see `omniagent_cli.agent.events.Engine`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.events import EngineEvent, Finished, ModelSettings, Notice
from omniagent_cli.agent.models.failures import Failure, silent
from omniagent_cli.agent.models.fallbacks import Concessions
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.retries import FailedError, Piece, persistently
from omniagent_cli.agent.native.clients import Closer, load, model_for
from omniagent_cli.agent.native.errors import explained, unsupported
from omniagent_cli.agent.native.request import Asked, asked_with, body_for
from omniagent_cli.agent.native.response import Deltas, finished, is_piece, readable
from omniagent_cli.errors import ModelError, OmniAgentError
from omniagent_cli.fork_safety import call_in_child
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from pydantic_ai.models import Model, StreamedResponse

_loading = threading.Lock()


def _after_fork() -> None:
    global _loading  # noqa: PLW0603  # another thread of the parent may have held it
    _loading = threading.Lock()


call_in_child(_after_fork)
_loaded: set[str] = set()


class NativeEngine:
    """One model of one provider.

    Connections are kept between questions and belong to the running event loop: call `aclose` in it.
    """

    def __init__(self, endpoint: Endpoint, *, backoff_seconds: float = 0.5) -> None:
        self.endpoint = endpoint
        self.name = f"{endpoint.provider.name}:{endpoint.model}"
        self.concessions = Concessions(endpoint)
        self.came = _nothing
        self._backoff_seconds = backoff_seconds
        self._model: Model[Any] | None = None
        self._close: Closer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: set[str] = set()

    def preload(self) -> None:
        """Import what asks this provider; safe in any thread, so that it loads while the person types."""
        with _loading:
            if self.endpoint.provider.name not in _loaded:
                load(self.endpoint.provider.name)
                _loaded.add(self.endpoint.provider.name)

    async def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> AsyncIterator[EngineEvent]:
        """Ask once; try again only while nothing of an answer has come.

        Raises:
            ModelError: the provider did not answer properly.
            UsageError: a setting is none that there is.
        """
        # In a thread: an interrupt in the middle of an import would leave half-loaded modules.
        if self.endpoint.provider.name not in _loaded:
            await asyncio.to_thread(self.preload)
        body = body_for(messages, tools, settings, self.model())
        tried: list[_Attempt] = []

        def again() -> _Attempt:
            tried.append(_Attempt(self, body, settings))
            return tried[-1]

        async with aclosing(persistently(again, settings, self._backoff_seconds)) as events:
            async for event in events:
                yield event
        yield tried[-1].answer

    async def aclose(self) -> None:
        """Let go of connections; the engine may be used again."""
        close, self._close, self._model = self._close, None, None
        if close is not None and self._loop is asyncio.get_running_loop():
            await close()

    def model(self) -> Model[Any]:
        """Return the model, whose client belongs to the running event loop."""
        loop = asyncio.get_running_loop()
        if self._model is None or self._loop is not loop:
            self._loop = loop
            self._model, self._close = model_for(self.endpoint, self._note)
        return self._model

    def _note(self) -> None:
        self.came()

    def left_out(self, names: Sequence[str]) -> Iterator[Notice]:
        """Tell which settings a model does not have, each once."""
        for name in names:
            if name not in self._told:
                self._told.add(name)
                yield Notice(f"{one_line(self.endpoint.model)} has no {name}; it is asked without")


class _Attempt:
    """One try at a question; see `omniagent_cli.agent.models.retries`."""

    def __init__(
        self, engine: NativeEngine, body: Mapping[str, Any], settings: ModelSettings
    ) -> None:
        self.began = False
        self.answer = Finished("")
        self._engine = engine
        self._endpoint = engine.endpoint
        if not engine.endpoint.provider.openai_compatible:  # whose address depends on the region
            self._endpoint = replace(engine.endpoint, base_url=str(engine.model().base_url))
        self._body = body
        self._settings = settings

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Ask, and ask again without what the provider refuses and an answer can do without."""
        model = self._engine.model()
        while True:
            body = self._engine.concessions.adapted(self._body, self._settings)
            asked = self._asked(body, model)
            for notice in self._engine.left_out(asked.left_out):
                yield notice
            try:
                async with aclosing(self._ask(model, asked, body)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except _LessError:
                continue

    def _asked(self, body: Mapping[str, Any], model: Model[Any]) -> Asked:
        from pydantic_ai.exceptions import UserError

        try:
            return asked_with(body, self._settings, self._endpoint, model)
        except UserError as error:
            raise FailedError(unsupported(self._endpoint, error)) from error

    async def _ask(
        self, model: Model[Any], asked: Asked, body: Mapping[str, Any]
    ) -> AsyncGenerator[Piece, None]:
        now = asyncio.get_running_loop().time
        deadline = now() + self._settings.first_token_timeout_seconds
        async with AsyncExitStack() as stack:
            with self._explained(body, asked.options):
                async with asyncio.timeout_at(deadline):
                    opened = model.request_stream(asked.messages, asked.settings, asked.parameters)
                    stream = await stack.enter_async_context(opened)
            for notice in self._engine.concessions.take_notices():
                yield notice
            events, deltas = aiter(stream), Deltas()
            while (event := await self._next(stream, events, deadline, body, asked)) is not _END:
                self.began = self.began or is_piece(event)
                for delta in deltas.feed(event):
                    yield delta
                if self.began:
                    deadline = now() + self._settings.token_timeout_seconds
            for delta in deltas.flush():
                yield delta
            self.answer = self._whole(stream)

    async def _next(
        self,
        stream: StreamedResponse,
        events: AsyncIterator[Any],
        deadline: float,
        body: Mapping[str, Any],
        asked: Asked,
    ) -> Any:
        """Return the next event. Inside an answer all that comes is a sign of life: long thinking may be kept hidden."""
        now = asyncio.get_running_loop().time
        patience = self._settings.token_timeout_seconds
        try:
            with self._explained(body, asked.options):
                async with asyncio.timeout_at(deadline) as limit:
                    if self.began:
                        self._engine.came = lambda: limit.reschedule(now() + patience)
                    return await anext(events, _END)
        except FailedError:
            if stream.finish_reason:
                return _END  # all was said; only the token counts are missing
            raise
        finally:
            self._engine.came = _nothing

    def _whole(self, stream: StreamedResponse) -> Finished:
        answer = finished(stream.get(), self._endpoint.provider.name)
        if answer.reason == "error":
            raw = (stream.provider_details or {}).get("finish_reason", "no reason")
            title = self._endpoint.provider.title
            error = ModelError(f"{title} broke off the answer ({one_line(str(raw))}); try again")
            raise FailedError(Failure(error))
        return answer

    @contextmanager
    def _explained(self, body: Mapping[str, Any], options: Sequence[str]) -> Iterator[None]:
        """Turn what the libraries raise into failures of ours, once."""
        first, between = (
            self._settings.first_token_timeout_seconds,
            self._settings.token_timeout_seconds,
        )
        try:
            yield
        except OmniAgentError:
            raise
        except TimeoutError as error:
            patience = between if self.began else first
            failure = silent(self._endpoint, patience, began=self.began)
            raise FailedError(failure) from error
        except (
            Exception
        ) as error:  # six libraries with error trees of their own; a bug goes on as it is
            known = explained(self._endpoint, error, began=self.began, asked=options)
            if known is None:
                raise
            status = getattr(error, "status_code", None)
            if status is None:
                raise FailedError(known) from error
            said = readable(getattr(error, "body", None))
            if not self.began and self._engine.concessions.learn(status, said, body):
                raise _LessError from None
            raise FailedError(known) from None  # what it says may repeat the key


class _LessError(Exception):
    """The provider refused a part of the question that it can do without."""


def _nothing() -> None:
    """Nobody waits."""


_END = object()
