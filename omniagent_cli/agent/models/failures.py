"""What a provider's failure means: status, headers and body -> one of our errors and whether to try again."""

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
_REFUSES_PARTS = re.compile(
    r"\b(image|audio|file|multimodal)\b.{0,40}\bnot supported|mmproj", re.IGNORECASE
)
"""Local servers refuse a picture that their model does not accept with 500, which a retry does not change."""


_NAMES_IMAGES = re.compile(r"image input|\bimages\b", re.IGNORECASE)

_UNKNOWN_MODEL = re.compile(
    r"model_not_found|invalid_model\b|invalid model\b|not a valid model|model not exist",
    re.IGNORECASE,
)
"""As OpenAI (403 for a project without access), Mistral, OpenRouter and DeepSeek say it with another status than 404."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error ready to be raised.

    Attributes:
        worth_retrying: the same request may work in a moment.
        reason: the same in few words, for people who wait.
        wait_seconds: how long the provider asked to wait, when it said so.
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
"""What a person asks for, by its name in a request."""


def status_failure(
    endpoint: Endpoint,
    status: int,
    headers: Mapping[str, str],
    body: str,
    now: datetime,
    *,
    asked: Collection[str] = (),
) -> Failure:
    """Explain an answer that is an HTTP error, or an error event that carries such a code.

    Args:
        endpoint: who was asked.
        status: the HTTP status.
        headers: with names in lower case.
        body: what it said.
        now: for dates in the headers.
        asked: the keys of the request's body, to tell which of them is refused.
    """
    title = endpoint.provider.title
    said = said_in(body, endpoint.api_key)
    tail = f": {said}" if said else ""
    if status == 407:
        return proxy_refused(endpoint, said)
    if (status != 429 and is_too_long(body)) or (status == 413 and not is_rate_limit(body)):
        return Failure(_too_long(endpoint, status, body, tail))
    if status == 413:
        text = f"{title} allows fewer tokens in a minute than this request has{tail}"
        return Failure(ModelRateLimited(f"{text}; compact the session, or choose another model"))
    if status == 429 and not _is_out_of_credit(body):
        wait = retry_after(headers, body, now)
        advice = f"try again in {_lasting(wait)}" if wait else "try again later"
        error = ModelRateLimited(
            f"{title} has had too many requests{tail}; {advice}", retry_after_seconds=wait
        )
        return Failure(
            error, worth_retrying=True, reason=f"{title} asks to wait", wait_seconds=wait
        )
    if (status in (408, 409) or status >= 500) and not _REFUSES_PARTS.search(said):
        wait = retry_after(headers, body, now)
        error_ = ModelUnreachable(
            f"{title} fails or is overloaded ({status}){tail}; try again later"
        )
        return Failure(
            error_,
            worth_retrying=status != 501,
            reason=f"{title} fails ({status})",
            wait_seconds=wait,
        )
    option = next((name for name in asked if name in _OPTIONS and _names(body, name)), "")
    if status in (400, 422) and option:
        known = _OPTIONS[option]
        text = f"{title} does not take {known} like this for {endpoint.model}{tail}; "
        text += f"ask without it, or with another: -o {known}=..., or the setting agent.{known}"
        return Failure(ModelRefused(text, status=status))
    if is_unknown_model(status, body):
        return Failure(ModelNotFound(_unknown_model(endpoint, tail), status=status))
    return Failure(ModelRefused(_refusal(endpoint, status, headers, body, tail), status=status))


def is_unknown_model(status: int, body: str) -> bool:
    """Return True when a provider answers that it has no such model, or not for this key."""
    if status == 404:
        return re.search(r"model", body, re.IGNORECASE) is not None and not _NAMES_IMAGES.search(
            body
        )
    return status in (400, 403, 422) and _UNKNOWN_MODEL.search(body) is not None


def _unknown_model(endpoint: Endpoint, tail: str) -> str:
    hint = f"`omniagent models list` or the base_url {endpoint.base_url} may be wrong"
    if endpoint.provider.name == "ollama":
        hint = f"`ollama pull {endpoint.model}` fetches it"
    return f"{endpoint.provider.title} has no model {endpoint.model}{tail}; {hint}"


def _too_long(endpoint: Endpoint, status: int, body: str, tail: str) -> ContextLengthExceeded:
    return ContextLengthExceeded(
        f"the conversation is longer than {endpoint.model} takes{tail}",
        status=status,
        limit_tokens=context_tokens(_message_in(body)),
    )


def _names(body: str, option: str) -> bool:
    return re.search(rf"\b{option}\b", body) is not None


def _lasting(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _refusal(
    endpoint: Endpoint, status: int, headers: Mapping[str, str], body: str, tail: str
) -> str:
    title, model = endpoint.provider.title, endpoint.model
    if status == 401:
        # What it said is left out: some providers repeat the key.
        did = "refused the key" if endpoint.api_key else "asks for a key"
        return f"{title} {did}; {endpoint.key_advice}"
    if status in (402, 429):
        return f"the account at {title} has no credit left{tail}; see its billing page"
    if not model and status in (403, 404):
        why = "no list of models" if status == 404 else "no list of models for this key"
        return f"{title} at {endpoint.base_url} has {why}{tail}; check the base_url and the key"
    if status == 403:
        return f"{title} does not allow this key to use {model}{tail}; choose another model or key"
    if status == 404 and not _NAMES_IMAGES.search(
        tail
    ):  # OpenRouter: "No endpoints found that ..."
        return _unknown_model(endpoint, tail)
    if 300 <= status < 400:
        where = _masked(one_line(headers.get("location", "elsewhere")), endpoint.api_key)
        where = where[:_DETAIL_LENGTH]
        return f"{title} at {endpoint.base_url} redirects to {where}; set that as base_url if you trust it"
    return f"{title} refused the request ({status}){tail}"


def event_failure(endpoint: Endpoint, error: Any, now: datetime) -> Failure:
    """Explain an error that came as an event of a stream that had begun well."""
    body = json.dumps({"error": error}, default=str)
    status = _status_of(error) or (400 if is_too_long(body) else None)
    if status is not None:
        return status_failure(endpoint, status, {}, body, now)
    said = said_in(body, endpoint.api_key) or "an error without a text"
    return Failure(ModelError(f"{endpoint.provider.title} broke off with an error: {said}"))


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
    """Explain an answer that is not in the protocol the question was in."""
    return Failure(
        ModelError(
            f"{endpoint.provider.title} at {endpoint.base_url} sent {what}; "
            f"check that this address speaks {speaks}"
        )
    )


def unreachable(endpoint: Endpoint, why: str) -> Failure:
    """Explain a missing answer, from the address or from the proxy before it."""
    hint = "is it running?" if endpoint.provider.local else "check the network and the address"
    if proxy := proxy_for(endpoint.base_url):
        why, hint = f"{why} through {proxy}", "check the proxy, or set NO_PROXY"
    title = endpoint.provider.title
    return Failure(
        ModelUnreachable(f"{title} does not answer at {endpoint.base_url} ({why}); {hint}"),
        worth_retrying=True,
        reason=f"{title} does not answer",
    )


def proxy_refused(endpoint: Endpoint, said: str) -> Failure:
    """Explain a proxy that answers and lets nothing through, such as one that wants a password (407)."""
    proxy = proxy_for(endpoint.base_url) or "the proxy"
    why = f": {one_line(said)[:_DETAIL_LENGTH]}" if said else ""
    return Failure(
        ModelUnreachable(
            f"{endpoint.provider.title} cannot be reached, {proxy} refused{why}; "
            "check its address, user and password"
        )
    )


def unknown_host(endpoint: Endpoint) -> Failure:
    """Explain a name that leads nowhere: the network is down, or the name is wrong."""
    host = one_line(urlsplit(endpoint.base_url).hostname or endpoint.base_url)
    return Failure(
        ModelUnreachable(
            f"the address of {endpoint.provider.title} is not found: unknown host {host}; "
            "check the network and the address"
        ),
        worth_retrying=True,
        reason=f"{endpoint.provider.title} is not found",
    )


def no_tls(endpoint: Endpoint) -> Failure:
    """Explain a server that answers something else than TLS."""
    return Failure(
        ModelUnreachable(
            f"no secure connection to {endpoint.base_url} comes about; "
            "check the address: does it begin with https:// where the server speaks http://?"
        )
    )


def untrusted_certificate(endpoint: Endpoint) -> Failure:
    """Explain a certificate that no trusted one signed, which another try does not change."""
    file = os.environ.get("SSL_CERT_FILE")
    hint = f"SSL_CERT_FILE={one_line(file)} does not vouch for it" if file else ""
    hint = hint or "install the system's CA certificates or set SSL_CERT_FILE"
    return Failure(
        ModelUnreachable(f"the certificate of {endpoint.base_url} cannot be verified; {hint}")
    )


def cut_off(endpoint: Endpoint) -> Failure:
    """Explain a connection that ended in the middle of an answer."""
    title = endpoint.provider.title
    return Failure(
        ModelUnreachable(f"{title} broke off in the middle of the answer; try again"),
        worth_retrying=True,
        reason=f"{title} broke off",
    )


def broken_line(endpoint: Endpoint) -> Failure:
    """Explain an event in the middle of an answer that cannot be read; skipping it would lose words unseen."""
    return Failure(
        ModelError(f"{endpoint.provider.title} sent a line that cannot be read; try again")
    )


def broken_off(endpoint: Endpoint) -> Failure:
    """Explain an answer that the provider ended with an error and no text about it."""
    title = endpoint.provider.title
    return Failure(
        ModelError(f"{title} broke off the answer with an error; try again"),
        worth_retrying=True,
        reason=f"{title} broke off",
    )


def silent(endpoint: Endpoint, seconds: float, *, began: bool) -> Failure:
    """Explain a server that takes the question and says nothing; asking again would wait as long again."""
    title = endpoint.provider.title
    what = "fell silent in the middle of the answer" if began else "did not begin to answer"
    return Failure(
        ModelUnreachable(f"{title} {what} for {seconds:g} s; try again or choose another model")
    )


def said_in(body: str, api_key: str) -> str:
    """Return what an error body says, as one line without the key; empty when it says nothing."""
    text = _message_in(body)
    text = redact(one_line(_masked(text, api_key)), {})
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= _DETAIL_LENGTH else text[: _DETAIL_LENGTH - 1] + "…"


def _masked(text: str, api_key: str) -> str:
    # A dummy key such as "x" or "none" is part of many words.
    return text.replace(api_key, "[key]") if len(api_key) >= _SHORTEST_KEY else text


def _message_in(body: str) -> str:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return _page_title(body) if "<" in body else body
    for _ in range(4):  # bounded: [{"error": {"message": {"detail": ...}}}] has been seen
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
