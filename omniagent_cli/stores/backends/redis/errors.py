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


class UnknownOutcomeError(StoreUnreachable):
    """A commit may or may not have been done."""


def translate_error(
    error: Exception, url: str, *, user: str, prefix: str, consequence: str = ""
) -> OmniAgentError:
    """Return the error for a driver error.

    Args:
        error: the driver's error, or one of the operating system.
        url: the URL of the store, without the password.
        user: the server's user, to name the rights that it needs.
        prefix: the prefix of the keys, likewise.
        consequence: what follows from the failure, such as ``nothing was stored``.
    """
    kinds = redis.exceptions
    reason = str(error).replace("TTL exhausted.", "the keys are moving to another node")
    text = f"{reason}; {consequence}" if consequence else reason
    if isinstance(error, kinds.NoPermissionError) or any(word in text for word in _FORBIDDEN):
        return StoreUnreachable(
            f"the Redis server at {url} does not grant this user every right that a store needs ({error});"
            f" run on the server: {required_rights(user, prefix)}"
        )
    if isinstance(error, kinds.AuthenticationError):
        return StoreUnreachable(
            f"the Redis server at {url} rejected the user or password; check them in the store URL ({text})"
        )
    if isinstance(error, _NOT_READY):
        return StoreUnreachable(f"the Redis server at {url} is not ready ({text}); try again later")
    if isinstance(error, kinds.TimeoutError):
        return StoreUnreachable(
            f"the Redis server at {url} timed out; check that it is running ({text})"
        )
    if "No connection available" in text or isinstance(error, kinds.MaxConnectionsError):
        return StoreUnreachable(
            f"all connections to {url} are in use; raise max_connections in the store URL ({text})"
        )
    if isinstance(
        error, kinds.ConnectionError | kinds.RedisClusterException | OSError | UnicodeError
    ):
        return StoreUnreachable(
            f"the Redis server at {url} cannot be reached ({text}); check that it runs, and host and port"
        )
    return _refused(
        str(error) if not isinstance(error, kinds.OutOfMemoryError) else f"OOM {error}", url
    )


def required_rights(user: str, prefix: str) -> str:
    """Return the command that grants a user of the server the rights that a store needs, and no others."""
    keys = "".join(f"\\{char}" if char in "*?[]\\" else char for char in prefix)
    return f"ACL SETUSER {user} on resetkeys ~{keys}* {RIGHTS}"


RIGHTS = (
    "+@hash +@sortedset +@keyspace -@dangerous +@connection +eval +evalsha +script|load +info +time"
    " +cluster|slots +cluster|shards +command +config|get +bgrewriteaof"
)
"""Rights of a store; the last two let it report and guarantee durability, those before are for clusters."""

_FORBIDDEN = ("NOPERM", "executing the script can't", "ACL failure in script")
"""Text of a missing right, which is not an error of its own inside scripts."""

_NOT_READY = (
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ClusterError,
    redis.exceptions.TryAgainError,
    redis.exceptions.SlotNotCoveredError,
)


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
        ("WRONGTYPE", "value is not an integer"),
        NotOurStore,
        "has other data under the keys of this store; choose another prefix, such as ?prefix=mine:",
    ),
)
"""Text in a server's error, the error class, and its message."""
