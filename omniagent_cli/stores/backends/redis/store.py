"""Session store on a Redis or Valkey server, shared by many machines."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from omniagent_cli.errors import ConfigError, StoreLocked, StoreReadOnly, StoreUnavailable
from omniagent_cli.stores.backend import Transaction
from omniagent_cli.stores.backends.redis.address import DEFAULT_PREFIX, prefix_in
from omniagent_cli.stores.backends.redis.commit import ChangedError
from omniagent_cli.stores.backends.redis.connection import Connection
from omniagent_cli.stores.backends.redis.header_cache import HeaderCache
from omniagent_cli.stores.backends.redis.rows import FORMAT, Keys, read_seen
from omniagent_cli.stores.backends.redis.unit import RedisUnit
from omniagent_cli.stores.store import SessionStore

if TYPE_CHECKING:
    from omniagent_cli.stores.backend import Problem

T = TypeVar("T")

_PATIENCE_SECONDS = 30.0
"""Time for which a unit of work is repeated after conflicts with other writers."""

_HOLD_AFTER = 5
"""Number of conflicts after which a writer reserves the session, so that none starves."""

_BASE_OPTIONS = ("ttl", "trash_ttl", "clock")


class RedisStore(SessionStore):
    """Sessions on a Redis server, 6.2 or newer, on a cluster, or on Valkey.

    Everything about one session changes in one step and expires together, by the server's clock. The durability of an
    acknowledged write depends on the server's settings: see `info`. On a cluster, changes of two sessions and of the index
    are separate steps, in an order that loses no message. A purge makes the server rewrite its append-only file, which takes
    some time; its snapshots and backups keep removed content until they are replaced.

    Args:
        url: ``redis://user:password@host:6379/0?prefix=mine:``, or ``rediss://`` for TLS; ``redis://h1,h2,h3`` for the nodes
            of a cluster; ``redis+sentinel://h1,h2/SERVICE/0``; ``unix:///path?db=0``. The query may contain options of the
            driver (``ssl_ca_certs``, ``socket_timeout``, ``sentinel_password``...).
        read_only: never write.
        prefix: prefix of all keys; stores with different prefixes are separate.
        options: those of every store, and of the driver (``host``, ``port``, ``password``, ``db``, ``ssl``...).
    """

    backend = "redis"

    def __init__(
        self,
        url: str = "redis://",
        *,
        read_only: bool = False,
        prefix: str | None = None,
        **options: Any,
    ) -> None:
        own = {name: options.pop(name) for name in _BASE_OPTIONS if name in options}
        super().__init__(**own)
        if prefix is None:
            prefix = prefix_in(url)
        prefix = DEFAULT_PREFIX if prefix is None else prefix
        if not prefix or not prefix.isprintable() or set(prefix) & set("{}"):
            raise ConfigError(
                f"{prefix!r} cannot be the key prefix of a Redis store; write something like omniagent: without braces"
            )
        self._read_only = read_only
        # A clock given by a test replaces the server's.
        self._own_clock = own.get("clock")
        self._connection = Connection(url, Keys(prefix), options)
        self._memory = HeaderCache()

    @property
    def url(self) -> str:
        """The URL of the store, without the password."""
        return self._connection.url

    def __repr__(self) -> str:
        return f"RedisStore({self.url!r})"

    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        if write and self._read_only:
            raise StoreReadOnly(f"the store {self.url} was opened read-only")
        self._connection.open()
        token = uuid4().hex
        guess, conflicts = True, 0
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            hold = conflicts >= _HOLD_AFTER
            guess = guess and not hold
            unit = RedisUnit(
                self._connection,
                self._memory,
                token,
                self._own_clock,
                write=write,
                guess=guess,
                hold=hold,
            )
            try:
                result = work(unit)
                if not write or unit.commit() or not unit.guessed:
                    return result
                guess = False  # it stopped at what it saw, which was only a guess
            except ChangedError as error:
                unit.changes.discard()
                guess = self._learn(error)
                conflicts += 1
                self._wait(conflicts, until)
            except StoreUnavailable:
                raise  # above all a commit that may have been done
            except Exception:  # an error after a guess is only real if it also occurs without one
                unit.changes.discard()
                if not unit.guessed:
                    raise
                guess = False

    def _learn(self, error: ChangedError) -> bool:
        """Record what a commit found instead of the expected state; return True if it is worth using."""
        if error.uid is None:
            return True
        self._memory.forget(error.uid)
        if error.found is None:
            return False
        seen = read_seen(error.uid, [*error.found, None])
        self._memory.keep(seen)
        return seen.header is not None

    def _wait(self, conflicts: int, until: float) -> None:
        if time.monotonic() > until:
            raise StoreLocked(
                f"other programs kept writing to the same session of {self.url} for {_PATIENCE_SECONDS:g} seconds; try again"
            )
        if conflicts > 1:
            time.sleep(random.uniform(0, min(0.05, 0.0005 * 2**conflicts)))  # noqa: S311  # no secret

    def _close(self) -> None:
        self._connection.close()

    def _scrub(self) -> None:
        from omniagent_cli.stores.backends.redis.durability import forget_removed

        forget_removed(self._connection)

    def check_backend(self, *, repair: bool) -> list[Problem]:
        from omniagent_cli.stores.backends.redis.maintenance import RedisCare

        self._check_open()
        if repair and self._read_only:
            raise StoreReadOnly(f"the store {self.url} was opened read-only")
        self._connection.open()
        return RedisCare(self._connection, repair=repair).problems()

    def copy_before_repair(self) -> str:
        from omniagent_cli.stores.backends.redis.maintenance import keep_copy

        return keep_copy(self._connection, f"before-repair-{self._clock():%Y%m%d-%H%M%S}:")

    def info(self) -> dict[str, Any]:
        """Return facts about the store and the durability of its server; sizes in bytes."""
        from omniagent_cli.stores.backends.redis.durability import facts, warnings

        own = super().info() | {"schema_version": int(FORMAT)}
        server = facts(self._connection)
        return own | server | {"warnings": warnings(server)}
