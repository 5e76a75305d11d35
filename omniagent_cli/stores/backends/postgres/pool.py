"""Connection pool of one PostgreSQL server: few connections, opened when needed, never shared with a forked process."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace

import psycopg

from omniagent_cli.fork_safety import ForkAware, keep_forever, register
from omniagent_cli.stores.backends.postgres.connection import Limits, StoreConnection
from omniagent_cli.stores.backends.postgres.location import StoreAddress

_IDLE_SECONDS = 600.0
"""Age after which an unused connection is closed when another one is returned."""


class PoolExhaustedError(psycopg.OperationalError):
    """Every connection of this process stayed in use."""


class StorePool(ForkAware):
    """The pool of one store object.

    Attributes:
        limits: the limits of its connections.
    """

    def __init__(self, place: StoreAddress, limits: Limits) -> None:
        self.limits = limits
        self._place = place
        self._generation = 0
        self._closed = False
        self._reset()
        register(self)

    def _reset(self) -> None:
        self._free = threading.Semaphore(self.limits.connections)
        self._idle: deque[StoreConnection] = deque()

    def after_fork_in_child(self) -> None:
        """Leave all connections to the parent: closing would end the parent's sessions."""
        keep_forever(*self._idle)
        self._generation += 1
        self._reset()

    def take(self) -> StoreConnection:
        """Return a connection that no other thread uses.

        Raises:
            psycopg.Error: none is available.
        """
        if not self._free.acquire(timeout=self.limits.lock):
            raise PoolExhaustedError
        try:
            try:
                return self._idle.pop()
            except IndexError:
                connection = StoreConnection.open(self._place.parameters, self.limits)
        except BaseException:
            self._free.release()
            raise
        connection.generation = self._generation
        return connection

    def give_back(self, connection: StoreConnection, *, keep: bool = True) -> None:
        """Return a connection whose transaction has ended; close it unless it is to be kept."""
        if connection.generation != self._generation:
            keep_forever(connection)  # taken before the fork
            return
        connection.patient = False
        if keep and not connection.closed and not self._closed:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()
        self._close_idle(_IDLE_SECONDS)
        self._free.release()

    def drop_idle(self) -> None:
        """Close the unused connections, because another one was lost."""
        self._close_idle(0.0)

    def stop_preparing(self) -> None:
        """Prepare no statements any more: sessions turned out to change between transactions."""
        self.limits = replace(self.limits, prepare=None)
        self.drop_idle()

    def _close_idle(self, seconds: float) -> None:
        """Close the connections that were not used for some time; the oldest are on the left."""
        oldest = time.monotonic() - seconds
        while self._idle and self._idle[0].idle_since <= oldest:
            try:
                self._idle.popleft().close()
            except IndexError:  # another thread took it
                return

    def close(self) -> None:
        """Close every connection of this process; those in use when they are returned."""
        self._closed = True
        self.drop_idle()
