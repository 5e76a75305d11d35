"""The engine that asks a Chat Completions server through the `openai` library, which only this and `client` import.

The library is loaded on first use, because that takes as long as a whole other command. Its typed chunks
are not used: they are built unchecked from whatever a server sends, so plain objects are as safe and faster.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.events import (
    EngineEvent,
    ModelSettings,
    Notice,
    TextDelta,
    ThinkingDelta,
)
from omniagent_cli.agent.models import sse
from omniagent_cli.agent.models.failures import (
    broken_line,
    event_failure,
    malformed,
    silent,
    status_failure,
)
from omniagent_cli.agent.models.fallbacks import Concessions
from omniagent_cli.agent.models.http_client import connection_failure, new_client
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.request_body import question
from omniagent_cli.agent.models.retries import FailedError, persistently
from omniagent_cli.agent.models.stream_parser import Answer
from omniagent_cli.json_format import dump

if TYPE_CHECKING:
    import openai

_AFTER_FINISH_SECONDS = 2.0


def preload() -> None:
    """Import the library; safe in any thread, so that it loads while the person types."""
    if not _loaded:
        import openai

        # Making one loads what the library and its HTTP layer leave for later; it holds no connection.
        openai.AsyncOpenAI(
            api_key="none",
            http_client=openai.DefaultAsyncHttpxClient(verify=False, trust_env=False),
        )
        import anyio

        anyio.run(
            anyio.sleep, 0
        )  # the HTTP layer takes its event loop's module with its first connection
        _loaded.append(True)


_loaded: list[bool] = []


def engine_for(endpoint: Endpoint) -> ChatCompletionsEngine:
    """Make the engine of an endpoint."""
    return ChatCompletionsEngine(endpoint)


class ChatCompletionsEngine:
    """One model at one address; see `omniagent_cli.agent.events.Engine`.

    Connections are kept between questions and belong to the running event loop: call `aclose` in it.
    """

    def __init__(self, endpoint: Endpoint, *, backoff_seconds: float = 0.5) -> None:
        self.endpoint = endpoint
        self.name = f"{endpoint.provider.name}:{endpoint.model}"
        self._backoff_seconds = backoff_seconds
        self._client: openai.AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._concessions = Concessions(endpoint)
        self._sent: Collection[str] = ()

    def preload(self) -> None:
        """Import the library; safe in any thread, so that it loads while the person types."""
        preload()

    async def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> AsyncIterator[EngineEvent]:
        """Ask once; try again only while nothing of an answer has come.

        Raises:
            ModelError: the provider did not answer properly.
        """
        # In a thread: an interrupt in the middle of an import would leave half-loaded modules.
        if not _loaded:
            await asyncio.to_thread(preload)
        asked = question(self.endpoint, messages, tools, settings)
        tried: list[_Attempt] = []

        def again() -> _Attempt:
            tried.append(_Attempt(self, asked, settings))
            return tried[-1]

        async with aclosing(persistently(again, settings, self._backoff_seconds)) as events:
            async for event in events:
                yield event
        yield tried[-1].answer.finished(self.endpoint.provider.name)

    async def aclose(self) -> None:
        """Let go of connections; the engine may be used again."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    async def ask(
        self, asked: Mapping[str, Any], settings: ModelSettings, answer: Answer
    ) -> AsyncGenerator[TextDelta | ThinkingDelta | Notice, None]:
        """Ask with this body, once, and feed the answer; raises a `FailedError`."""
        now = asyncio.get_running_loop().time
        patience = settings.first_token_timeout_seconds
        deadline = now() + patience
        last: float | None = None
        with self._explained(answer, patience):
            async with asyncio.timeout_at(deadline):
                stream = await self._open(asked, settings)
        try:
            for notice in self._concessions.take_notices():
                yield notice
            async with aclosing(self._chunks(stream)) as chunks:
                while (chunk := await self._next(chunks, deadline, patience, answer)) is not _END:
                    self._check_error_event(chunk)
                    for delta in answer.feed(chunk):
                        yield delta
                    if answer.reason:  # only the token counts are awaited, and not prolonged
                        last = now() + _AFTER_FINISH_SECONDS if last is None else last
                        deadline = last
                    elif answer.began:  # a frame without data is a sign of life too
                        patience = settings.token_timeout_seconds
                        deadline = now() + patience
        finally:
            await stream.aclose()
        if not answer.recognised:
            raise FailedError(malformed(self.endpoint, "something else than an answer"))

    async def _next(
        self, chunks: AsyncIterator[Any], deadline: float, patience: float, answer: Answer
    ) -> Any:
        try:
            with self._explained(answer, patience):
                async with asyncio.timeout_at(deadline):
                    return await anext(chunks, _END)
        except FailedError:
            if answer.reason:
                return _END  # all was said; only the token counts are missing
            raise

    async def _chunks(self, stream: openai.AsyncStream[object]) -> AsyncGenerator[Any, None]:
        """Yield the parsed events of a stream; servers that do not stream send one JSON document."""
        kind = stream.response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            yield json.loads(await stream.response.aread())
        elif kind == "text/html":
            raise FailedError(malformed(self.endpoint, "a web page"))
        else:
            async for event in sse.events(stream.response.aiter_bytes()):
                yield event

    async def _open(
        self, asked: Mapping[str, Any], settings: ModelSettings
    ) -> openai.AsyncStream[object]:
        import openai

        client = self._connected()
        while True:
            body = self._concessions.adapted(asked, settings)
            try:
                return await client.post(
                    "/chat/completions",
                    cast_to=object,
                    content=dump(body),
                    stream=True,
                    stream_cls=openai.AsyncStream[object],
                )
            except openai.APIStatusError as error:
                self._sent = body.keys()
                if not self._concessions.learn(error.status_code, error.response.text, body):
                    raise

    def _check_error_event(self, chunk: Any) -> None:
        if not isinstance(chunk, dict):
            return
        error = chunk.get("error")
        is_error = chunk.get("object") == "error" or chunk.get("type") == "error"
        if not error and is_error and not chunk.get("choices"):
            error = chunk
        if error:
            raise FailedError(event_failure(self.endpoint, error, datetime.now(UTC)))

    @contextmanager
    def _explained(self, answer: Answer, patience: float) -> Iterator[None]:
        """Turn what the library raises into failures of ours, once."""
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
            raise FailedError(failure) from None  # what it says may repeat the key
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise FailedError(
                connection_failure(endpoint, error, began=answer.recognised)
            ) from error
        except openai.APIError as error:  # an error event; its body is the object or the text of it
            told = error.body or error.message
            raise FailedError(event_failure(endpoint, told, datetime.now(UTC))) from None
        except (ValueError, RecursionError) as error:
            # The library lets through what its readers of JSON and UTF-8 raise.
            failure = broken_line(endpoint) if answer.recognised else malformed(endpoint, "no JSON")
            raise FailedError(failure) from error

    def _connected(self) -> openai.AsyncOpenAI:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client, self._loop = new_client(self.endpoint), loop
        return self._client


class _Attempt:
    """One try at a question, and what came of it; see `omniagent_cli.agent.models.retries`."""

    def __init__(
        self, engine: ChatCompletionsEngine, asked: Mapping[str, Any], settings: ModelSettings
    ) -> None:
        self.answer = Answer()
        self._engine = engine
        self._asked = asked
        self._settings = settings

    @property
    def began(self) -> bool:
        return self.answer.began

    def pieces(self) -> AsyncGenerator[TextDelta | ThinkingDelta | Notice, None]:
        return self._engine.ask(self._asked, self._settings, self.answer)


_END = object()
