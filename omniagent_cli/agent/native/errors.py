"""What `pydantic-ai` and the libraries below it raise -> our failures, with the same advice as everywhere."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

from omniagent_cli.agent.models.failures import (
    Failure,
    broken_line,
    cut_off,
    event_failure,
    malformed,
    no_tls,
    proxy_refused,
    said_in,
    status_failure,
    unknown_host,
    unreachable,
    untrusted_certificate,
)
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.native.response import readable
from omniagent_cli.errors import ModelRefused

_WRONG_KEY = "API_KEY_INVALID"
"""Google says 400 to a key that is none."""

_UNSUPPORTED_PART = 415

_CONNECTING = ("httpx", "httpx2", "httpcore", "httpcore2", "urllib3", "botocore")
_CLIENTS = ("anthropic", "google", "groq", "mistralai")


def explained(
    endpoint: Endpoint, error: Exception, *, began: bool, asked: Collection[str]
) -> Failure | None:
    """Return what a failure means; None for one that is none of the provider's, but a bug.

    Args:
        endpoint: who was asked.
        error: what was raised.
        began: something of an answer had come.
        asked: the options that were sent, by our names.
    """
    from pydantic_ai import exceptions

    if isinstance(error, exceptions.ModelHTTPError):
        body = readable(error.body)
        headers = dict(error.headers or {})
        if error.retry_after is not None:
            headers.setdefault("retry-after", f"{error.retry_after:.3f}")
        return status_failure(
            endpoint, _status(error, body), headers, body, datetime.now(UTC), asked=asked
        )
    if isinstance(error, exceptions.UserError | NotImplementedError):
        return unsupported(endpoint, error)
    lost = isinstance(error, exceptions.ModelConnectionError | OSError)
    if lost or _is_of_libraries(error, _CONNECTING):
        return connection_failure(endpoint, error, began=began)
    if isinstance(error, exceptions.ModelAPIError) and (error.body is not None or error.in_stream):
        # An error event without a status, in a stream that had begun well.
        return event_failure(endpoint, error.body or str(error.message), datetime.now(UTC))
    known = (exceptions.AgentRunError, ValueError, RecursionError)
    if isinstance(error, known) or _is_of_libraries(error, _CLIENTS):
        return _unreadable(endpoint, began=began)
    return None


def _unreadable(endpoint: Endpoint, *, began: bool) -> Failure:
    if began:
        return broken_line(endpoint)
    speaks = f"the protocol of {endpoint.provider.title}"
    return malformed(endpoint, "no answer that can be read", speaks=speaks)


def unsupported(endpoint: Endpoint, error: Exception) -> Failure:
    """Explain what cannot be sent in this protocol, such as a sound."""
    said = said_in(str(error), endpoint.api_key)
    text = f"{endpoint.model} cannot be asked this: {said}"
    return Failure(ModelRefused(text, status=_UNSUPPORTED_PART))


def _status(error: Any, body: str) -> int:
    """Return the status an error should have had: several providers say 400 to everything."""
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


def connection_failure(endpoint: Endpoint, error: BaseException, *, began: bool) -> Failure:
    """Explain what went wrong with a connection; `began` when an answer had come in part."""
    causes = [error, *_causes(error)]
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return untrusted_certificate(endpoint)
    if began:
        return cut_off(endpoint)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return no_tls(endpoint)
    if any(isinstance(cause, socket.gaierror) or _is(cause, "NameResolution") for cause in causes):
        return unknown_host(endpoint)
    if refused := [cause for cause in causes if _is(cause, "Proxy")]:
        return proxy_refused(endpoint, str(refused[0]))
    if any(_is(cause, "Timeout") for cause in causes):
        return unreachable(endpoint, "no connection in time")
    return unreachable(endpoint, "no connection")


def _is(error: BaseException, kind: str) -> bool:
    """Tell what an error is by its name: the libraries have classes of their own for the same."""
    return kind in type(error).__name__


def _is_of_libraries(error: Exception, known: tuple[str, ...]) -> bool:
    return type(error).__module__.partition(".")[0] in known


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        inner = getattr(cause, "reason", None)  # where urllib3 has it
        if isinstance(inner, BaseException):
            yield inner
        cause = cause.__cause__ or cause.__context__
