"""Delivery of a commit script whose response may be lost: it runs again until a server says what happened."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import redis

from omniagent_cli.stores.backends.redis.connection import (
    DIGESTS,
    FAILOVER_SECONDS,
    UNSETTLED,
    Connection,
    evaluate,
)
from omniagent_cli.stores.backends.redis.errors import TROUBLE, UnknownOutcomeError

_BROKEN = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
_PAUSE_SECONDS = 0.05


class _NoResponseError(Exception):
    """A command was sent, and its response was lost.

    Attributes:
        error: the driver's error.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def deliver(
    connection: Connection, script: str, keys: Sequence[str], arguments: Sequence[Any]
) -> tuple[Sequence[Any], bool]:
    """Run a script that returns ``done`` if it is repeated without other writes in between.

    If the response is lost, the script runs again on a new connection, because only then is it certain that the lost run
    did not happen, and does not happen later.

    Returns:
        The script's answer; True if an earlier run may have written.

    Raises:
        StoreUnreachable: the script did not run; or no server could say whether it did (`UnknownOutcomeError`).
    """
    lost = False
    until: float | None = None
    error: Exception
    while True:
        try:
            return _run_once(connection, script, keys, arguments), lost
        except _NoResponseError as failure:
            error, lost = failure.error, True
        except (*TROUBLE, OSError, UnicodeError) as failure:
            error = failure
            if not lost and not _settles(connection, failure):
                raise connection.translate(failure, "nothing was stored") from failure
        until = time.monotonic() + _patience(connection) if until is None else until
        if time.monotonic() > until:
            if lost:
                raise unknown_outcome(connection, str(error)) from error
            raise connection.translate(error, "nothing was stored") from error
        time.sleep(_PAUSE_SECONDS)
        if not connection.cluster:
            connection.pool.disconnect(inuse_connections=False)


def unknown_outcome(connection: Connection, why: str) -> UnknownOutcomeError:
    """Return the error for a commit that may or may not have been done."""
    return UnknownOutcomeError(
        f"the connection to {connection.url} was lost during the commit ({why});"
        " check if the change was stored before you try again"
    )


def _settles(connection: Connection, error: Exception) -> bool:
    """Return True if a script that did not run may run soon: slots are moving, or Sentinels promote a replica."""
    if isinstance(error, redis.exceptions.AuthenticationError):
        return False
    if connection.address.sentinel is not None:
        return isinstance(error, _BROKEN)
    return connection.cluster and isinstance(error, UNSETTLED)


def _patience(connection: Connection) -> float:
    """Return the seconds for which a commit is repeated."""
    if connection.cluster or connection.address.sentinel is not None:
        return FAILOVER_SECONDS
    return float(connection.address.options["socket_timeout"] or FAILOVER_SECONDS)


def _run_once(
    connection: Connection, script: str, keys: Sequence[str], arguments: Sequence[Any]
) -> Any:
    """Run a script; an error other than `_NoResponseError` means that it did not run."""
    if connection.cluster:
        try:
            return evaluate(connection.client, script, keys, arguments)
        except (*UNSETTLED, redis.exceptions.AuthenticationError):
            raise
        except (*_BROKEN, redis.exceptions.RedisClusterException) as error:
            raise _NoResponseError(error) from error
    link = connection.pool.get_connection()  # connects: its errors come before the script is sent
    try:
        return _evaluate_on(link, script, keys, arguments)
    except (*UNSETTLED, redis.exceptions.ResponseError):
        raise
    except _BROKEN as error:
        link.disconnect()
        raise _NoResponseError(error) from error
    except BaseException:
        link.disconnect()  # its response is still to come
        raise
    finally:
        connection.pool.release(link)


def _evaluate_on(link: Any, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    try:
        link.send_command("EVALSHA", DIGESTS[script], len(keys), *keys, *arguments)
        return link.read_response()
    except redis.exceptions.NoScriptError:
        link.send_command("EVAL", script, len(keys), *keys, *arguments)
        return link.read_response()
