"""Durability of a Redis server: its settings, and the rewrite of its append-only file."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import redis

from omniagent_cli.errors import StoreLocked

if TYPE_CHECKING:
    from omniagent_cli.stores.backends.redis.connection import Connection

T = TypeVar("T")

_REWRITE_SECONDS = 30.0
_REWRITING = ("in_progress", "scheduled")
_STILL_THERE = "removed content is no longer in the store but still in the append-only file"


def forget_removed(connection: Connection) -> None:
    """Make each server rewrite its append-only file, if it has one, without the removed content.

    Raises:
        StoreLocked: the rewrite is not finished, or not permitted for this user.
    """
    for node in connection.primaries():
        if not _persistence(connection, "aof_enabled", node):
            continue
        until = time.monotonic() + _REWRITE_SECONDS
        begun: bool | None = False
        while begun is False:
            _await_rewriting(connection, node, until)  # one from before the removal is not enough
            begun = _allowed(connection, partial(_rewrite, node))
        if begun is None:
            raise StoreLocked(
                f"{_STILL_THERE} of {connection.url}, and this user may not rewrite it;"
                " ask the administrator of the server to run BGREWRITEAOF"
            )
        _await_rewriting(connection, node, until)


def facts(connection: Connection) -> dict[str, Any]:
    """Return the server's settings and statistics; ``unknown`` if this user may not read them."""
    node = connection.store_node()
    server = _allowed(connection, lambda client: client.info(**node)) or {}
    found = {
        "redis_version": server.get("valkey_version") or server.get("redis_version", "unknown"),
        "cluster": connection.cluster,
    }
    if "used_memory" in server:
        found["used_memory_bytes"] = server["used_memory"]
    for name in ("appendonly", "appendfsync", "maxmemory-policy"):
        found[name.replace("-", "_")] = _setting(connection, name, node)
    return found


def warnings(server: dict[str, Any]) -> list[str]:
    """Return the settings among `facts` that may lose acknowledged writes, as sentences."""
    found = []
    if server["appendonly"] == "no":
        found.append(
            "appendonly is off: a crash of the server loses changes since its last snapshot"
        )
    elif server["appendonly"] == "yes" and server["appendfsync"] != "always":
        found.append(
            f"appendfsync is {server['appendfsync']}: a crash of the machine may lose the last second of writes"
        )
    policy = server["maxmemory_policy"]
    if policy not in ("noeviction", "unknown"):
        found.append(
            f"maxmemory-policy is {policy}: a full server removes sessions; set noeviction"
        )
    if "unknown" in (server["appendonly"], policy):
        found.append("the server does not report its durability settings; ask its administrator")
    return found


def _await_rewriting(connection: Connection, node: dict[str, Any], until: float) -> None:
    while any(_persistence(connection, f"aof_rewrite_{word}", node) for word in _REWRITING):
        if time.monotonic() > until:
            raise StoreLocked(
                f"{_STILL_THERE} of {connection.url}, which is being rewritten; it is removed when that is done"
            )
        time.sleep(0.01)


def _persistence(connection: Connection, name: str, node: dict[str, Any]) -> Any:
    return (_allowed(connection, lambda client: client.info("persistence", **node)) or {}).get(name)


def _setting(connection: Connection, name: str, node: dict[str, Any]) -> str:
    found: Any = _allowed(connection, lambda client: client.config_get(name, **node))
    return str((found or {}).get(name, "unknown"))


def _allowed(connection: Connection, call: Callable[[Any], T]) -> T | None:
    """Run a command; return None if this user may not, or if the server does not have it, as hosted ones."""

    def attempt(client: Any) -> T | None:
        try:
            return call(client)
        except redis.exceptions.NoPermissionError:
            return None
        except redis.exceptions.ResponseError as error:
            if "unknown command" in str(error).lower():
                return None
            raise

    return connection.ask(attempt)


def _rewrite(node: dict[str, Any], client: Any) -> bool:
    """Start a rewrite of the append-only file; return False if another one is running."""
    try:
        client.execute_command("BGREWRITEAOF", **node)
    except redis.exceptions.ResponseError as error:
        if "already in progress" not in str(error):
            raise
        return False
    return True
