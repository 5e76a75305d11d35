"""Base of the engines that use the `openai` library: connection, stream, timeouts, failures.

The library is imported on first use, because that takes as long as a whole command. Its typed events are not used:
it builds them unchecked from any server output, so plain objects are as safe and faster.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from omniagent_cli.agent.events import (
    EngineEvent,
    Finished,
    ModelSettings,
    Notice,
    TextDelta,
    ThinkingDelta,
)
from omniagent_cli.agent.models import sse
from omniagent_cli.agent.models.connection import Connection, load, preload
from omniagent_cli.agent.models.failures import (
    Failure,
    event_failure,
    malformed,
    malformed_event,
    response_timeout,
    status_failure,
    stopped_by_server,
)
from omniagent_cli.agent.models.fallbacks import ServerFallbacks
from omniagent_cli.agent.models.http_client import connection_failure
from omniagent_cli.agent.models.normalization import valid_unicode
from omniagent_cli.agent.models.protocol_memory import ProtocolMemory
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.retries import FailedError, with_retries
from omniagent_cli.errors import ModelError, ModelRefused
from omniagent_cli.json_format import dump

if TYPE_CHECKING:
    import openai

Delta = TextDelta | ThinkingDelta
MakeBody = Callable[[], Mapping[str, Any]]  # called again after a rejection was recorded


class StreamedAnswer(Protocol):
    """One answer, built from the events of a stream.

    Attributes:
        started: part of the answer has arrived: text, thinking or a tool call.
        recognized: at least one event was in the protocol.
        reason: the finish reason; empty until it arrives.
    """

    started: bool
    recognized: bool
    reason: str

    def feed(self, event: Any) -> Iterator[Delta]:
        """Parse one event, or one complete answer, and yield its deltas; unknown shapes yield nothing."""
        ...

    def finished(self, provider: str) -> Finished:
        """Return the complete answer."""
        ...


class WrongProtocolError(ModelRefused):
    """The server does not support this protocol, or not for this model; nothing of an answer has arrived.

    Attributes:
        original: the error to raise when no other protocol works either.
        names_other: the server names another protocol; otherwise the path does not exist.
    """

    def __init__(self, original: ModelError, status: int, *, names_other: bool) -> None:
        super().__init__(str(original), status=status)
        self.original = original
        self.names_other = names_other


class StreamingEngine:
    """One model at one address, in one protocol; see `omniagent_cli.agent.events.Engine`.

    Connections are kept between requests and belong to the running event loop: call `aclose` in it.

    Attributes:
        is_only_protocol: the server supports no other protocol, so a rejection that names one concerns an option.
    """

    path: ClassVar[str]
    """The path of requests below the base URL."""

    protocol: ClassVar[str]
    """The protocol's name, for messages."""

    elsewhere: ClassVar[re.Pattern[str]]
    """Rejections that name another protocol for this model."""

    after_finish_seconds: ClassVar[float]
    """The wait for events after the finish reason: token counts, and the end of the stream."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connection: Connection | None = None,
        memory: ProtocolMemory | None = None,
        backoff_seconds: float = 0.5,
    ) -> None:
        self.endpoint = endpoint
        self.memory = memory or ProtocolMemory()
        self.is_only_protocol = False
        self.name = f"{endpoint.provider.name}:{endpoint.model}"
        self._connection = connection or Connection(endpoint)
        self._backoff_seconds = backoff_seconds
        self._fallbacks = self.new_fallbacks()
        self._sent: Collection[str] = ()

    def new_fallbacks(self) -> ServerFallbacks:
        """Return an empty memory of rejected options."""
        return ServerFallbacks(self.endpoint)

    def new_answer(self) -> StreamedAnswer:
        """Return a parser for one answer."""
        raise NotImplementedError

    def body(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> dict[str, Any]:
        """Return the body of a request."""
        raise NotImplementedError

    def merged(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the body to send, after rejected options were removed."""
        return body

    def error_in(self, event: Any) -> Any:
        """Return the error that an event reports, as the server sent it, or None."""
        raise NotImplementedError

    def preload(self) -> None:
        """Import the library; safe in any thread, so that it loads while the user types."""
        preload()

    async def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> AsyncGenerator[EngineEvent, None]:
        """Send a request; retry only while nothing of the answer has arrived.

        Raises:
            ModelError: the request failed. A `WrongProtocolError` if the server wants another protocol.
        """
        await load()
        make_body = partial(self.body, messages, tools, settings)
        attempts: list[_Attempt] = []

        def new_attempt() -> _Attempt:
            attempts.append(_Attempt(self, make_body, settings))
            return attempts[-1]

        async with aclosing(with_retries(new_attempt, settings, self._backoff_seconds)) as events:
            async for event in events:
                yield event
        yield attempts[-1].answer.finished(self.endpoint.provider.name)

    async def aclose(self) -> None:
        """Close connections; the engine may be used again."""
        await self._connection.aclose()

    async def ask(
        self, make_body: MakeBody, settings: ModelSettings, answer: StreamedAnswer
    ) -> AsyncGenerator[Delta | Notice, None]:
        """Send the body once and feed the answer; raises `FailedError`."""
        now = asyncio.get_running_loop().time
        timeout_seconds = settings.first_token_timeout_seconds
        deadline = now() + timeout_seconds
        last: float | None = None
        with self._translated_errors(answer, timeout_seconds):
            async with asyncio.timeout_at(deadline):
                stream = await self._open(make_body, settings)
        try:
            for notice in self._fallbacks.pop_notices():
                yield notice
            async with aclosing(self._events(stream)) as events:
                while (
                    event := await self._next(events, deadline, timeout_seconds, answer)
                ) is not _END:
                    self._check_error(event, answer)
                    for delta in answer.feed(event):
                        yield delta
                    if answer.reason:  # later events do not extend this deadline
                        last = now() + self.after_finish_seconds if last is None else last
                        deadline = last
                    elif answer.recognized:  # a frame without data extends the deadline too
                        if answer.started:
                            timeout_seconds = settings.token_timeout_seconds
                        deadline = now() + timeout_seconds
        finally:
            await stream.aclose()
        if not answer.recognized:
            raise FailedError(self._malformed("an unexpected response"))
        if answer.reason == "error":
            raise FailedError(stopped_by_server(self.endpoint))

    async def _next(
        self,
        events: AsyncIterator[Any],
        deadline: float,
        timeout_seconds: float,
        answer: StreamedAnswer,
    ) -> Any:
        try:
            with self._translated_errors(answer, timeout_seconds):
                async with asyncio.timeout_at(deadline):
                    return await anext(events, _END)
        except FailedError:
            if answer.reason:
                return _END  # the answer is complete; only the token counts are missing
            raise

    async def _events(self, stream: openai.AsyncStream[object]) -> AsyncGenerator[Any, None]:
        """Yield the parsed events of a stream; servers that do not stream send one JSON document."""
        kind = stream.response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise FailedError(self._check_protocol(self._malformed("a web page"), 404, ""))
        body = stream.response.aiter_bytes()
        async for event in sse.document_or_events(body, is_document=kind == "application/json"):
            yield event

    async def _open(
        self, make_body: MakeBody, settings: ModelSettings
    ) -> openai.AsyncStream[object]:
        import openai

        client = self._connection.client()
        while True:
            body = self._fallbacks.adapt(make_body(), settings)
            sent = self.merged(body)
            try:
                return await client.post(
                    self.path,
                    cast_to=object,
                    content=_content(sent),
                    stream=True,
                    stream_cls=openai.AsyncStream[object],
                )
            except openai.APIStatusError as error:
                self._sent = _options_in(sent)
                status, error_text = error.status_code, error.response.text
                if self._names_other(error_text) or not self._fallbacks.learn(
                    status, error_text, body
                ):
                    raise

    def _names_other(self, error_text: str) -> bool:
        return not self.is_only_protocol and self.elsewhere.search(error_text) is not None

    def _check_error(self, event: Any, answer: StreamedAnswer) -> None:
        if error := self.error_in(event):
            failure = event_failure(self.endpoint, error, datetime.now(UTC))
            # LM Studio reports an unknown path with status 200 and such an error.
            raise FailedError(
                self._check_protocol(failure, 404, str(error)) if not answer.recognized else failure
            )

    def _check_protocol(self, failure: Failure, status: int, error_text: str) -> Failure:
        names_other = self._names_other(error_text)
        if not names_other and not is_missing_path(status, error_text):
            return failure
        return Failure(WrongProtocolError(failure.error, status, names_other=names_other))

    def _malformed(self, what: str) -> Failure:
        return malformed(self.endpoint, what, speaks=f"{self.protocol} (it often ends in /v1)")

    @contextmanager
    def _translated_errors(self, answer: StreamedAnswer, timeout_seconds: float) -> Iterator[None]:
        """Translate errors of the library into `FailedError`."""
        import httpx2
        import openai

        endpoint = self.endpoint
        try:
            yield
        except TimeoutError as error:
            raise FailedError(
                response_timeout(endpoint, timeout_seconds, started=answer.started)
            ) from error
        except openai.APIStatusError as error:
            response = error.response
            failure = status_failure(
                endpoint,
                response.status_code,
                response.headers,
                response.text,
                datetime.now(UTC),
                options=self._sent,
            )
            failure = self._check_protocol(failure, response.status_code, response.text)
            raise FailedError(failure) from None  # its message may contain the key
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            failure = connection_failure(endpoint, error, started=answer.recognized)
            raise FailedError(failure) from error
        except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
            failure = (
                malformed_event(endpoint) if answer.recognized else self._malformed("invalid JSON")
            )
            raise FailedError(failure) from error


def is_missing_path(status: int, error_text: str) -> bool:
    """Return True if an error reports a missing path rather than a missing model."""
    if status == 404:
        return _NAMES_RESOURCE.search(error_text) is None
    return status in (405, 501) or "unexpected endpoint or method" in error_text.lower()


_NAMES_RESOURCE = re.compile(r"model|deployment|\bitem\b|\bimages?\b", re.IGNORECASE)


def _content(body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON without lone surrogates, which names of models and descriptions of tools may have."""
    content = dump(body)
    return dump(valid_unicode(dict(body))) if b"\\ud" in content else content


def _options_in(body: Mapping[str, Any]) -> list[str]:
    """Return the keys of a body, and those of its nested objects in dotted form."""
    inner = ((key, value) for key, value in body.items() if isinstance(value, dict))
    return [*body, *(f"{key}.{name}" for key, value in inner for name in value)]


class _Attempt:
    """One attempt at a request and its answer; see `omniagent_cli.agent.models.retries`."""

    def __init__(
        self, engine: StreamingEngine, make_body: MakeBody, settings: ModelSettings
    ) -> None:
        self.answer = engine.new_answer()
        self._engine = engine
        self._asked = make_body
        self._settings = settings

    @property
    def started(self) -> bool:
        return self.answer.started

    def pieces(self) -> AsyncGenerator[Delta | Notice, None]:
        return self._engine.ask(self._asked, self._settings, self.answer)


_END = object()
