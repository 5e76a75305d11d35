"""The connection to an OpenAI-compatible server through the `openai` library, which is imported on first use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from omniagent_cli.agent.models.http_client import new_client
from omniagent_cli.agent.models.providers import Endpoint

if TYPE_CHECKING:
    import openai


class Connection:
    """The client of one server, created on first use; it belongs to the running event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client: openai.AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def client(self) -> openai.AsyncOpenAI:
        """Return the client of the running event loop."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client, self._loop = new_client(self._endpoint), loop
        return self._client

    async def aclose(self) -> None:
        """Close the client; the next request opens a new one."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()


def preload() -> None:
    """Import the library; safe in any thread, so that it loads while the user types."""
    if not _loaded:
        import openai

        # Building a client triggers the lazy imports of the library; it opens no connection.
        openai.AsyncOpenAI(
            api_key="none",
            http_client=openai.DefaultAsyncHttpxClient(verify=False, trust_env=False),
        )
        import anyio

        # The HTTP layer imports its event loop module with the first connection.
        anyio.run(anyio.sleep, 0)
        _loaded.append(True)


async def load() -> None:
    """Import the library in a thread: an interrupt in the middle of an import would leave half-loaded modules."""
    if not _loaded:
        await asyncio.to_thread(preload)


_loaded: list[bool] = []
