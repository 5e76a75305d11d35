"""The models of `pydantic-ai`, with clients of our own making: no retries, headers, variables or proxies but ours."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.models.http_client import (
    CONNECT_SECONDS,
    PLAIN_HEADERS,
    bounding,
    http_client_for,
)
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.errors import ModelUnreachable, OmniAgentError

if TYPE_CHECKING:
    from pydantic_ai.models import Model

Came = Callable[[], None]
"""Called when bytes of an answer have come."""

_NO_KEY = "none"
"""Libraries insist on a key; the hook of headers takes it away again."""

_OWN_HEADERS = frozenset({"anthropic-version", "anthropic-beta"})
_LOGGERS = ("anthropic", "botocore", "boto3", "google_genai", "groq", "mistralai", "pydantic_ai")


def load(name: str) -> None:
    """Import what a provider needs; safe in any thread."""
    # Making one loads what the libraries leave for later; it holds no connection. What it lacks is told when one asks.
    with suppress(OmniAgentError):
        _MAKERS[name](_nowhere(name), lambda: None)
    if name == "gemini":
        _build_types_of_google()
    for logger in _LOGGERS:
        # Without any handler Python prints warnings of libraries onto the person's screen.
        logging.getLogger(logger).addHandler(logging.NullHandler())


def _build_types_of_google() -> None:
    """Let its types be built now: left alone they are with the first question, and hold it up by a fifth of a second."""
    from google.genai import types

    types.GenerateContentConfig()
    types.GenerateContentResponse.model_validate({"candidates": [{"content": {"parts": []}}]})
    types.Content(role="user", parts=[types.Part(text="")])


def model_for(endpoint: Endpoint, came: Came) -> tuple[Model[Any], Closer]:
    """Return the model that asks an endpoint, and what lets go of its connections.

    Raises:
        ModelUnreachable: there is no key where one is needed.
        ConfigError: the proxy named in the environment cannot be used, or there is no region.
    """
    if not endpoint.api_key and endpoint.needs_key and endpoint.provider.openai_compatible:
        raise ModelUnreachable(
            f"there is no key for {endpoint.provider.title}; {endpoint.key_advice}"
        )
    return _MAKERS[endpoint.provider.name](endpoint, came)


Closer = Callable[[], Awaitable[None]]


def _nowhere(name: str) -> Endpoint:
    from omniagent_cli.agent.models.providers import PROVIDERS

    return Endpoint(PROVIDERS[name], "none", "http://127.0.0.1:9", _NO_KEY, native=True)


def _http(endpoint: Endpoint, library: Any, key: Mapping[str, str], came: Came) -> Any:
    """Make an HTTP client, of the old or the new library, that sends the headers it should and no others."""
    key = key if endpoint.api_key else {}

    async def decide(request: Any) -> None:
        for name in {name.lower() for name in request.headers} - PLAIN_HEADERS - _OWN_HEADERS:
            del request.headers[name]
        request.headers["user-agent"] = "omniagent"
        request.headers["accept-encoding"] = "identity"  # the bounds count what comes
        request.headers.update(key)
        # Libraries set times of their own; silence is judged by us, per token.
        none: dict[str, float | None] = dict.fromkeys(("read", "write", "pool"))
        request.extensions["timeout"] = {"connect": CONNECT_SECONDS, **none}

    hooks = {"request": [decide], "response": [bounding(library, came)]}
    timeout = library.Timeout(None, connect=CONNECT_SECONDS)
    return http_client_for(endpoint, library.AsyncClient, timeout=timeout, event_hooks=hooks)


def _anthropic(endpoint: Endpoint, came: Came) -> tuple[Model[Any], Closer]:
    import httpx2
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    http = _http(endpoint, httpx2, {"x-api-key": endpoint.api_key}, came)
    client = AsyncAnthropic(
        api_key=endpoint.api_key or _NO_KEY,
        base_url=endpoint.base_url.removesuffix("/v1"),
        http_client=http,
        max_retries=0,
    )
    return AnthropicModel(
        endpoint.model, provider=AnthropicProvider(anthropic_client=client)
    ), http.aclose


def _google(endpoint: Endpoint, came: Came) -> tuple[Model[Any], Closer]:
    import httpx2
    from google.genai import Client
    from google.genai.types import HttpOptions, HttpRetryOptions
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    http = _http(endpoint, httpx2, {"x-goog-api-key": endpoint.api_key}, came)
    options = HttpOptions(
        base_url=endpoint.base_url,
        httpx_async_client=http,
        # For a client that makes blocking calls, of which we make none: it need not load the trust store.
        client_args={"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
        retry_options=HttpRetryOptions(attempts=1),
    )
    client = Client(vertexai=False, api_key=endpoint.api_key or _NO_KEY, http_options=options)

    async def close() -> None:
        client.close()
        await http.aclose()

    return GoogleModel(endpoint.model, provider=GoogleProvider(client=client)), close


def _groq(endpoint: Endpoint, came: Came) -> tuple[Model[Any], Closer]:
    import httpx
    from groq import AsyncGroq
    from pydantic_ai.models.groq import GroqModel
    from pydantic_ai.providers.groq import GroqProvider

    http = _http(endpoint, httpx, _bearer(endpoint), came)
    client = AsyncGroq(
        api_key=endpoint.api_key or _NO_KEY,
        base_url=endpoint.base_url,
        http_client=http,
        max_retries=0,
    )
    return GroqModel(endpoint.model, provider=GroqProvider(groq_client=client)), http.aclose


def _mistral(endpoint: Endpoint, came: Came) -> tuple[Model[Any], Closer]:
    import httpx2
    from mistralai.client import Mistral
    from pydantic_ai.models.mistral import MistralModel
    from pydantic_ai.providers.mistral import MistralProvider

    http = _http(endpoint, httpx2, _bearer(endpoint), came)
    client = Mistral(
        api_key=endpoint.api_key or _NO_KEY,
        client=_Unused(),
        async_client=http,
        server_url=endpoint.base_url,
    )
    provider = MistralProvider(mistral_client=client)
    return MistralModel(endpoint.model, provider=provider), http.aclose


class _Unused:
    """Stands where a library wants a client for blocking calls, of which we make none."""

    def send(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def build_request(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing was opened."""


def _bedrock(endpoint: Endpoint, came: Came) -> tuple[Model[Any], Closer]:
    del came  # Amazon's library reads in a thread, where nothing can look at the bytes
    from pydantic_ai.models.bedrock import BedrockConverseModel
    from pydantic_ai.providers.bedrock import BedrockProvider

    from omniagent_cli.agent.native.bedrock import client_for

    client = client_for(endpoint, "bedrock-runtime")

    async def close() -> None:
        client.close()

    model = BedrockConverseModel(endpoint.model, provider=BedrockProvider(bedrock_client=client))
    return model, close


def _bearer(endpoint: Endpoint) -> dict[str, str]:
    return {"authorization": f"Bearer {endpoint.api_key}"}


_MAKERS: Mapping[str, Callable[[Endpoint, Came], tuple[Model[Any], Closer]]] = {
    "anthropic": _anthropic,
    "gemini": _google,
    "groq": _groq,
    "mistral": _mistral,
    "bedrock": _bedrock,
}
