"""Classification of provider failures: an HTTP status, headers and body become an error and a retry decision."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from omniagent_cli.agent.models.limits import (
    context_tokens,
    is_rate_limit,
    is_too_long,
    retry_after,
)
from omniagent_cli.agent.models.network import proxy_for
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.errors import (
    ContextLengthExceeded,
    ModelError,
    ModelNotFound,
    ModelRateLimited,
    ModelRefused,
    ModelUnreachable,
)
from omniagent_cli.text.redact import redact
from omniagent_cli.text.sanitize import one_line

_DETAIL_LENGTH = 300
_SHORTEST_KEY = 8
_REJECTS_PARTS = re.compile(
    r"\b(image|audio|file|multimodal)\b.{0,40}\bnot supported|mmproj", re.IGNORECASE
)
"""Local servers reject an unsupported image with status 500, which a retry does not change."""


_NAMES_IMAGES = re.compile(r"image input|\bimages\b", re.IGNORECASE)

_UNKNOWN_MODEL = re.compile(
    r"model_not_found|invalid_model\b|invalid model\b|not a valid model|model not exist",
    re.IGNORECASE,
)
"""Messages for an unknown model with a status other than 404: OpenAI (403 without access), Mistral, OpenRouter, DeepSeek."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error to raise, with its retry decision.

    Attributes:
        worth_retrying: the same request may succeed in a moment.
        reason: a short form of the error for the retry notice.
        wait_seconds: the wait that the provider requested, if any.
    """

    error: ModelError
    worth_retrying: bool = False
    reason: str = ""
    wait_seconds: float | None = None


_OPTIONS = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "seed": "seed",
    "random_seed": "seed",
    "reasoning_effort": "reasoning_effort",
    "max_output_tokens": "max_tokens",
    "reasoning.effort": "reasoning_effort",
}
"""Setting names by the name of the option in a request."""


def status_failure(
    endpoint: Endpoint,
    status: int,
    headers: Mapping[str, str],
    body: str,
    now: datetime,
    *,
    options: Collection[str] = (),
) -> Failure:
    """Return the failure for an HTTP error, or for an error event with such a code.

    Args:
        endpoint: the model and its address.
        status: the HTTP status.
        headers: names in lower case.
        body: the response body.
        now: the current time, for dates in the headers.
        options: the keys of the request body, to find the rejected one.
    """
    title = endpoint.provider.title
    detail = error_message(body, endpoint.api_key)
    tail = f": {detail}" if detail else ""
    if status == 407:
        return proxy_refused(endpoint, detail)
    if (status != 429 and is_too_long(body)) or (status == 413 and not is_rate_limit(body)):
        return Failure(_too_long(endpoint, status, body, tail))
    if status == 413:
        text = f"{title} allows fewer tokens per minute than this request has{tail}"
        return Failure(ModelRateLimited(f"{text}; compact the session or choose another model"))
    if status == 429 and not _is_out_of_credit(body):
        wait = retry_after(headers, body, now)
        advice = f"try again in {_duration(wait)}" if wait else "try again later"
        error = ModelRateLimited(
            f"{title} rate limit exceeded{tail}; {advice}", retry_after_seconds=wait
        )
        return Failure(
            error, worth_retrying=True, reason=f"Rate limited by {title}", wait_seconds=wait
        )
    if (status in (408, 409) or status >= 500) and not _REJECTS_PARTS.search(detail):
        wait = retry_after(headers, body, now)
        error_ = ModelUnreachable(
            f"{title} failed or is overloaded ({status}){tail}; try again later"
        )
        return Failure(
            error_,
            worth_retrying=status != 501,
            reason=f"{title} failed ({status})",
            wait_seconds=wait,
        )
    option = next((name for name in options if name in _OPTIONS and _mentions(body, name)), "")
    if status in (400, 422) and option:
        known = _OPTIONS[option]
        text = f"{title} rejected {known} for {endpoint.model}{tail}; "
        text += f"omit or change it with -o {known}=... or the setting agent.{known}"
        return Failure(ModelRefused(text, status=status))
    if is_unknown_model(status, body):
        return Failure(ModelNotFound(_unknown_model(endpoint, tail), status=status))
    return Failure(
        ModelRefused(_rejection_message(endpoint, status, headers, body, tail), status=status)
    )


def is_unknown_model(status: int, body: str) -> bool:
    """Return True when a provider answers that it has no such model, or not for this key."""
    if status == 404:
        return re.search(r"model", body, re.IGNORECASE) is not None and not _NAMES_IMAGES.search(
            body
        )
    return status in (400, 403, 422) and _UNKNOWN_MODEL.search(body) is not None


def _unknown_model(endpoint: Endpoint, tail: str) -> str:
    hint = f"run `omniagent models list` or check the base_url {endpoint.base_url}"
    if endpoint.provider.name == "ollama":
        hint = f"`ollama pull {endpoint.model}` fetches it"
    return f"{endpoint.provider.title} has no model {endpoint.model}{tail}; {hint}"


def _too_long(endpoint: Endpoint, status: int, body: str, tail: str) -> ContextLengthExceeded:
    return ContextLengthExceeded(
        f"the conversation exceeds the context window of {endpoint.model}{tail}",
        status=status,
        limit_tokens=context_tokens(_error_text(body)),
    )


def _mentions(body: str, option: str) -> bool:
    return re.search(rf"\b{option}\b", body) is not None


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _rejection_message(
    endpoint: Endpoint, status: int, headers: Mapping[str, str], body: str, tail: str
) -> str:
    title, model = endpoint.provider.title, endpoint.model
    if status == 401:
        # The body is left out: some providers repeat the key in it.
        did = "rejected the API key" if endpoint.api_key else "requires an API key"
        return f"{title} {did}; {endpoint.provider.key_advice}"
    if status in (402, 429):
        return f"the {title} account has no credit left{tail}; see its billing page"
    if not model and status in (403, 404):
        why = "no model list" if status == 404 else "no model list for this key"
        return f"{title} at {endpoint.base_url} has {why}{tail}; check the base_url and the key"
    if status == 403:
        return (
            f"{title} does not allow this API key to use {model}{tail}; choose another model or key"
        )
    if status == 404 and not _NAMES_IMAGES.search(
        tail
    ):  # OpenRouter: "No endpoints found that ..."
        return _unknown_model(endpoint, tail)
    if 300 <= status < 400:
        where = _masked(one_line(headers.get("location", "elsewhere")), endpoint.api_key)
        where = where[:_DETAIL_LENGTH]
        return f"{title} at {endpoint.base_url} redirects to {where}; set that as base_url if you trust it"
    return f"{title} rejected the request ({status}){tail}"


def event_failure(endpoint: Endpoint, error: Any, now: datetime) -> Failure:
    """Return the failure for an error event inside a stream that started normally."""
    body = json.dumps({"error": error}, default=str)
    status = _status_of(error) or (400 if is_too_long(body) else None)
    if status is not None:
        return status_failure(endpoint, status, {}, body, now)
    detail = error_message(body, endpoint.api_key) or "no error message"
    return Failure(ModelError(f"{endpoint.provider.title} stopped with an error: {detail}"))


_STATUS_OF_KIND = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "overloaded_error": 529,
    "server_error": 500,
    "api_error": 500,
    "internal_server_error": 500,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "context_length_exceeded": 400,
}


def _status_of(error: Any) -> int | None:
    if not isinstance(error, dict):
        return None
    for key in ("code", "status", "type"):
        value = error.get(key)
        if isinstance(value, str):
            value = (
                int(value) if value.isascii() and value.isdigit() else _STATUS_OF_KIND.get(value)
            )
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None


def malformed(
    endpoint: Endpoint, what: str, *, speaks: str = "Chat Completions (it often ends in /v1)"
) -> Failure:
    """Return the failure for a response in another protocol."""
    return Failure(
        ModelError(
            f"{endpoint.provider.title} at {endpoint.base_url} sent {what}; "
            f"check that this address supports {speaks}"
        )
    )


def unreachable(endpoint: Endpoint, why: str) -> Failure:
    """Return the failure for a missing response, from the server or from a proxy."""
    hint = "is it running?" if endpoint.provider.local else "check the network and the address"
    if proxy := proxy_for(endpoint.base_url):
        why, hint = f"{why} through {proxy}", "check the proxy, or set NO_PROXY"
    title = endpoint.provider.title
    return Failure(
        ModelUnreachable(f"{title} does not respond at {endpoint.base_url} ({why}); {hint}"),
        worth_retrying=True,
        reason=f"{title} does not respond",
    )


def proxy_refused(endpoint: Endpoint, detail: str) -> Failure:
    """Return the failure for a proxy that rejects the connection, for example without a password (407)."""
    proxy = proxy_for(endpoint.base_url) or "the proxy"
    why = f": {one_line(detail)[:_DETAIL_LENGTH]}" if detail else ""
    return Failure(
        ModelUnreachable(
            f"cannot reach {endpoint.provider.title}: {proxy} refused the connection{why}; "
            "check its address, user and password"
        )
    )


def unknown_host(endpoint: Endpoint) -> Failure:
    """Return the failure for an unknown host: the network is down, or the name is wrong."""
    host = one_line(urlsplit(endpoint.base_url).hostname or endpoint.base_url)
    return Failure(
        ModelUnreachable(
            f"cannot resolve the address of {endpoint.provider.title}: unknown host {host}; "
            "check the network and the address"
        ),
        worth_retrying=True,
        reason=f"Unknown host {host}",
    )


def tls_failure(endpoint: Endpoint) -> Failure:
    """Return the failure for a server that does not speak TLS."""
    return Failure(
        ModelUnreachable(
            f"TLS handshake with {endpoint.base_url} failed; "
            "check whether the server expects http:// instead of https://"
        )
    )


def untrusted_certificate(endpoint: Endpoint) -> Failure:
    """Return the failure for an untrusted certificate; a retry does not change it."""
    file = os.environ.get("SSL_CERT_FILE")
    hint = f"SSL_CERT_FILE={one_line(file)} does not contain its CA" if file else ""
    hint = hint or "install the system's CA certificates or set SSL_CERT_FILE"
    return Failure(
        ModelUnreachable(f"cannot verify the certificate of {endpoint.base_url}; {hint}")
    )


def connection_closed(endpoint: Endpoint) -> Failure:
    """Return the failure for a connection that was closed in the middle of an answer."""
    title = endpoint.provider.title
    return Failure(
        ModelUnreachable(f"{title} closed the connection in the middle of the answer; try again"),
        worth_retrying=True,
        reason=f"{title} closed the connection",
    )


def malformed_event(endpoint: Endpoint) -> Failure:
    """Return the failure for an unreadable event in the middle of an answer; skipping it would lose text."""
    return Failure(ModelError(f"{endpoint.provider.title} sent an unreadable event; try again"))


def stopped_by_server(endpoint: Endpoint) -> Failure:
    """Return the failure for an answer that the provider ended with an error without a message."""
    title = endpoint.provider.title
    return Failure(
        ModelError(f"{title} stopped the answer with an error; try again"),
        worth_retrying=True,
        reason=f"{title} closed the connection",
    )


def response_timeout(endpoint: Endpoint, seconds: float, *, started: bool) -> Failure:
    """Return the failure for a server that sends nothing; it is not retried, because that would wait as long again."""
    title = endpoint.provider.title
    what = "sent no more of the answer" if started else "sent no response"
    return Failure(
        ModelUnreachable(f"{title} {what} for {seconds:g} s; try again or choose another model")
    )


def error_message(body: str, api_key: str) -> str:
    """Return the message of an error body as one line without the API key; empty if there is none."""
    text = _error_text(body)
    text = redact(one_line(_masked(text, api_key)), {})
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= _DETAIL_LENGTH else text[: _DETAIL_LENGTH - 1] + "…"


def _masked(text: str, api_key: str) -> str:
    # A placeholder such as "x" or "none" is part of many words.
    return text.replace(api_key, "[key]") if len(api_key) >= _SHORTEST_KEY else text


def _error_text(body: str) -> str:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return _page_title(body) if "<" in body else body
    for _ in range(4):  # limited: [{"error": {"message": {"detail": ...}}}] has been seen
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            value = value[0] if value else ""
        elif isinstance(value, dict):
            value = next(
                (value[k] for k in ("error", "message", "detail", "msg") if value.get(k)), ""
            )
    return value if isinstance(value, str) else ""


def _page_title(body: str) -> str:
    found = re.search(r"<title[^>]*>([^<]{1,200})", body, re.IGNORECASE)
    return f"a web page titled '{found[1].strip()}'" if found else "a web page"


def _is_out_of_credit(body: str) -> bool:
    return "insufficient_quota" in body
