"""The base of a PostgreSQL unit of work: one transaction on one connection in pipeline mode, and its statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg

from omniagent_cli.durations import Clock
from omniagent_cli.stores.backend import Transaction
from omniagent_cli.stores.backends.postgres.connection import StoreConnection
from omniagent_cli.stores.backends.postgres.errors import AgainError
from omniagent_cli.stores.backends.postgres.schema import qualified
from omniagent_cli.stores.backends.postgres.statements import first_query

_sql = lru_cache(maxsize=512)(qualified)


class _Facts(NamedTuple):
    """The columns of `first_query`."""

    now: datetime
    version: int
    encryption: bytes | None
    session: int
    transaction: int | None


class UnitBase(Transaction):
    """One transaction on one connection in pipeline mode."""

    __slots__ = (
        "_alone",
        "_clock",
        "_connection",
        "_cursors",
        "_facts",
        "_first",
        "_guess",
        "_known",
        "_last",
        "_schema",
        "_write",
        "committing",
        "wrote",
    )

    def __init__(
        self,
        connection: StoreConnection,
        schema: str,
        clock: Clock | None,
        *,
        write: bool,
        durable: bool = True,
        alone: bool = False,
        guess: tuple[bytes | None] | None = None,
    ) -> None:
        connection.begin_pipeline()
        self._connection = connection
        self._schema = schema
        self._clock = clock
        self._write = write
        self._known: set[str] = set()
        self._cursors = 0
        self._last: tuple[str, int, str] | None = None
        self.wrote = False
        self.committing = False
        # The lock on the header serializes writers, so each reads what the previous one committed.
        mode = "READ COMMITTED" if write else "REPEATABLE READ READ ONLY"
        self.execute(f"BEGIN ISOLATION LEVEL {mode}")
        if alone:
            self.execute(f"SET LOCAL lock_timeout = {connection.limits.lock * 1000:.0f}")
            self.execute("LOCK TABLE $omniagent_store IN ACCESS EXCLUSIVE MODE")
        self._alone = alone
        self._guess = guess
        self._first = self.execute(first_query(connection.limits, write=write, durable=durable))
        self._facts: _Facts | None = None

    def execute(self, query: str, values: Sequence[object] = ()) -> psycopg.Cursor[Any]:
        """Send a statement in which ``$name`` is a table of the store, without waiting for it."""
        return self._connection.execute(_sql(query, self._schema), values or None, binary=True)

    def name_of(self, table: str) -> str:
        """Return the qualified name of a table, as a value for ``regclass``."""
        return f'"{self._schema}".{table}'

    def version(self) -> int:
        """Return the version of the store's tables in this transaction."""
        return self._begun().version

    def mark(self) -> bytes | None:
        """Return the encryption manifest."""
        return self._begun().encryption

    def check_mark(self) -> None:
        """Check that the encryption manifest is the one this unit of work assumed.

        Raises:
            AgainError: it is not.
        """
        if self._guess is not None and self._guess[0] != self.mark():
            raise AgainError("the encryption of the store was changed")

    def commit(self) -> None:
        """End the transaction; wait for the server only if something was written."""
        if self.wrote:
            self.committing = True
            self._connection.commit_changes()
        else:
            self._connection.commit_nothing()

    def evidence(self) -> tuple[object, ...]:
        """Return the values for `COMMITTED`: how to find out later if this transaction was stored."""
        uid, position, message_id = self._last or (None, None, None)
        return self._begun().transaction, uid, uid, position, message_id

    def lift_limits(self) -> None:
        """Let the statements of this transaction take any time."""
        self.execute("SET LOCAL statement_timeout = 0")
        self._connection.patient = True

    def _begun(self) -> _Facts:
        """Return the result of the first statement; waiting for it costs a round trip if nothing else was read."""
        if self._facts is None:
            self._facts = _Facts._make((self._first.fetchone() or ())[:5])
            self._connection.note_session(self._facts.session)
        return self._facts

    def encryption(self) -> bytes | None:
        # As in the previous transaction, which is checked before the end; waiting would cost a round trip.
        if self._guess is None:
            self._guess = (self._begun().encryption,)
        return self._guess[0]

    def now(self) -> datetime:
        return self._begun().now.replace(tzinfo=UTC) if self._clock is None else self._clock()

    def stream(
        self, query: str, values: Sequence[object] = (), size: int = 100
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query in pages, buffered on the server."""
        self._cursors += 1
        name = f"walk_{self._cursors}"
        # Never prepared: the best plan depends on the frequency of the words.
        self._connection.execute(
            _sql(f"DECLARE {name} NO SCROLL CURSOR FOR {query}", self._schema),
            values or None,
            prepare=False,
        )
        while True:
            page = self.execute(f"FETCH {size} FROM {name}").fetchall()
            if page:
                yield page
            if len(page) < size:
                return
