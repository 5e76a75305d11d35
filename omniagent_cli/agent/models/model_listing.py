"""The models endpoint of a provider: the request and its response."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from omniagent_cli.agent.models.failures import (
    malformed,
    status_failure,
    unreachable,
    untrusted_certificate,
)
from omniagent_cli.agent.models.network import tls_context
from omniagent_cli.agent.models.providers import (
    Endpoint,
    Provider,
    base_url_for,
    is_loopback,
    native_url_for,
)

S = TypeVar("S")
T = TypeVar("T")

LISTING_BYTES = 4_000_000
USER_AGENT = "omniagent"

_LONGEST_FIELD = 200


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One entry of a list of models.

    Attributes:
        name: the model's id, without the provider.
        fields: the other fields of the entry that are short text, numbers or booleans, whatever their names.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shutdown_date(self) -> date | None:
        """The announced shutdown date of the model; None without a readable ``shutdown_date``."""
        value = self.fields.get("shutdown_date")
        try:
            return date.fromisoformat(value[:10]) if isinstance(value, str) else None
        except ValueError:
            return None


def list_models(
    provider: Provider,
    *,
    base_url: str | None = None,
    api_key: str = "",
    timeout_seconds: float = 10.0,
) -> list[str]:
    """Return the names of a provider's models, in its own order; see `list_entries`."""
    listed = list_entries(
        provider, base_url=base_url, api_key=api_key, timeout_seconds=timeout_seconds
    )
    return [model.name for model in listed]


def list_entries(
    provider: Provider,
    *,
    base_url: str | None = None,
    api_key: str = "",
    timeout_seconds: float = 10.0,
) -> list[ListedModel]:
    """Request the models of a provider, in its own order.

    Raises:
        ModelError: the provider did not answer, rejected the request, or sent no list.
    """
    import urllib.error
    import urllib.request

    if not provider.openai_compatible:
        return _native_models(provider, base_url, api_key, timeout_seconds)
    address = base_url_for(provider, base_url)
    endpoint = Endpoint(provider, "", address, api_key)
    # Anthropic's own list has pages of 20 by default; its compatible API has none.
    query = "?limit=1000" if provider.name == "anthropic" else ""
    url = f"{address}/models{query}"
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})  # noqa: S310  # checked: http or https
    for name, value in _listing_headers(provider, api_key).items():
        request.add_unredirected_header(name, value)
    handlers: list[Any] = [_no_redirects()]
    if is_loopback(address):
        handlers.append(urllib.request.ProxyHandler({}))
    if context := tls_context() if address.startswith("https:") else None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_seconds) as reply:
            body = reply.read(LISTING_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            told = error.read(LISTING_BYTES).decode("utf-8", "replace")
        headers = {name.lower(): value for name, value in error.headers.items()}
        refused = status_failure(endpoint, error.code, headers, told, datetime.now(UTC))
        raise refused.error from error
    except (OSError, http.client.HTTPException) as error:
        untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
        failure = untrusted_certificate(endpoint) if untrusted else None
        raise (failure or unreachable(endpoint, "no model list")).error from error
    return _listed(endpoint, body)


def in_parallel(
    request: Callable[[S], T], sources: Sequence[S], timeout_seconds: float
) -> dict[int, T]:
    """Run a request for each source in a thread; return the results that arrived in time, by the index of the source."""
    found: dict[int, T] = {}
    deadline = time.monotonic() + timeout_seconds

    def run(number: int, source: S) -> None:
        found[number] = request(source)

    # Daemon threads: a server that sends its response slowly must delay neither the caller nor the exit.
    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(sources)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return found.copy()


def listing_url(provider: Provider, given: str | None, environ: Mapping[str, str]) -> str:
    """Return the base URL of the models endpoint of the configured server, so that the key is never sent elsewhere.

    Raises:
        ConfigError: the address is not an http or https URL, or contains a password.
    """
    native = native_url_for(provider, given, environ=environ) if provider.openai_compatible else ""
    if not native or native == provider.native_url:
        return base_url_for(provider, given, environ=environ)
    return native + provider.base_url.removeprefix(provider.native_url)


def _native_models(
    provider: Provider, base_url: str | None, api_key: str, timeout_seconds: float
) -> list[ListedModel]:
    from omniagent_cli.agent.native import require
    from omniagent_cli.agent.native.bedrock import list_models

    require(provider)
    address = native_url_for(provider, base_url)
    endpoint = Endpoint(provider, "", address, api_key, native=True)
    return [ListedModel(name) for name in list_models(endpoint, timeout_seconds)]


def _listed(endpoint: Endpoint, body: bytes) -> list[ListedModel]:
    try:
        models = listed_models(json.loads(body))
    except (ValueError, RecursionError):
        models = None
    if models is None:
        raise malformed(endpoint, "no model list").error
    return models


def _listing_headers(provider: Provider, api_key: str) -> dict[str, str]:
    if not api_key:
        return {}
    if provider.name == "anthropic":  # its list is not part of its compatible API
        return {"x-api-key": api_key, "anthropic-version": "2023-06-01"}
    return {"Authorization": f"Bearer {api_key}"}


def _no_redirects() -> Any:
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            """Follow no redirect: the key is only for the configured address."""

    return Stay()


def listed_models(listing: Any) -> list[ListedModel] | None:
    """Parse a model list in OpenAI's shape or Together's bare list; return None for any other shape."""
    rows = listing.get("data") if isinstance(listing, dict) else listing
    if rows is None and isinstance(listing, dict) and listing.get("object") == "list":
        rows = []  # Ollama without any model
    if not isinstance(rows, list):
        return None
    return [
        ListedModel(row["id"].removeprefix("models/"), _short_fields(row))
        for row in rows
        if isinstance(row, dict) and _is_name(row.get("id"))
    ]


def _is_name(value: Any) -> bool:
    """Return True for a text that can be written on a command line and in a settings file."""
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _short_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields beside the id, without descriptions and nested objects, which would fill the cache."""
    return {
        key: value
        for key, value in row.items()
        if key != "id"
        and len(key) <= _LONGEST_FIELD
        and (isinstance(value, bool | int | float) or _is_short(value))
    }


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_FIELD
