"""One PostgreSQL transaction: headers, messages and records as rows.

Statements are sent without waiting (pipeline mode) until a result is needed, so an append takes two round trips: begin
and read the header, then write and commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import psycopg

from omniagent_cli.stores.backend import (
    EVERYTHING,
    HeaderRow,
    IndexQuery,
    ListQuery,
    MessageRow,
    RowRange,
    header_values,
)
from omniagent_cli.stores.backends.postgres.errors import AloneError
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
    span_values,
)
from omniagent_cli.stores.backends.postgres.unit_base import UnitBase

_PAGE = 1000
"""Messages per read."""

_RECORDS = 16
"""Other records per read; an attachment can be large."""


class PostgresUnit(UnitBase):
    """Headers, messages and records of one transaction."""

    __slots__ = ()

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
