"""The connection to a Chat Completions server: the client of the `openai` library, with headers of our own making."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from omniagent_cli.agent.models.failures import (
    Failure,
    cut_off,
    no_tls,
    proxy_refused,
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


def connection_failure(endpoint: Endpoint, error: BaseException, *, began: bool) -> Failure:
    """Explain what went wrong with a connection; `began` when an answer had come in part."""
    import httpx2
    import openai

    causes = [error, *_causes(error)]
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return untrusted_certificate(endpoint)
    if began:
        return cut_off(endpoint)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return no_tls(endpoint)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return unknown_host(endpoint)
    if refused := [cause for cause in causes if isinstance(cause, httpx2.ProxyError)]:
        return proxy_refused(endpoint, str(refused[0]))
    if isinstance(error, openai.APITimeoutError):
        return unreachable(endpoint, "no connection in time")
    return unreachable(endpoint, "no connection")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def new_client(endpoint: Endpoint) -> openai.AsyncOpenAI:
    """Make a client for one server; it belongs to the running event loop.

    Raises:
        ModelUnreachable: there is no key where one is needed.
        ModelRefused: the key is none.
        ConfigError: the proxy named in the environment cannot be used.
    """
    import httpx2
    import openai

    if not endpoint.api_key and endpoint.needs_key:
        raise ModelUnreachable(
            f"there is no key for {endpoint.provider.title}; {endpoint.key_advice}"
        )
    if endpoint.api_key:
        try:
            check_key(endpoint.api_key)
        except UsageError as error:
            raise ModelRefused(
                f"{endpoint.provider.title}: {error}; {endpoint.key_advice}"
            ) from error
    timeout = openai.Timeout(None, connect=CONNECT_SECONDS)  # silence is judged by us, per token
    http_client = http_client_for(
        endpoint,
        openai.DefaultAsyncHttpxClient,
        timeout=timeout,
        event_hooks={"request": [_header_hook(endpoint)], "response": [bounding(httpx2)]},
    )
    return openai.AsyncOpenAI(
        api_key=endpoint.api_key or "none",  # the library insists; the hook takes it away again
        base_url=endpoint.base_url,
        http_client=http_client,
        timeout=timeout,
        max_retries=0,
    )


def http_client_for(endpoint: Endpoint, make: Callable[..., Client], **options: Any) -> Client:
    """Make the HTTP client of a library that asks a server, with what is the same for all of them.

    Raises:
        ConfigError: the proxy named in the environment cannot be used.
        ModelUnreachable: the certificates named in the environment cannot be used.
    """
    secure = endpoint.base_url.startswith("https:")
    try:
        return make(
            # Proxy variables apply to loopback too, where no proxy can help.
            trust_env=not is_loopback(endpoint.base_url),
            # There is no TLS on http, and loading the trust store takes as long as a short answer.
            verify=(tls_context() or True) if secure else False,
            # A conversation goes where the person said, not where a server points.
            follow_redirects=False,
            **options,
        )
    except (ImportError, ValueError) as error:
        proxy = proxy_for(endpoint.base_url) or "the proxy named in the environment"
        why = "it needs the package socksio; install it, or" if "socksio" in str(error) else ""
        raise ConfigError(f"{proxy} cannot be used; {why or 'correct or'} unset it") from error


def _header_hook(endpoint: Endpoint) -> Callable[[httpx2.Request], Awaitable[None]]:
    """Make what decides the headers of every request.

    The library adds facts about this machine, and from OPENAI_ORG_ID, OPENAI_PROJECT_ID and
    OPENAI_CUSTOM_HEADERS what is meant for OpenAI, to every request to whatever address.
    """
    is_openai = endpoint.provider.name == "openai"

    async def decide(request: httpx2.Request) -> None:
        for name in {name.lower() for name in request.headers} - PLAIN_HEADERS:
            if not is_openai or name.startswith("x-stainless"):
                del request.headers[name]
        request.headers["user-agent"] = "omniagent"
        request.headers["accept-encoding"] = "identity"  # bounds below count what comes
        if endpoint.api_key:
            request.headers["authorization"] = f"Bearer {endpoint.api_key}"
        else:
            request.headers.pop("authorization", None)

    return decide


def bounding(
    library: ModuleType, came: Callable[[], None] = lambda: None
) -> Callable[[Any], Awaitable[None]]:
    """Make what keeps a server from filling the memory: libraries read an error whole, and a line until it ends.

    Args:
        library: the HTTP library; its old and its new one are alike.
        came: called when something of an answer has come.
    """
    # Made here, because the class it has to be one of is imported late.
    kind = type("Bounded", (_Bounded, library.AsyncByteStream), {})

    async def bound(response: Any) -> None:
        packed = "content-encoding" in response.headers  # though it was asked for as it is
        limit = _PACKED_BYTES if packed else _ANSWER_BYTES
        error = library.ReadError("the answer is longer than any answer is")
        if isinstance(response.stream, library.AsyncByteStream):
            whole = response.is_success
            bounds = (limit, error) if whole else (_ERROR_BYTES, None)
            response.stream = kind(response.stream, came, *bounds)

    return bound


class _Bounded:
    """The bytes of an answer, up to a limit; what is over it is left out, or an error."""

    def __init__(
        self, stream: Any, came: Callable[[], None], limit: int, error: Exception | None
    ) -> None:
        self._stream = stream
        self._came = came
        self._limit = limit
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit
        async for data in self._stream:
            self._came()
            yield data[:left]
            left -= len(data)
            if left <= 0 and self._error is not None:
                raise self._error
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
