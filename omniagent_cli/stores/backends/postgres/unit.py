"""One PostgreSQL transaction: headers, messages and records as rows.

Statements are sent without waiting (pipeline mode) until a result is needed, so an append takes two round trips: begin
and read the header, then write and commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast

import psycopg

from omniagent_cli.durations import Clock
from omniagent_cli.stores.backend import (
    EVERYTHING,
    HeaderRow,
    IndexQuery,
    ListQuery,
    MessageRow,
    RowRange,
    Transaction,
    header_values,
)
from omniagent_cli.stores.backends.postgres.connection import StoreConnection
from omniagent_cli.stores.backends.postgres.errors import AgainError, AloneError
from omniagent_cli.stores.backends.postgres.schema import qualified
from omniagent_cli.stores.backends.postgres.search import candidates
from omniagent_cli.stores.backends.postgres.statements import (
    BATCHES,
    BUMP,
    COUNTED,
    HEADER,
    INSERT,
    KEY,
    LAST,
    ROW,
    SPAN,
    UPDATE,
    WORDS,
    conditions,
    first_query,
    span_values,
)

_PAGE = 1000
"""Messages per read."""

_RECORDS = 16
"""Other records per read; an attachment can be large."""

_sql = lru_cache(maxsize=512)(qualified)


class _Facts(NamedTuple):
    """The columns of `first_query`."""

    now: datetime
    version: int
    encryption: bytes | None
    session: int
    transaction: int | None


class PostgresUnit(Transaction):
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
        """Return the encryption manifest.

        Raises:
            AgainError: it is not the one this unit of work assumed.
        """
        mark = self._begun().encryption
        if self._guess is not None and self._guess[0] != mark:
            raise AgainError("the encryption of the store was changed")
        return mark

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

    def _change(self, query: str, values: Sequence[object]) -> psycopg.Cursor[Any]:
        self.wrote = True
        return self.execute(query, values)

    def find(self, session_id: str, *, payload: bool = True) -> HeaderRow | None:
        return self._one("id", session_id, payload=payload)

    def find_uid(self, uid: str, *, payload: bool = True) -> HeaderRow | None:
        return self._one("uid", uid, payload=payload)

    def _one(self, column: str, value: str, *, payload: bool) -> HeaderRow | None:
        columns = HEADER if payload else f"{COUNTED}, NULL::bytea"
        lock = " FOR UPDATE" if self._write else ""
        row = self.execute(
            f"SELECT {columns} FROM $sessions WHERE {column} = %s{lock}", (value,)
        ).fetchone()
        if row is None:
            return None
        self._known.add(row[0])
        return HeaderRow(*row)

    def headers(self, query: ListQuery) -> list[HeaderRow]:
        where, values = conditions(query)
        column = {
            "updated": "updated_at",
            "created": "created_at",
            "messages": "message_count",
            "id": "id",
        }[query.sort]
        if query.after is not None:
            place = query.after
            if query.sort == "id":
                where += " AND (pinned < %s OR (pinned = %s AND id > %s))"
                values += [place.pinned, place.pinned, place.id]
            else:
                where += f" AND (pinned, {column}, id) < (%s, %s, %s)"
                values += [place.pinned, place.key, place.id]
        order = "pinned DESC, id" if query.sort == "id" else f"pinned DESC, {column} DESC, id DESC"
        lock = " FOR UPDATE" if self._write else ""
        rows = self.execute(
            f"SELECT {HEADER} FROM $sessions WHERE {where} ORDER BY {order} LIMIT %s{lock}",
            [*values, query.limit],
        ).fetchall()
        self._known.update(row[0] for row in rows)
        return [HeaderRow(*row) for row in rows]

    def count(self, query: ListQuery) -> int:
        where, values = conditions(query)
        row = self.execute(f"SELECT count(*) FROM $sessions WHERE {where}", values).fetchone()
        return cast("tuple[int]", row)[0]

    def put(self, header: HeaderRow) -> None:
        if header.uid not in self._known:
            self._change(INSERT, header_values(header))
            self._known.add(header.uid)
        elif header.payload is None:
            self._change(
                BUMP,
                (
                    header.updated_at,
                    header.modified_at,
                    header.model,
                    header.expires_at,
                    header.message_count,
                    header.next_position,
                    header.revision,
                    header.preview,
                    header.uid,
                ),
            )
        else:
            self._change(UPDATE, (*header_values(header)[1:], header.uid))

    def remove(self, uid: str) -> None:
        self._change("DELETE FROM $sessions WHERE uid = %s", (uid,))
        self._known.discard(uid)

    def rows(self, uid: str, span: RowRange = EVERYTHING) -> Iterator[MessageRow]:
        first = 0 if span.first is None else span.first
        last = LAST if span.last is None else span.last
        left = LAST if span.limit is None else span.limit
        skip, order = span.skip, " DESC" if span.newest else ""
        while left > 0:
            size = min(_PAGE, left)
            page = self.execute(
                f"SELECT {ROW} FROM $messages WHERE session = {KEY} AND position >= %s AND position <= %s"
                f" ORDER BY position{order} LIMIT %s OFFSET %s",
                (uid, first, last, size, skip),
            ).fetchall()
            yield from map(MessageRow._make, page)
            if len(page) < size:
                return
            left, skip = left - size, 0
            if span.newest:
                last = page[-1][0] - 1
            else:
                first = page[-1][0] + 1

    def insert(self, uid: str, rows: Sequence[MessageRow], texts: Sequence[str | None]) -> None:
        if rows:
            self._last = (uid, rows[-1].position, rows[-1].id)
        start = 0
        while start < len(rows):
            size = next(size for size in BATCHES if size <= len(rows) - start)
            values: list[object] = []
            for row, text in zip(
                rows[start : start + size], texts[start : start + size], strict=True
            ):
                values += (uid, text, *row)
            self._change(BATCHES[size], values)
            start += size

    def replace(self, uid: str, row: MessageRow, text: str | None) -> None:
        self._change(
            "UPDATE $messages SET id = %s, turn_id = %s, role = %s, created_at = %s, status = %s, payload = %b,"
            f" words = {WORDS} WHERE session = {KEY} AND position = %s",
            (*row[1:], text, uid, row.position),
        )

    def delete_rows(self, uid: str, span: RowRange) -> None:
        self._change(f"DELETE FROM $messages WHERE {SPAN}", span_values(uid, span))

    def move_rows(self, uid: str, target_uid: str, span: RowRange) -> None:
        self._change(
            f"UPDATE $messages SET session = {KEY} WHERE {SPAN}",
            (target_uid, *span_values(uid, span)),
        )

    def candidates(self, query: IndexQuery) -> Iterator[tuple[HeaderRow, MessageRow]] | None:
        return candidates(self, query)

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

    def records(self, uid: str, kind: str) -> Iterator[tuple[str, bytes]]:
        after = ""
        while True:
            page = self.execute(
                f"SELECT key, payload FROM $records WHERE session = {KEY} AND kind = %s AND key > %s"
                " ORDER BY key LIMIT %s",
                (uid, kind, after, _RECORDS),
            ).fetchall()
            yield from page
            if len(page) < _RECORDS:
                return
            after = page[-1][0]

    def record(self, uid: str, kind: str, key: str) -> bytes | None:
        row = self.execute(
            f"SELECT payload FROM $records WHERE session = {KEY} AND kind = %s AND key = %s",
            (uid, kind, key),
        ).fetchone()
        return None if row is None else row[0]

    def put_record(self, uid: str, kind: str, key: str, payload: bytes) -> None:
        self._change(
            f"INSERT INTO $records (session, kind, key, payload) VALUES ({KEY}, %s, %s, %b)"
            " ON CONFLICT (session, kind, key) DO UPDATE SET payload = EXCLUDED.payload",
            (uid, kind, key, payload),
        )

    def remove_record(self, uid: str, kind: str, key: str) -> None:
        self._change(
            f"DELETE FROM $records WHERE session = {KEY} AND kind = %s AND key = %s",
            (uid, kind, key),
        )

    def meta(self, key: str) -> bytes | None:
        row = self.execute("SELECT value FROM $meta WHERE key = %s", (key,)).fetchone()
        return None if row is None else row[0]

    def put_meta(self, key: str, value: bytes) -> None:
        if not self._alone:
            raise AloneError  # values of the store that other writers have read must not change before they end
        self._change(
            "INSERT INTO $meta (key, value) VALUES (%s, %b) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
            (key, value),
        )
