"""Models of `pydantic-ai`, with HTTP clients that ignore the retries, headers, variables and proxies of the libraries."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.models.http_client import (
    CONNECT_SECONDS,
    PLAIN_HEADERS,
    http_client_for,
    size_limit_hook,
)
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.errors import ModelUnreachable, OmniAgentError

if TYPE_CHECKING:
    from pydantic_ai.models import Model

OnBytes = Callable[[], None]
"""Callback for received response bytes."""

_NO_KEY = "none"
"""Placeholder for libraries that require a key; the request hook removes it."""

_OWN_HEADERS = frozenset({"anthropic-version", "anthropic-beta"})
_LOGGERS = ("anthropic", "botocore", "boto3", "google_genai", "groq", "mistralai", "pydantic_ai")


def load(name: str) -> None:
    """Import the library of a provider; safe in any thread."""
    # Building a client triggers the lazy imports of the library and opens no connection. Errors are raised on real use.
    with suppress(OmniAgentError):
        _BUILDERS[name](_placeholder_endpoint(name), lambda: None)
    if name == "gemini":
        _build_google_types()
    for logger in _LOGGERS:
        # Without a handler Python prints the warnings of libraries to the terminal.
        logging.getLogger(logger).addHandler(logging.NullHandler())


def _build_google_types() -> None:
    """Build the library's types now; otherwise the first request is delayed by a fifth of a second."""
    from google.genai import types

    types.GenerateContentConfig()
    types.GenerateContentResponse.model_validate({"candidates": [{"content": {"parts": []}}]})
    types.Content(role="user", parts=[types.Part(text="")])


def new_model(endpoint: Endpoint, on_bytes: OnBytes) -> tuple[Model[Any], Closer]:
    """Return the model of an endpoint and a function that closes its connections.

    Raises:
        ModelUnreachable: the provider needs an API key and none is set.
        ConfigError: the proxy in the environment is unusable, or no region is set.
    """
    if not endpoint.api_key and endpoint.needs_key and endpoint.provider.openai_compatible:
        raise ModelUnreachable(
            f"no API key for {endpoint.provider.title}; {endpoint.provider.key_advice}"
        )
    return _BUILDERS[endpoint.provider.name](endpoint, on_bytes)


Closer = Callable[[], Awaitable[None]]


def _placeholder_endpoint(name: str) -> Endpoint:
    from omniagent_cli.agent.models.providers import PROVIDERS

    return Endpoint(PROVIDERS[name], "none", "http://127.0.0.1:9", _NO_KEY, native=True)


def _http_client(
    endpoint: Endpoint, library: Any, key: Mapping[str, str], on_bytes: OnBytes
) -> Any:
    """Return an HTTP client, of httpx or httpx2, that sends only the expected headers."""
    key = key if endpoint.api_key else {}

    async def decide(request: Any) -> None:
        for name in {name.lower() for name in request.headers} - PLAIN_HEADERS - _OWN_HEADERS:
            del request.headers[name]
        request.headers["user-agent"] = "omniagent"
        request.headers["accept-encoding"] = "identity"  # the size limits count undecoded bytes
        request.headers.update(key)
        # Libraries set timeouts of their own; the engine applies them per token instead.
        none: dict[str, float | None] = dict.fromkeys(("read", "write", "pool"))
        request.extensions["timeout"] = {"connect": CONNECT_SECONDS, **none}

    hooks = {"request": [decide], "response": [size_limit_hook(library, on_bytes)]}
    timeout = library.Timeout(None, connect=CONNECT_SECONDS)
    return http_client_for(endpoint, library.AsyncClient, timeout=timeout, event_hooks=hooks)


def _anthropic(endpoint: Endpoint, on_bytes: OnBytes) -> tuple[Model[Any], Closer]:
    import httpx2
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    http = _http_client(endpoint, httpx2, {"x-api-key": endpoint.api_key}, on_bytes)
    client = AsyncAnthropic(
        api_key=endpoint.api_key or _NO_KEY,
        base_url=endpoint.base_url.removesuffix("/v1"),
        http_client=http,
        max_retries=0,
    )
    return AnthropicModel(
        endpoint.model, provider=AnthropicProvider(anthropic_client=client)
    ), http.aclose


def _google(endpoint: Endpoint, on_bytes: OnBytes) -> tuple[Model[Any], Closer]:
    import httpx2
    from google.genai import Client
    from google.genai.types import HttpOptions, HttpRetryOptions
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    http = _http_client(endpoint, httpx2, {"x-goog-api-key": endpoint.api_key}, on_bytes)
    options = HttpOptions(
        base_url=endpoint.base_url,
        httpx_async_client=http,
        # For the blocking client, which is never used: it need not load the trust store.
        client_args={"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
        retry_options=HttpRetryOptions(attempts=1),
    )
    client = Client(vertexai=False, api_key=endpoint.api_key or _NO_KEY, http_options=options)

    async def close() -> None:
        client.close()
        await http.aclose()

    return GoogleModel(endpoint.model, provider=GoogleProvider(client=client)), close


def _groq(endpoint: Endpoint, on_bytes: OnBytes) -> tuple[Model[Any], Closer]:
    import httpx
    from groq import AsyncGroq
    from pydantic_ai.models.groq import GroqModel
    from pydantic_ai.providers.groq import GroqProvider

    http = _http_client(endpoint, httpx, _bearer(endpoint), on_bytes)
    client = AsyncGroq(
        api_key=endpoint.api_key or _NO_KEY,
        base_url=endpoint.base_url,
        http_client=http,
        max_retries=0,
    )
    return GroqModel(endpoint.model, provider=GroqProvider(groq_client=client)), http.aclose


def _mistral(endpoint: Endpoint, on_bytes: OnBytes) -> tuple[Model[Any], Closer]:
    import httpx2
    from mistralai.client import Mistral
    from pydantic_ai.models.mistral import MistralModel
    from pydantic_ai.providers.mistral import MistralProvider

    http = _http_client(endpoint, httpx2, _bearer(endpoint), on_bytes)
    client = Mistral(
        api_key=endpoint.api_key or _NO_KEY,
        client=_Unused(),
        async_client=http,
        server_url=endpoint.base_url,
    )
    provider = MistralProvider(mistral_client=client)
    return MistralModel(endpoint.model, provider=provider), http.aclose


class _Unused:
    """A placeholder for the blocking client that a library requires; it is never used."""

    def send(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def build_request(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        """Close nothing."""


def _bedrock(endpoint: Endpoint, on_bytes: OnBytes) -> tuple[Model[Any], Closer]:
    del on_bytes  # botocore reads in a thread and has no hook for received bytes
    from pydantic_ai.models.bedrock import BedrockConverseModel
    from pydantic_ai.providers.bedrock import BedrockProvider

    from omniagent_cli.agent.native.bedrock import new_client

    client = new_client(endpoint, "bedrock-runtime")

    async def close() -> None:
        client.close()

    model = BedrockConverseModel(endpoint.model, provider=BedrockProvider(bedrock_client=client))
    return model, close


def _bearer(endpoint: Endpoint) -> dict[str, str]:
    return {"authorization": f"Bearer {endpoint.api_key}"}


_BUILDERS: Mapping[str, Callable[[Endpoint, OnBytes], tuple[Model[Any], Closer]]] = {
    "anthropic": _anthropic,
    "gemini": _google,
    "groq": _groq,
    "mistral": _mistral,
    "bedrock": _bedrock,
}
