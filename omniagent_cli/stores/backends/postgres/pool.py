"""Connection pool of one PostgreSQL server: few connections, opened when needed, never shared with a forked process."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import ConnectionPool, PoolClosed

from omniagent_cli.fork_safety import ForkAware, keep_forever, register
from omniagent_cli.stores.backends.postgres.location import StoreAddress

# Its log messages are raised as errors too; without a handler Python would print them on stderr.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

_SETTINGS = """
SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),
    set_config('timezone', 'UTC', false), set_config('jit', 'off', false),
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""


class _Connection(psycopg.Connection[Any]):
    """A connection that the pool may receive ready-made: the first one, whose attempt reports errors."""

    @classmethod
    def connect(  # type: ignore[override]  # the pool passes `ready`, which the driver does not know
        cls, conninfo: str = "", *, ready: list[_Connection], **parameters: Any
    ) -> _Connection:
        return ready.pop() if ready else super().connect(conninfo, **parameters)


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts in seconds, and the maximum number of connections per process."""

    statement: float = 60.0
    lock: float = 15.0
    connections: int = 4


@dataclass(frozen=True, slots=True)
class Lease:
    """A connection in use, and the pool it is returned to."""

    connection: psycopg.Connection[Any]
    pool: ConnectionPool[Any]


class StorePool(ForkAware):
    """The pool of one store object."""

    def __init__(self, place: StoreAddress, limits: Limits) -> None:
        self._place = place
        self._limits = limits
        self._lock = threading.Lock()
        self._pool: ConnectionPool[_Connection] | None = None
        self._closed = False
        register(self)

    def after_fork_in_child(self) -> None:
        """Leave the pool to the parent: its threads are not here, and closing would end the parent's sessions."""
        if self._pool is not None:
            keep_forever(self._pool)
        self._lock, self._pool = threading.Lock(), None

    def take(self) -> Lease:
        """Return a connection for one unit of work, or raise the driver's error immediately.

        Raises:
            psycopg.Error: no connection is available.
        """
        while True:
            with self._lock:
                if self._pool is None:
                    self._pool = self._open()
                pool = self._pool
            try:
                return Lease(pool.getconn(), pool)
            except PoolClosed:
                # Another thread lost its connection, and the pool was replaced.
                if self._closed:
                    raise

    def _open(self) -> ConnectionPool[_Connection]:
        # The pool connects in a thread and would only report a timeout, so the first connection is opened here.
        ready: list[_Connection] = []
        parameters = {**self._place.parameters, "autocommit": True, "prepare_threshold": 3}
        ready.append(_Connection.connect("", ready=[], **parameters))
        pool = ConnectionPool(
            "",
            connection_class=_Connection,
            kwargs={**parameters, "ready": ready},
            min_size=0,
            max_size=self._limits.connections,
            open=False,
            configure=self._configure,
            timeout=self._limits.lock,
            reconnect_timeout=1.0,
            num_workers=1,
        )
        pool.open()
        return pool

    def _configure(self, connection: _Connection) -> None:
        # One type for all integers, otherwise each size would prepare a statement of its own.
        connection.adapters.register_dumper(int, Int8Dumper)
        self.set_limits(connection)

    def set_limits(self, connection: psycopg.Connection, *, statement: float | None = None) -> None:
        """Set the timeouts of statements and locks on the server; a statement timeout of 0 means none."""
        limit = self._limits.statement if statement is None else statement
        connection.execute(
            _SETTINGS, (f"{round(limit * 1000)}ms", f"{round(self._limits.lock * 1000)}ms")
        )

    def give_back(self, lease: Lease, *, keep: bool = True) -> None:
        """Return a connection to the pool; an open transaction is rolled back.

        Args:
            lease: the result of `take`.
            keep: the connection, and the others of the pool, may still be usable.
        """
        connection, pool = lease.connection, lease.pool
        if keep and not connection.closed:
            with suppress(psycopg.Error):  # the original error is raised
                if connection.info.transaction_status != TransactionStatus.IDLE:
                    connection.rollback()
        if not keep or connection.closed:
            connection.close()
            with self._lock:
                if self._pool is pool:
                    self._pool = None
            pool.close(timeout=0)
        pool.putconn(connection)

    def close(self) -> None:
        """Close every connection of this process."""
        self._closed = True
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
