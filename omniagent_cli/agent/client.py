"""The connection to a Chat Completions server: the client of the `openai` library, with headers of our own making."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from omniagent_cli.agent.failures import (
    Failure,
    cut_off,
    no_tls,
    unknown_host,
    unreachable,
    untrusted_certificate,
)
from omniagent_cli.agent.providers import Endpoint, is_loopback
from omniagent_cli.errors import ConfigError, ModelRefused, UsageError
from omniagent_cli.keys import check_key

if TYPE_CHECKING:
    import httpx2
    import openai

_CONNECT_SECONDS = 10.0
_ERROR_BYTES = 100_000
_ANSWER_BYTES = 300_000_000
_PACKED_BYTES = 5_000_000
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


def new_client(endpoint: Endpoint) -> openai.AsyncOpenAI:
    """Make a client for one server; it belongs to the running event loop.

    Raises:
        ModelRefused: there is no key where one is needed, or it is none.
        ConfigError: the proxy named in the environment cannot be used.
    """
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
            event_hooks={"request": [_header_hook(endpoint)], "response": [_bound]},
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
        request.headers["accept-encoding"] = "identity"  # bounds below count what comes
        if endpoint.api_key:
            request.headers["authorization"] = f"Bearer {endpoint.api_key}"
        else:
            request.headers.pop("authorization", None)

    return decide


async def _bound(response: httpx2.Response) -> None:
    """Keep a server from filling the memory: the library reads an error whole, and a line until it ends."""
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        def __init__(self, stream: httpx2.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = limit
            async for data in self._stream:
                yield data[:left]
                left -= len(data)
                if left <= 0 and response.is_success:
                    raise httpx2.ReadError("the answer is longer than any answer is")
                if left <= 0:
                    return

        async def aclose(self) -> None:
            await self._stream.aclose()

    packed = "content-encoding" in response.headers  # though it was asked for as it is
    limit = _PACKED_BYTES if packed else _ANSWER_BYTES
    limit = limit if response.is_success else _ERROR_BYTES
    stream = response.stream
    if isinstance(stream, httpx2.AsyncByteStream):
        response.stream = Bounded(stream)
