"""Connections to one PostgreSQL server: few, opened when needed, never shared with a forked process."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import ConnectionPool, PoolClosed

from omniagent_cli.stores.backends.postgres.location import Place

# What it would log is raised; without a handler Python prints it on stderr, in the middle of a conversation.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

_SETTINGS = """
SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),
    set_config('timezone', 'UTC', false), set_config('jit', 'off', false),
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""


class _Connection(psycopg.Connection[Any]):
    """A connection that the pool may find ready made: the first one, which also told why there is none."""

    @classmethod
    def connect(  # type: ignore[override]  # the pool hands over `ready`, which the driver does not know
        cls, conninfo: str = "", *, ready: list[_Connection], **parameters: Any
    ) -> _Connection:
        return ready.pop() if ready else super().connect(conninfo, **parameters)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long we wait, in seconds, and how many connections one process uses."""

    statement: float = 60.0
    lock: float = 15.0
    connections: int = 4


@dataclass(frozen=True, slots=True)
class Lease:
    """A connection while it is in use, and the pool it goes back to."""

    connection: psycopg.Connection[Any]
    pool: ConnectionPool[Any]


class Link:
    """The pool of one store object."""

    def __init__(self, place: Place, limits: Limits) -> None:
        self._place = place
        self._limits = limits
        self._lock = threading.Lock()
        self._pool: ConnectionPool[_Connection] | None = None
        self._pid = os.getpid()
        self._inherited: list[object] = []
        self._closed = False

    def take(self) -> Lease:
        """Lend a connection for one unit of work, or raise what the driver raises, at once.

        Raises:
            psycopg.Error: there is none to be had.
        """
        if self._pid != os.getpid():
            # Its threads are not in this process, and its connections belong to the parent; not even closing is safe.
            self._inherited.append(self._pool)
            self._lock, self._pool, self._pid = threading.Lock(), None, os.getpid()
        while True:
            with self._lock:
                if self._pool is None:
                    self._pool = self._open()
                pool = self._pool
            try:
                return Lease(pool.getconn(), pool)
            except PoolClosed:
                # Another thread lost its connection, and the likes of it went with it.
                if self._closed:
                    raise

    def _open(self) -> ConnectionPool[_Connection]:
        # The pool connects in a thread and would only say that it took too long, so the first connection is ours.
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
        # One type for all whole numbers, or each size of a number would prepare a statement of its own.
        connection.adapters.register_dumper(int, Int8Dumper)
        self.set_limits(connection)

    def set_limits(self, connection: psycopg.Connection, *, statement: float | None = None) -> None:
        """Tell the server how long our statements and waits may take; a statement limit of 0 is none."""
        limit = self._limits.statement if statement is None else statement
        connection.execute(
            _SETTINGS, (f"{round(limit * 1000)}ms", f"{round(self._limits.lock * 1000)}ms")
        )

    def give_back(self, lease: Lease, *, keep: bool = True) -> None:
        """End a unit of work; what it left open is rolled back.

        Args:
            lease: what `take` returned.
            keep: its connection, and the others of the pool, may still be good.
        """
        connection, pool = lease.connection, lease.pool
        if keep and not connection.closed:
            with suppress(psycopg.Error):  # the error that got us here is the one to tell
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
        if self._pid != os.getpid():
            return
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
