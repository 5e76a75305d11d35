"""The engine that asks a Chat Completions server through the `openai` library; its only importer.

The library is loaded on first use, because that takes as long as a whole other command. Its typed chunks
are not used: they are built unchecked from whatever a server sends, so plain objects are as safe and faster.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.chunks import Answer
from omniagent_cli.agent.events import (
    EngineEvent,
    ModelSettings,
    Retrying,
    TextDelta,
    ThinkingDelta,
)
from omniagent_cli.agent.failures import (
    Failure,
    broken_line,
    cut_off,
    event_failure,
    malformed,
    silent,
    status_failure,
    unreachable,
    untrusted_certificate,
)
from omniagent_cli.agent.providers import Endpoint, base_url_for, is_loopback, parse_model
from omniagent_cli.agent.question import question
from omniagent_cli.canonical import dump
from omniagent_cli.errors import ConfigError, ModelRefused, UsageError
from omniagent_cli.keys import KeyChain, check_key

if TYPE_CHECKING:
    import httpx2
    import openai

LONGEST_WAIT_SECONDS = 60.0
"""A provider that asks to wait for longer gets no second try: the person decides."""

_CONNECT_SECONDS = 10.0
_AFTER_FINISH_SECONDS = 2.0
_PLAIN_HEADERS = frozenset(
    {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-type",
        "content-length",
        "transfer-encoding",
    }
)


def preload() -> None:
    """Import the library; safe in any thread, so that it loads while the person types."""
    if not _loaded:
        import openai

        # Making one loads what the library and its HTTP layer leave for later; it holds no connection.
        openai.AsyncOpenAI(
            api_key="none",
            http_client=openai.DefaultAsyncHttpxClient(verify=False, trust_env=False),
        )
        _loaded.append(True)


_loaded: list[bool] = []


def open_engine(
    model: str, *, base_url: str | None = None, keys: KeyChain | None = None, send_key: bool = True
) -> ChatCompletionsEngine:
    """Make the engine for ``provider:name``.

    Args:
        model: such as ``openai:gpt-5``.
        base_url: another address for the provider.
        keys: where its key is; only environment and keyring unless told.
        send_key: False for a server that was found by itself: it is never told a key.

    Raises:
        UsageError: the model or the address is wrong.
    """
    name = parse_model(model)
    if not name.model:
        raise UsageError(
            f"name a model too, such as {name.provider.name}:NAME; see `omniagent models list`"
        )
    address = base_url_for(name.provider, base_url)
    key = None
    if send_key and not (name.provider.keyless_on_loopback and is_loopback(address)):
        key = (keys or KeyChain()).get(name.provider.name, name.provider.key_variables)
    return ChatCompletionsEngine(Endpoint(name.provider, name.model, address, key or ""))


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
        self._refused_options: set[str] = set()

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
        retries = 0
        while True:
            answer = Answer()
            try:
                async with aclosing(self._ask(asked, settings, answer)) as deltas:
                    async for delta in deltas:
                        yield delta
                break
            except _FailedError as failed:
                wait = self._wait(failed.failure, retries)
                if answer.began or retries >= settings.max_retries or wait is None:
                    raise failed.failure.error from failed.__cause__
                retry = Retrying(failed.failure.reason, wait)
            retries += 1
            yield retry
            await asyncio.sleep(retry.wait_seconds)
        yield answer.finished(self.endpoint.provider.name)

    async def aclose(self) -> None:
        """Let go of connections; the engine may be used again."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    def _wait(self, failure: Failure, retries: int) -> float | None:
        """Return how long to wait before trying again; None when that makes no sense."""
        if not failure.worth_retrying:
            return None
        if failure.wait_seconds is not None:
            return failure.wait_seconds if failure.wait_seconds <= LONGEST_WAIT_SECONDS else None
        # Spread, so that many waiting programs do not come back at the same moment.
        return float(min(8.0, self._backoff_seconds * 2**retries)) * random.uniform(0.75, 1.0)  # noqa: S311

    async def _ask(
        self, asked: Mapping[str, Any], settings: ModelSettings, answer: Answer
    ) -> AsyncGenerator[TextDelta | ThinkingDelta, None]:
        now = asyncio.get_running_loop().time
        patience = settings.first_token_timeout_seconds
        deadline = now() + patience
        with self._explained(answer, patience):
            async with asyncio.timeout_at(deadline):
                stream = await self._open(asked)
        try:
            async with aclosing(self._chunks(stream)) as chunks:
                while (chunk := await self._next(chunks, deadline, patience, answer)) is not _END:
                    self._check_error_event(chunk)
                    for delta in answer.feed(chunk):
                        yield delta
                    if answer.began or answer.reason:
                        patience = settings.token_timeout_seconds
                        # After the finish reason only the token counts are awaited.
                        deadline = now() + (_AFTER_FINISH_SECONDS if answer.reason else patience)
        finally:
            await stream.aclose()
        if not answer.recognised:
            raise _FailedError(malformed(self.endpoint, "something else than an answer"))

    async def _next(
        self, chunks: AsyncIterator[Any], deadline: float, patience: float, answer: Answer
    ) -> Any:
        try:
            with self._explained(answer, patience):
                async with asyncio.timeout_at(deadline):
                    return await anext(chunks, _END)
        except _FailedError:
            if answer.reason:
                return _END  # all was said; only the token counts are missing
            raise

    async def _chunks(self, stream: openai.AsyncStream[object]) -> AsyncGenerator[Any, None]:
        """Yield the parsed events of a stream; servers that do not stream send one JSON document."""
        kind = stream.response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            yield json.loads(await stream.response.aread())
        elif kind == "text/html":
            raise _FailedError(malformed(self.endpoint, "a web page"))
        else:
            async for chunk in stream:
                yield chunk

    async def _open(self, asked: Mapping[str, Any]) -> openai.AsyncStream[object]:
        import openai

        client = self._connected()
        while True:
            body = {k: v for k, v in asked.items() if k not in self._refused_options}
            if "max_tokens" in self._refused_options and "max_tokens" in asked:
                body["max_completion_tokens"] = asked["max_tokens"]
            try:
                return await client.post(
                    "/chat/completions",
                    cast_to=object,
                    content=dump(body),
                    stream=True,
                    stream_cls=openai.AsyncStream[object],
                )
            except openai.APIStatusError as error:
                if not self._learn(error, body):
                    raise

    def _learn(self, error: openai.APIStatusError, body: Mapping[str, Any]) -> bool:
        """Note an option that this server refuses and that an answer can do without."""
        if error.status_code not in (400, 422):
            return False
        said = error.response.text
        for option, sign in (
            ("stream_options", "stream_options"),
            ("max_tokens", "max_completion_tokens"),
        ):
            if option in body and sign in said:
                self._refused_options.add(option)
                return True
        return False

    def _check_error_event(self, chunk: Any) -> None:
        if not isinstance(chunk, dict) or chunk.get("choices"):
            return
        error = chunk.get("error")
        if not error and (chunk.get("object") == "error" or chunk.get("type") == "error"):
            error = chunk
        if error:
            raise _FailedError(event_failure(self.endpoint, error, datetime.now(UTC)))

    @contextmanager
    def _explained(self, answer: Answer, patience: float) -> Iterator[None]:
        """Turn what the library raises into failures of ours, once."""
        import httpx2
        import openai

        endpoint = self.endpoint
        try:
            yield
        except TimeoutError as error:
            raise _FailedError(silent(endpoint, patience, began=answer.began)) from error
        except openai.APIStatusError as error:
            response = error.response
            failure = status_failure(
                endpoint, response.status_code, response.headers, response.text, datetime.now(UTC)
            )
            raise _FailedError(failure) from None  # what it says may repeat the key
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise _FailedError(_connection_failure(endpoint, answer, error)) from error
        except openai.APIError as error:  # an error event; its body is the object or the text of it
            told = error.body or error.message
            raise _FailedError(event_failure(endpoint, told, datetime.now(UTC))) from None
        except (ValueError, RecursionError) as error:
            # The library lets through what its readers of JSON and UTF-8 raise.
            failure = broken_line(endpoint) if answer.recognised else malformed(endpoint, "no JSON")
            raise _FailedError(failure) from error

    def _connected(self) -> openai.AsyncOpenAI:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client, self._loop = _new_client(self.endpoint), loop
        return self._client


class _FailedError(Exception):
    """One attempt failed; carries what to make of it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


_END = object()


def _connection_failure(endpoint: Endpoint, answer: Answer, error: BaseException) -> Failure:
    import httpx2
    import openai

    causes = [error, *_causes(error)]
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return untrusted_certificate(endpoint)
    if answer.recognised:
        return cut_off(endpoint)
    if any(isinstance(cause, httpx2.ProxyError) for cause in causes):
        return unreachable(endpoint, "the proxy refused")
    if isinstance(error, openai.APITimeoutError):
        return unreachable(endpoint, "no connection in time")
    return unreachable(endpoint, "no connection")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _new_client(endpoint: Endpoint) -> openai.AsyncOpenAI:
    import openai

    if not endpoint.api_key and endpoint.needs_key:
        raise ModelRefused(f"there is no key for {endpoint.provider.title}; {endpoint.key_advice}")
    if endpoint.api_key:
        try:
            check_key(endpoint.api_key)
        except UsageError as error:
            raise ModelRefused(
                f"{endpoint.provider.title}: {error}; {endpoint.key_advice}"
            ) from error
    timeout = openai.Timeout(None, connect=_CONNECT_SECONDS)  # silence is judged by us, per token
    try:
        http_client = openai.DefaultAsyncHttpxClient(
            # Proxy variables apply to loopback too, where no proxy can help.
            trust_env=not is_loopback(endpoint.base_url),
            # There is no TLS on http, and loading the trust store takes as long as a short answer.
            verify=endpoint.base_url.startswith("https:"),
            # A conversation goes where the person said, not where a server points.
            follow_redirects=False,
            timeout=timeout,
            event_hooks={"request": [_header_hook(endpoint)]},
        )
    except (ImportError, ValueError) as error:
        raise ConfigError(
            "the proxy named in the environment (HTTPS_PROXY, ALL_PROXY) cannot be used; mend or unset it"
        ) from error
    return openai.AsyncOpenAI(
        api_key=endpoint.api_key or "none",  # the library insists; the hook takes it away again
        base_url=endpoint.base_url,
        http_client=http_client,
        timeout=timeout,
        max_retries=0,
    )


def _header_hook(endpoint: Endpoint) -> Callable[[httpx2.Request], Awaitable[None]]:
    """Make what decides the headers of every request.

    The library adds facts about this machine, and from OPENAI_ORG_ID, OPENAI_PROJECT_ID and
    OPENAI_CUSTOM_HEADERS what is meant for OpenAI, to every request to whatever address.
    """
    is_openai = endpoint.provider.name == "openai"

    async def decide(request: httpx2.Request) -> None:
        for name in {name.lower() for name in request.headers} - _PLAIN_HEADERS:
            if not is_openai or name.startswith("x-stainless"):
                del request.headers[name]
        request.headers["user-agent"] = "omniagent"
        if endpoint.api_key:
            request.headers["authorization"] = f"Bearer {endpoint.api_key}"
        else:
            request.headers.pop("authorization", None)

    return decide
