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
            f"the Redis server at {url} refuses this user or password; check them in the store's URL ({text})"
        )
    if isinstance(error, kinds.BusyLoadingError | kinds.ClusterDownError | kinds.MasterDownError):
        return StoreUnreachable(
            f"the Redis server at {url} is not ready yet ({text}); try again soon"
        )
    if isinstance(error, kinds.TimeoutError):
        return StoreUnreachable(
            f"the Redis server at {url} does not answer in time; check that it runs ({text})"
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
        "is out of memory; nothing was stored. Give it more, or delete sessions",
    ),
    (
        ("READONLY", "read only replica"),
        StoreReadOnly,
        "is a read-only replica; name the primary in the store's URL",
    ),
    (("MISCONF",), StoreReadOnly, "cannot save to its disk and takes no writes; see its log"),
    (("NOREPLICAS",), StoreReadOnly, "has too few replicas and takes no writes"),
    (("BUSY",), StoreLocked, "is busy with a script; try again"),
    (
        ("LOADING", "MASTERDOWN", "CLUSTERDOWN"),
        StoreUnreachable,
        "is not ready yet; try again soon",
    ),
    (
        ("NOPERM", "NOAUTH", "permission"),
        StoreUnreachable,
        "does not let this user do what a store needs",
    ),
    (
        ("WRONGTYPE", "value is not an integer"),
        NotOurStore,
        "holds something else under the keys of this store; choose another prefix, such as ?prefix=mine:",
    ),
)
"""Words of a server's error, our error class, and its message."""
