"""Engine for the native protocols of providers; see `omniagent_cli.agent.events.Engine`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.events import EngineEvent, Finished, ModelSettings, Notice
from omniagent_cli.agent.models.failures import Failure, response_timeout
from omniagent_cli.agent.models.fallbacks import ServerFallbacks
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.retries import FailedError, Piece, with_retries
from omniagent_cli.agent.native.clients import Closer, load, new_model
from omniagent_cli.agent.native.errors import translate_error, unsupported
from omniagent_cli.agent.native.request import NativeRequest, native_request, request_body
from omniagent_cli.agent.native.response import Deltas, error_body, finished_event, is_answer_event
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
    """One model of one provider, called in the provider's own protocol.

    Connections are kept between requests and belong to the running event loop: call `aclose` in it.
    """

    def __init__(self, endpoint: Endpoint, *, backoff_seconds: float = 0.5) -> None:
        self.endpoint = endpoint
        self.name = f"{endpoint.provider.name}:{endpoint.model}"
        self.concessions = ServerFallbacks(endpoint)
        self.on_bytes = _ignore_bytes
        self._backoff_seconds = backoff_seconds
        self._model: Model[Any] | None = None
        self._close: Closer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reported: set[str] = set()

    def preload(self) -> None:
        """Import the library of this provider; safe in any thread, so that it loads while the user types."""
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
        """Send one request; retry only while nothing of the answer has arrived.

        Raises:
            ModelError: the request failed.
            UsageError: a setting is invalid.
        """
        # In a thread: an interrupt in the middle of an import would leave half-loaded modules.
        if self.endpoint.provider.name not in _loaded:
            await asyncio.to_thread(self.preload)
        body = request_body(messages, tools, settings, self.model())
        attempts: list[_Attempt] = []

        def new_attempt() -> _Attempt:
            attempts.append(_Attempt(self, body, settings))
            return attempts[-1]

        async with aclosing(with_retries(new_attempt, settings, self._backoff_seconds)) as events:
            async for event in events:
                yield event
        yield attempts[-1].answer

    async def aclose(self) -> None:
        """Close connections; the engine may be used again."""
        close, self._close, self._model = self._close, None, None
        if close is not None and self._loop is asyncio.get_running_loop():
            await close()

    def model(self) -> Model[Any]:
        """Return the model, whose client belongs to the running event loop."""
        loop = asyncio.get_running_loop()
        if self._model is None or self._loop is not loop:
            self._loop = loop
            self._model, self._close = new_model(self.endpoint, self._notify_bytes)
        return self._model

    def _notify_bytes(self) -> None:
        self.on_bytes()

    def unsupported_settings(self, names: Sequence[str]) -> Iterator[Notice]:
        """Yield one notice for each setting that the model does not support."""
        for name in names:
            if name not in self._reported:
                self._reported.add(name)
                yield Notice(
                    f"{one_line(self.endpoint.model)} does not support {name}; sending the request without it"
                )


class _Attempt:
    """One attempt at a request; see `omniagent_cli.agent.models.retries`."""

    def __init__(
        self, engine: NativeEngine, body: Mapping[str, Any], settings: ModelSettings
    ) -> None:
        self.started = False
        self.answer = Finished("")
        self._engine = engine
        self._endpoint = engine.endpoint
        if not engine.endpoint.provider.openai_compatible:  # whose address depends on the region
            self._endpoint = replace(engine.endpoint, base_url=str(engine.model().base_url))
        self._body = body
        self._settings = settings

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Send the request; resend it without an option that the provider rejected and that is not essential."""
        model = self._engine.model()
        while True:
            body = self._engine.concessions.adapt(self._body, self._settings)
            request = self._native_request(body, model)
            for notice in self._engine.unsupported_settings(request.unsupported_settings):
                yield notice
            try:
                async with aclosing(self._send(model, request, body)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except _OptionRejectedError:
                continue

    def _native_request(self, body: Mapping[str, Any], model: Model[Any]) -> NativeRequest:
        from pydantic_ai.exceptions import UserError

        try:
            return native_request(body, self._settings, self._endpoint, model)
        except UserError as error:
            raise FailedError(unsupported(self._endpoint, error)) from error

    async def _send(
        self, model: Model[Any], request: NativeRequest, body: Mapping[str, Any]
    ) -> AsyncGenerator[Piece, None]:
        now = asyncio.get_running_loop().time
        deadline = now() + self._settings.first_token_timeout_seconds
        async with AsyncExitStack() as stack:
            with self._translated_errors(body, request.options):
                async with asyncio.timeout_at(deadline):
                    opened = model.request_stream(
                        request.messages, request.settings, request.parameters
                    )
                    stream = await stack.enter_async_context(opened)
            for notice in self._engine.concessions.pop_notices():
                yield notice
            events, deltas = aiter(stream), Deltas()
            while (event := await self._next(stream, events, deadline, body, request)) is not _END:
                self.started = self.started or is_answer_event(event)
                for delta in deltas.feed(event):
                    yield delta
                if self.started:
                    deadline = now() + self._settings.token_timeout_seconds
            for delta in deltas.flush():
                yield delta
            self.answer = self._finished_answer(stream)

    async def _next(
        self,
        stream: StreamedResponse,
        events: AsyncIterator[Any],
        deadline: float,
        body: Mapping[str, Any],
        request: NativeRequest,
    ) -> Any:
        """Return the next event. Inside an answer any received byte extends the timeout, because thinking may be hidden."""
        now = asyncio.get_running_loop().time
        timeout_seconds = self._settings.token_timeout_seconds
        try:
            with self._translated_errors(body, request.options):
                async with asyncio.timeout_at(deadline) as limit:
                    if self.started:
                        self._engine.on_bytes = lambda: limit.reschedule(now() + timeout_seconds)
                    return await anext(events, _END)
        except FailedError:
            if stream.finish_reason:
                return _END  # the answer is complete; only the token counts are missing
            raise
        finally:
            self._engine.on_bytes = _ignore_bytes

    def _finished_answer(self, stream: StreamedResponse) -> Finished:
        answer = finished_event(stream.get(), self._endpoint.provider.name)
        if answer.reason == "error":
            raw = (stream.provider_details or {}).get("finish_reason", "no reason given")
            title = self._endpoint.provider.title
            error = ModelError(
                f"{title} stopped in the middle of the answer ({one_line(str(raw))}); try again"
            )
            raise FailedError(Failure(error))
        return answer

    @contextmanager
    def _translated_errors(self, body: Mapping[str, Any], options: Sequence[str]) -> Iterator[None]:
        """Translate errors of the libraries into `FailedError`."""
        first, between = (
            self._settings.first_token_timeout_seconds,
            self._settings.token_timeout_seconds,
        )
        try:
            yield
        except OmniAgentError:
            raise
        except TimeoutError as error:
            timeout_seconds = between if self.started else first
            failure = response_timeout(self._endpoint, timeout_seconds, started=self.started)
            raise FailedError(failure) from error
        except Exception as error:  # six libraries, each with its own errors; bugs are re-raised
            known = translate_error(self._endpoint, error, started=self.started, options=options)
            if known is None:
                raise
            status = getattr(error, "status_code", None)
            if status is None:
                raise FailedError(known) from error
            said = error_body(getattr(error, "body", None))
            if not self.started and self._engine.concessions.learn(status, said, body):
                raise _OptionRejectedError from None
            raise FailedError(known) from None  # its message may contain the key


class _OptionRejectedError(Exception):
    """The provider rejected an optional part of the request."""


def _ignore_bytes() -> None:
    """Ignore received bytes."""


_END = object()
