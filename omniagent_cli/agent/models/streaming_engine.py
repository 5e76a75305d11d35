"""The base of the engines that call a server through the `openai` library: connection, stream, time-outs, failures.

The library is loaded on first use, because that takes as long as a whole other command. Its typed events are not
used: they are built unchecked from whatever a server sends, so plain objects are as safe and faster.
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
    broken_line,
    broken_off,
    event_failure,
    malformed,
    silent,
    status_failure,
)
from omniagent_cli.agent.models.http_client import connection_failure
from omniagent_cli.agent.models.normalization import valid_unicode
from omniagent_cli.agent.models.protocol_memory import ProtocolMemory
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.retries import FailedError, persistently
from omniagent_cli.errors import ModelError, ModelRefused
from omniagent_cli.json_format import dump

if TYPE_CHECKING:
    import openai

Delta = TextDelta | ThinkingDelta
MakeBody = Callable[[], Mapping[str, Any]]  # called again when a refusal changed what is known


class StreamedAnswer(Protocol):
    """One answer, built from the events of a stream.

    Attributes:
        began: something of the answer has come: text, thinking or a tool call.
        recognised: at least one event was in the protocol.
        reason: the finish reason; empty until it came.
    """

    began: bool
    recognised: bool
    reason: str

    def feed(self, event: Any) -> Iterator[Delta]:
        """Take one event, or one complete answer, and yield what it adds; unknown shapes add nothing."""
        ...

    def finished(self, provider: str) -> Finished:
        """Return the complete answer."""
        ...


class Fallbacks(Protocol):
    """The options a server rejected; see `omniagent_cli.agent.models.fallbacks`."""

    def adapted(self, asked: Mapping[str, Any], settings: ModelSettings) -> dict[str, Any]:
        """Return the body of a request without them."""
        ...

    def learn(self, status: int, said: str, body: Mapping[str, Any]) -> bool:
        """Record a refusal; return True when there is another body to try."""
        ...

    def take_notices(self) -> list[Notice]:
        """Return the notices for the user, once."""
        ...


class WrongProtocolError(ModelRefused):
    """The server does not speak this protocol, or not for this model; nothing of an answer has come.

    Attributes:
        original: the error to raise when no other protocol works either.
        names_other: the server says so itself, rather than that there is no such path.
    """

    def __init__(self, original: ModelError, status: int, *, names_other: bool) -> None:
        super().__init__(str(original), status=status)
        self.original = original
        self.names_other = names_other


class StreamingEngine:
    """One model at one address, in one protocol; see `omniagent_cli.agent.events.Engine`.

    Connections are kept between requests and belong to the running event loop: call `aclose` in it.

    Attributes:
        is_only_protocol: the server does not speak the other one, so a refusal that names it is one of an option.
    """

    path: ClassVar[str]
    """Where requests go, below the base URL."""

    protocol: ClassVar[str]
    """The protocol's name, for messages."""

    elsewhere: ClassVar[re.Pattern[str]]
    """Refusals that name another protocol for this model."""

    after_finish_seconds: ClassVar[float]
    """How long to wait for what follows the finish reason: token counts, and the end of the stream."""

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

    def new_fallbacks(self) -> Fallbacks:
        """Make the memory of refused options."""
        raise NotImplementedError

    def new_answer(self) -> StreamedAnswer:
        """Make the parser of one answer."""
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
        """Return the body as it is sent, after what the server refuses was left out."""
        return body

    def error_in(self, event: Any) -> Any:
        """Return the error that an event reports, as the server sent it; None when there is none."""
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
        """Ask once; try again only while nothing of an answer has come.

        Raises:
            ModelError: the provider did not answer properly. A `WrongProtocolError` when it wants another protocol.
        """
        await load()
        asked = partial(self.body, messages, tools, settings)
        tried: list[_Attempt] = []

        def again() -> _Attempt:
            tried.append(_Attempt(self, asked, settings))
            return tried[-1]

        async with aclosing(persistently(again, settings, self._backoff_seconds)) as events:
            async for event in events:
                yield event
        yield tried[-1].answer.finished(self.endpoint.provider.name)

    async def aclose(self) -> None:
        """Close connections; the engine may be used again."""
        await self._connection.aclose()

    async def ask(
        self, asked: MakeBody, settings: ModelSettings, answer: StreamedAnswer
    ) -> AsyncGenerator[Delta | Notice, None]:
        """Send this body, once, and feed the answer; raises a `FailedError`."""
        now = asyncio.get_running_loop().time
        patience = settings.first_token_timeout_seconds
        deadline = now() + patience
        last: float | None = None
        with self._explained(answer, patience):
            async with asyncio.timeout_at(deadline):
                stream = await self._open(asked, settings)
        try:
            for notice in self._fallbacks.take_notices():
                yield notice
            async with aclosing(self._events(stream)) as events:
                while (event := await self._next(events, deadline, patience, answer)) is not _END:
                    self._check_error(event, answer)
                    for delta in answer.feed(event):
                        yield delta
                    if answer.reason:  # what follows is not waited for any longer than this
                        last = now() + self.after_finish_seconds if last is None else last
                        deadline = last
                    elif answer.recognised:  # a frame without data is a sign of life too
                        if answer.began:
                            patience = settings.token_timeout_seconds
                        deadline = now() + patience
        finally:
            await stream.aclose()
        if not answer.recognised:
            raise FailedError(self._malformed("something else than an answer"))
        if answer.reason == "error":
            raise FailedError(broken_off(self.endpoint))

    async def _next(
        self, events: AsyncIterator[Any], deadline: float, patience: float, answer: StreamedAnswer
    ) -> Any:
        try:
            with self._explained(answer, patience):
                async with asyncio.timeout_at(deadline):
                    return await anext(events, _END)
        except FailedError:
            if answer.reason:
                return _END  # the answer is whole; only the token counts are missing
            raise

    async def _events(self, stream: openai.AsyncStream[object]) -> AsyncGenerator[Any, None]:
        """Yield the parsed events of a stream; servers that do not stream send one JSON document."""
        kind = stream.response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise FailedError(self._refused(self._malformed("a web page"), 404, ""))
        body = stream.response.aiter_bytes()
        async for event in sse.document_or_events(body, is_document=kind == "application/json"):
            yield event

    async def _open(self, asked: MakeBody, settings: ModelSettings) -> openai.AsyncStream[object]:
        import openai

        client = self._connection.client()
        while True:
            body = self._fallbacks.adapted(asked(), settings)
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
                status, said = error.status_code, error.response.text
                if self._names_other(said) or not self._fallbacks.learn(status, said, body):
                    raise

    def _names_other(self, said: str) -> bool:
        return not self.is_only_protocol and self.elsewhere.search(said) is not None

    def _check_error(self, event: Any, answer: StreamedAnswer) -> None:
        if error := self.error_in(event):
            failure = event_failure(self.endpoint, error, datetime.now(UTC))
            # LM Studio answers a path it does not have with 200 and such an error.
            raise FailedError(
                self._refused(failure, 404, str(error)) if not answer.recognised else failure
            )

    def _refused(self, failure: Failure, status: int, said: str) -> Failure:
        names_other = self._names_other(said)
        if not names_other and not is_missing_path(status, said):
            return failure
        return Failure(WrongProtocolError(failure.error, status, names_other=names_other))

    def _malformed(self, what: str) -> Failure:
        return malformed(self.endpoint, what, speaks=f"{self.protocol} (it often ends in /v1)")

    @contextmanager
    def _explained(self, answer: StreamedAnswer, patience: float) -> Iterator[None]:
        """Turn what the library raises into failures, once."""
        import httpx2
        import openai

        endpoint = self.endpoint
        try:
            yield
        except TimeoutError as error:
            raise FailedError(silent(endpoint, patience, began=answer.began)) from error
        except openai.APIStatusError as error:
            response = error.response
            failure = status_failure(
                endpoint,
                response.status_code,
                response.headers,
                response.text,
                datetime.now(UTC),
                asked=self._sent,
            )
            failure = self._refused(failure, response.status_code, response.text)
            raise FailedError(failure) from None  # what it says may repeat the key
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            failure = connection_failure(endpoint, error, began=answer.recognised)
            raise FailedError(failure) from error
        except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
            failure = broken_line(endpoint) if answer.recognised else self._malformed("no JSON")
            raise FailedError(failure) from error


def is_missing_path(status: int, said: str) -> bool:
    """Return True when an error reports a missing path rather than a missing model."""
    if status == 404:
        return _NAMES_A_THING.search(said) is None
    return status in (405, 501) or "unexpected endpoint or method" in said.lower()


_NAMES_A_THING = re.compile(r"model|deployment|\bitem\b|\bimages?\b", re.IGNORECASE)


def _content(body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON without lone surrogates, which names of models and descriptions of tools may have."""
    content = dump(body)
    return dump(valid_unicode(dict(body))) if b"\\ud" in content else content


def _options_in(body: Mapping[str, Any]) -> list[str]:
    """Return the keys of a body, and those of its objects behind a dot."""
    inner = ((key, value) for key, value in body.items() if isinstance(value, dict))
    return [*body, *(f"{key}.{name}" for key, value in inner for name in value)]


class _Attempt:
    """One try at a request, and what came of it; see `omniagent_cli.agent.models.retries`."""

    def __init__(self, engine: StreamingEngine, asked: MakeBody, settings: ModelSettings) -> None:
        self.answer = engine.new_answer()
        self._engine = engine
        self._asked = asked
        self._settings = settings

    @property
    def began(self) -> bool:
        return self.answer.began

    def pieces(self) -> AsyncGenerator[Delta | Notice, None]:
        return self._engine.ask(self._asked, self._settings, self.answer)


_END = object()
