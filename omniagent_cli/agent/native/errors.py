"""Translation of errors raised by `pydantic-ai` and the libraries below it into failures with advice."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from omniagent_cli.agent.models.failures import (
    Failure,
    error_message,
    event_failure,
    malformed,
    malformed_event,
    status_failure,
)
from omniagent_cli.agent.models.http_client import connection_failure
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.native.response import error_body
from omniagent_cli.errors import ModelRefused

_WRONG_KEY = "API_KEY_INVALID"
"""Google returns 400 for an invalid key."""

_UNSUPPORTED_PART = 415

_CONNECTING = ("httpx", "httpx2", "httpcore", "httpcore2", "urllib3", "botocore")
_CLIENTS = ("anthropic", "google", "groq", "mistralai")


def translate_error(
    endpoint: Endpoint, error: Exception, *, started: bool, options: Collection[str]
) -> Failure | None:
    """Return the failure for an error, or None for an error that is a bug.

    Args:
        endpoint: the model and its address.
        error: the exception.
        started: part of the answer has arrived.
        options: the names of the options that were sent.
    """
    from pydantic_ai import exceptions

    if isinstance(error, exceptions.ModelHTTPError):
        body = error_body(error.body)
        headers = dict(error.headers or {})
        if error.retry_after is not None:
            headers.setdefault("retry-after", f"{error.retry_after:.3f}")
        return status_failure(
            endpoint, _status(error, body), headers, body, datetime.now(UTC), options=options
        )
    if isinstance(error, exceptions.UserError | NotImplementedError):
        return unsupported(endpoint, error)
    lost = isinstance(error, exceptions.ModelConnectionError | OSError)
    if lost or _is_from(error, _CONNECTING):
        return connection_failure(endpoint, error, started=started)
    if isinstance(error, exceptions.ModelAPIError) and (error.body is not None or error.in_stream):
        # An error event without a status, inside a stream that started normally.
        return event_failure(endpoint, error.body or str(error.message), datetime.now(UTC))
    known = (exceptions.AgentRunError, ValueError, RecursionError)
    if isinstance(error, known) or _is_from(error, _CLIENTS):
        return _malformed_response(endpoint, started=started)
    return None


def _malformed_response(endpoint: Endpoint, *, started: bool) -> Failure:
    if started:
        return malformed_event(endpoint)
    speaks = f"the protocol of {endpoint.provider.title}"
    return malformed(endpoint, "an unreadable response", speaks=speaks)


def unsupported(endpoint: Endpoint, error: Exception) -> Failure:
    """Return the failure for content that this protocol cannot carry, such as audio."""
    detail = error_message(str(error), endpoint.api_key)
    text = f"{endpoint.model} does not accept this request: {detail}"
    return Failure(ModelRefused(text, status=_UNSUPPORTED_PART))


def _status(error: Any, body: str) -> int:
    """Return the meaningful status of an error; several providers use 400 for everything."""
    from pydantic_ai import exceptions

    status: int = error.status_code
    if status not in (400, 422):
        return status
    if _WRONG_KEY in body:
        return 401
    for kind, better in (
        (exceptions.ModelQuotaExceededError, 402),
        (exceptions.ModelNotFoundError, 404),
        (exceptions.ModelContextWindowExceededError, 413),
    ):
        if isinstance(error, kind):
            return better
    return status


def _is_from(error: Exception, known: tuple[str, ...]) -> bool:
    return type(error).__module__.partition(".")[0] in known
