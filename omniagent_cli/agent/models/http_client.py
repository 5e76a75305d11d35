"""The HTTP client for OpenAI-compatible servers: the client of the `openai` library with restricted headers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from omniagent_cli.agent.models.failures import (
    Failure,
    connection_closed,
    proxy_refused,
    tls_failure,
    unknown_host,
    unreachable,
    untrusted_certificate,
)
from omniagent_cli.agent.models.network import proxy_for, tls_context
from omniagent_cli.agent.models.providers import Endpoint, is_loopback
from omniagent_cli.errors import ConfigError, ModelRefused, ModelUnreachable, UsageError
from omniagent_cli.keys import check_key

if TYPE_CHECKING:
    import httpx2
    import openai

Client = TypeVar("Client")

CONNECT_SECONDS = 10.0
_ERROR_BYTES = 100_000
_ANSWER_BYTES = 300_000_000
_PACKED_BYTES = 5_000_000
PLAIN_HEADERS = frozenset(
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


def connection_failure(endpoint: Endpoint, error: BaseException, *, started: bool) -> Failure:
    """Return the failure for a connection error of any library; `started` is True once part of the answer has arrived."""
    causes = [error, *_causes(error)]
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return untrusted_certificate(endpoint)
    if started:
        return connection_closed(endpoint)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return tls_failure(endpoint)
    if any(
        isinstance(cause, socket.gaierror) or _is_named(cause, "NameResolution") for cause in causes
    ):
        return unknown_host(endpoint)
    if refused := [cause for cause in causes if _is_named(cause, "Proxy")]:
        return proxy_refused(endpoint, str(refused[0]))
    if any(_is_named(cause, "Timeout") for cause in causes):
        return unreachable(endpoint, "connection timed out")
    return unreachable(endpoint, "connection failed")


def _is_named(error: BaseException, kind: str) -> bool:
    """Return True if the class name of an error contains a word; each library has its own classes."""
    return kind in type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        inner = getattr(cause, "reason", None)  # set by urllib3
        if isinstance(inner, BaseException):
            yield inner
        cause = cause.__cause__ or cause.__context__


def check_api_key(endpoint: Endpoint) -> None:
    """Raise `ModelRefused` if the API key has characters that a header cannot hold."""
    if endpoint.api_key:
        try:
            check_key(endpoint.api_key)
        except UsageError as error:
            provider = endpoint.provider
            raise ModelRefused(f"{provider.title}: {error}; {provider.key_advice}") from error


def new_client(endpoint: Endpoint) -> openai.AsyncOpenAI:
    """Return a client for one server; it belongs to the running event loop.

    Raises:
        ModelUnreachable: the provider needs an API key and none is set.
        ModelRefused: the API key has characters that a header cannot hold.
        ConfigError: the proxy in the environment is unusable.
    """
    import httpx2
    import openai

    if not endpoint.api_key and endpoint.needs_key:
        raise ModelUnreachable(
            f"no API key for {endpoint.provider.title}; {endpoint.provider.key_advice}"
        )
    check_api_key(endpoint)
    timeout = openai.Timeout(None, connect=CONNECT_SECONDS)  # the engine applies timeouts per token
    http_client = http_client_for(
        endpoint,
        openai.DefaultAsyncHttpxClient,
        timeout=timeout,
        event_hooks={"request": [_header_hook(endpoint)], "response": [size_limit_hook(httpx2)]},
    )
    return openai.AsyncOpenAI(
        api_key=endpoint.api_key
        or "none",  # the library requires a key; the request hook removes it
        base_url=endpoint.base_url,
        http_client=http_client,
        timeout=timeout,
        max_retries=0,
    )


def http_client_for(endpoint: Endpoint, make: Callable[..., Client], **options: Any) -> Client:
    """Return an HTTP client with the proxy, TLS and redirect settings that all libraries share.

    Raises:
        ConfigError: the proxy in the environment is unusable.
        ModelUnreachable: the certificates in the environment are unusable.
    """
    secure = endpoint.base_url.startswith("https:")
    try:
        return make(
            # Proxy variables apply to loopback too, where no proxy can help.
            trust_env=not is_loopback(endpoint.base_url),
            # http needs no TLS, and loading the trust store takes as long as a short answer.
            verify=(tls_context() or True) if secure else False,
            # Messages go to the configured server, not to a redirect target.
            follow_redirects=False,
            **options,
        )
    except (ImportError, ValueError) as error:
        proxy = proxy_for(endpoint.base_url) or "the proxy of the environment"
        why = "install the package socksio or" if "socksio" in str(error) else ""
        raise ConfigError(f"cannot use {proxy}; {why or 'correct or'} unset it") from error


def _header_hook(endpoint: Endpoint) -> Callable[[httpx2.Request], Awaitable[None]]:
    """Return the hook that restricts the headers of every request.

    The library adds facts about this machine to every request, and sends the values of OPENAI_ORG_ID,
    OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS to any server.
    """
    is_openai = endpoint.provider.name == "openai"

    async def decide(request: httpx2.Request) -> None:
        for name in {name.lower() for name in request.headers} - PLAIN_HEADERS:
            if not is_openai or name.startswith("x-stainless"):
                del request.headers[name]
        request.headers["user-agent"] = "omniagent"
        request.headers["accept-encoding"] = "identity"  # the size limits count undecoded bytes
        if endpoint.api_key:
            request.headers["authorization"] = f"Bearer {endpoint.api_key}"
        else:
            request.headers.pop("authorization", None)

    return decide


def size_limit_hook(
    library: ModuleType, on_bytes: Callable[[], None] = lambda: None
) -> Callable[[Any], Awaitable[None]]:
    """Return a hook that limits the size of responses: libraries read errors whole, and lines of any length.

    Args:
        library: the HTTP library, httpx or httpx2.
        on_bytes: callback for received bytes of an answer.
    """
    # Created here, because its base class is imported late.
    kind = type("Bounded", (_LimitedStream, library.AsyncByteStream), {})

    async def limit_response(response: Any) -> None:
        encoded = (
            "content-encoding" in response.headers
        )  # although the request asks for no encoding
        limit = _PACKED_BYTES if encoded else _ANSWER_BYTES
        error = library.ReadError("the response exceeds the size limit")
        if isinstance(response.stream, library.AsyncByteStream):
            whole = response.is_success
            bounds = (limit, error) if whole else (_ERROR_BYTES, None)
            response.stream = kind(response.stream, on_bytes, *bounds)

    return limit_response


class _LimitedStream:
    """The bytes of a response up to a limit; the rest is dropped or raises an error."""

    def __init__(
        self, stream: Any, on_bytes: Callable[[], None], limit: int, error: Exception | None
    ) -> None:
        self._stream = stream
        self._on_bytes = on_bytes
        self._limit = limit
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit
        async for data in self._stream:
            self._on_bytes()
            yield data[:left]
            left -= len(data)
            if left <= 0 and self._error is not None:
                raise self._error
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
