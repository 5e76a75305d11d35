"""Connection of a PostgreSQL store: waits that end, transactions in pipeline mode, no statements prepared behind a pooler."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg
from psycopg import generators, waiting
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.types.numeric import Int8Dumper

if TYPE_CHECKING:
    from psycopg.abc import PQGen

T = TypeVar("T")

DEFAULT_PREPARE = 3
"""Executions after which a statement is prepared."""

# Its log messages are raised as errors too; without a handler Python would print them on stderr.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

_POLL_SECONDS = 0.1
"""Time after which a wait returns to Python, so that Ctrl-C and the limits are noticed."""

_CANCEL_SECONDS = 1.0


class SilentServerError(psycopg.OperationalError):
    """The server or a proxy kept the connection open but sent nothing, and accepts no other one."""


class SilentConnectionError(psycopg.OperationalError):
    """The server sent nothing on this connection for longer than any statement may take, but accepts others."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts in seconds, number of connections, and use of prepared statements.

    Attributes:
        answer: silence after which the server has to accept a new connection, or is given up.
        statement: limit of the server for each statement; 0: none.
        lock: limit of the server for each lock, and of this process for a free connection.
        connections: maximum number of connections per process.
        prepare: executions after which a statement is prepared; None: never.
    """

    answer: float = 30.0
    statement: float = 60.0
    lock: float = 15.0
    connections: int = 4
    prepare: int | None = DEFAULT_PREPARE


class StoreConnection(psycopg.Connection[Any]):
    """A connection in autocommit mode.

    Attributes:
        parameters: the parameters it was opened with.
        limits: the limits of the store.
        pooled: a pooler is in between, so that each transaction may run in another session.
        patient: the statements may take any time, as long as the server accepts new connections.
        generation: number of forks before it was opened, see `StorePool`.
        idle_since: monotonic time at which it was returned to the pool.
    """

    parameters: Mapping[str, Any]
    limits: Limits
    pooled = False
    patient = False
    generation = 0
    idle_since = 0.0
    _verified = False
    _open = False

    @classmethod
    def open(cls, parameters: Mapping[str, Any], limits: Limits) -> Self:
        """Connect.

        Raises:
            psycopg.Error: no server answers, or it rejects the connection.
        """
        connection = cls.connect("", autocommit=True, prepare_threshold=None, **parameters)
        connection.limits = limits
        connection.parameters = parameters
        # One type for all integers, otherwise each size would prepare a statement of its own.
        connection.adapters.register_dumper(int, Int8Dumper)
        # Behind a pooler that hides itself, another client's statement must never have the same name.
        connection._prepared._prepared_idx = secrets.randbits(48)  # noqa: SLF001  # the driver has no option for it
        return connection

    def __del__(self, *_: Any) -> None:
        """Let the driver close it without a warning: the program ended without closing the store."""

    # Waiting.

    def wait(self, gen: PQGen[T], *_: Any, **__: Any) -> T:
        """Wait for the server as the driver does, but not for one that went silent, and not after Ctrl-C.

        Raises:
            SilentServerError, SilentConnectionError: see `Limits.answer`; the connection was closed.
        """
        try:
            return waiting.wait(self._limited(gen), self.pgconn.socket, interval=_POLL_SECONDS)
        except Exception:
            raise
        except BaseException:
            try:
                with suppress(psycopg.Error):
                    self.cancel_safe(timeout=_CANCEL_SECONDS)
            finally:
                self.close()
            raise

    def _limited(self, gen: PQGen[T]) -> PQGen[T]:
        """Pass a generator of the driver on, and count the polls without any progress."""
        try:
            state = next(gen)
            polls, allowed = 0, round(self.limits.answer / _POLL_SECONDS)
            while True:
                ready = yield state
                polls = 0 if ready else polls + 1
                if polls and polls % max(allowed, 1) == 0:
                    self._check_server(polls * _POLL_SECONDS)
                state = gen.send(ready)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _check_server(self, seconds: float) -> None:
        """Check that a server that sent nothing for some seconds is busy, not gone."""
        limit = self.limits.statement
        error: psycopg.Error
        if not self._accepts_connections():
            error = SilentServerError(f"no answer within {seconds:.3g} s")
        elif self.patient or not limit or seconds < 2 * limit:
            return
        else:
            error = SilentConnectionError(f"a statement did not end within {seconds:.3g} s")
        self.close()
        raise error

    def _accepts_connections(self) -> bool:
        try:
            other = psycopg.connect("", autocommit=True, **self.parameters)
        except psycopg.Error as error:
            return "FATAL" in str(error)  # a server answered
        other.close()
        return True

    # Transactions.

    def begin_pipeline(self) -> None:
        """Send the statements of a transaction without waiting for their results."""
        self._open = True
        if self._pipeline is None:
            self._pipeline = psycopg.Pipeline(self)
            self._pipeline.__enter__()
        elif self.pooled:
            # PgBouncer takes the session away with the answer to the last commit, whatever was sent since.
            self._receive(self._pipeline)

    def end_pipeline(self) -> None:
        """Receive all results and leave pipeline mode, which some statements do not support."""
        if self._pipeline is not None:
            try:
                self._synchronize(self._pipeline)
            finally:
                self._pipeline = None
                self.pgconn.exit_pipeline_mode()

    def commit_changes(self) -> None:
        """Commit the transaction and wait until the server has done it."""
        self.execute(b"COMMIT", binary=True)
        assert self._pipeline is not None  # noqa: S101  # begin_pipeline
        self._synchronize(self._pipeline)
        self._open = False

    def commit_nothing(self) -> None:
        """End a transaction that only read, without waiting: the next one receives the result."""
        self.execute(b"COMMIT", binary=True)
        assert self._pipeline is not None  # noqa: S101  # begin_pipeline
        self._send_synchronization(self._pipeline)
        self._open = False

    def _synchronize(self, pipeline: psycopg.Pipeline) -> None:
        # `Pipeline.sync` waits for results before everything is sent, and its end sends more after the
        # synchronization, for which a pooler assigns another session.
        self._send_synchronization(pipeline)
        self.wait(generators.send(self.pgconn))
        self._receive(pipeline)

    def _send_synchronization(self, pipeline: psycopg.Pipeline) -> None:
        self.pgconn.pipeline_sync()
        pipeline.result_queue.append(None)

    def _receive(self, pipeline: psycopg.Pipeline) -> None:
        self.wait(pipeline._fetch_gen(flush=False))  # noqa: SLF001  # the public methods send more

    def roll_back(self) -> None:
        """End a transaction that has not ended, and leave pipeline mode; close the connection if that fails."""
        if self._pipeline is not None and not self._open:
            return
        with suppress(psycopg.Error):  # of statements after the one that failed
            self.end_pipeline()
        try:
            if self.pgconn.pipeline_status != PipelineStatus.OFF:
                self.close()
            elif self.info.transaction_status != TransactionStatus.IDLE:
                self.rollback()
        except psycopg.Error:
            self.close()
        self._open = False

    def begin_maintenance(self) -> None:
        """Let the next statements take any time; the connection must not be used for others afterwards."""
        self.patient = True
        if not self.is_pooled():
            self.execute(b"SET statement_timeout = 0")
            self.execute(f"SET lock_timeout = {self.limits.lock * 1000:.0f}".encode())

    def is_pooled(self) -> bool:
        """Return True if a pooler is in between; see `note_session`."""
        (pid,) = self.execute(b"SELECT pg_backend_pid()").fetchone() or (0,)
        self.note_session(pid)
        return self.pooled

    def note_session(self, pid: int) -> None:
        """Compare the process of this transaction's session with the one that the connection was opened to.

        If they differ, a pooler is in between, and the next transaction may run where no statement was prepared.
        """
        if pid != self.info.backend_pid:
            self.pooled = True
            self.prepare_threshold = None
        elif not self._verified:
            self._verified = True
            self.prepare_threshold = self.limits.prepare
