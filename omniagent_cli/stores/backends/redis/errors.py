"""Translation of Redis errors into StoreError subclasses."""

from __future__ import annotations

import redis

from omniagent_cli.errors import (
    NotOurStore,
    OmniAgentError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
)

TROUBLE = (redis.RedisError, redis.exceptions.RedisClusterException)
"""Exceptions of the driver."""


def translate_error(error: Exception, url: str) -> OmniAgentError:
    """Return the error for a driver error."""
    kinds = redis.exceptions
    text = str(error)
    if isinstance(error, kinds.AuthenticationError | kinds.NoPermissionError):
        return StoreUnreachable(
            f"the Redis server at {url} rejected the user or password; check them in the store URL ({text})"
        )
    if isinstance(error, kinds.BusyLoadingError | kinds.ClusterDownError | kinds.MasterDownError):
        return StoreUnreachable(f"the Redis server at {url} is not ready ({text}); try again later")
    if isinstance(error, kinds.TimeoutError):
        return StoreUnreachable(
            f"the Redis server at {url} timed out; check that it is running ({text})"
        )
    if isinstance(error, kinds.ConnectionError):
        return StoreUnreachable(
            f"the Redis server at {url} cannot be reached ({text}); check that it runs, and host and port"
        )
    return _refused(text if not isinstance(error, kinds.OutOfMemoryError) else f"OOM {text}", url)


def _refused(text: str, url: str) -> OmniAgentError:
    """Return the error for a rejected command; inside scripts it is only text."""
    for words, kind, what in _REFUSALS:
        if any(word in text for word in words):
            return kind(f"the Redis server at {url} {what} ({text})")
    return StoreUnreachable(f"the Redis server at {url} refuses: {text}")


_REFUSALS: tuple[tuple[tuple[str, ...], type[OmniAgentError], str], ...] = (
    (
        ("OOM", "maxmemory"),
        StoreFull,
        "is out of memory; nothing was stored. Raise maxmemory or delete sessions",
    ),
    (
        ("READONLY", "read only replica"),
        StoreReadOnly,
        "is a read-only replica; use the primary server in the store URL",
    ),
    (
        ("MISCONF",),
        StoreReadOnly,
        "cannot save to its disk and rejects writes; see the server's log",
    ),
    (("NOREPLICAS",), StoreReadOnly, "has too few replicas and rejects writes"),
    (("BUSY",), StoreLocked, "is busy with a script; try again"),
    (
        ("LOADING", "MASTERDOWN", "CLUSTERDOWN"),
        StoreUnreachable,
        "is not ready; try again later",
    ),
    (
        ("NOPERM", "NOAUTH", "permission"),
        StoreUnreachable,
        "does not grant this user the commands that a store needs",
    ),
    (
        ("WRONGTYPE", "value is not an integer"),
        NotOurStore,
        "has other data under the keys of this store; choose another prefix, such as ?prefix=mine:",
    ),
)
"""Text in a server's error, the error class, and its message."""
