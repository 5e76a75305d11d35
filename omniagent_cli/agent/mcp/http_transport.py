"""The HTTP transport: messages are HTTP requests and their responses.

See https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from omniagent_cli.agent.mcp.server_log import ServerLog
from omniagent_cli.agent.mcp.stdio_transport import MAX_MESSAGE_BYTES
from omniagent_cli.agent.models.providers import is_loopback

_CONNECT_SECONDS = 30.0
_READ_SECONDS = 300.0


@asynccontextmanager
async def http_streams(
    url: str, headers: Mapping[str, str], log: ServerLog
) -> AsyncGenerator[tuple[Any, Any], None]:
    """Yield the streams of messages from and to a server; leaving the context ends the session."""

    async def limit_body(response: httpx2.Response) -> None:
        log.end = "" if response.is_success else f"HTTP {response.status_code}"
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101  # an async client's
            response.stream = _BoundedBody(response)

    async with (
        httpx2.AsyncClient(
            # No compression, because a few compressed bytes can expand to fill the memory.
            headers={**headers, "Accept-Encoding": "identity"},
            # The proxy variables would apply to loopback too, which a proxy cannot reach.
            trust_env=not is_loopback(url),
            # Plain http needs no TLS, and loading the trust store takes time.
            verify=url.startswith("https:"),
            timeout=httpx2.Timeout(_CONNECT_SECONDS, read=_READ_SECONDS),
            event_hooks={"response": [limit_body]},
        ) as client,
        streamable_http_client(
            url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES
        ) as streams,
    ):
        yield streams


class _BoundedBody(httpx2.AsyncByteStream):
    """A response body that raises an error beyond the maximum message size."""

    def __init__(self, response: httpx2.Response) -> None:
        self._inner: Any = response.stream
        self._encoding = response.headers.get("content-encoding", "identity")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._encoding != "identity":
            raise httpx2.StreamError(
                "the response is compressed, although the request did not accept that"
            )
        length = 0
        async for data in self._inner:
            length += len(data)
            if length > MAX_MESSAGE_BYTES:
                raise httpx2.StreamError(
                    f"the response is larger than {MAX_MESSAGE_BYTES >> 20} MiB"
                )
            yield data

    async def aclose(self) -> None:
        await self._inner.aclose()
