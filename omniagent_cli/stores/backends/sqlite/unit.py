"""One SQLite transaction: headers, messages and records as rows."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, cast

from omniagent_cli.durations import Clock
from omniagent_cli.json_format import format_time, parse_time
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
from omniagent_cli.stores.backends.sqlite.rows import (
    BUMP,
    COUNTED,
    HEADER,
    ROW,
    UNINDEXED,
    UPDATE,
    list_condition,
    read_header,
    span_condition,
)
from omniagent_cli.stores.backends.sqlite.schema import ENCRYPTED_FLAG

_SMALL_SESSION = 2000
"""Number of messages up to which reading a session is faster than filtering the index of all sessions."""


class KeyRun:
    """The range of message keys assigned last, because imports give the same time to many messages."""

    __slots__ = ("end", "start")

    def __init__(self) -> None:
        self.start = self.end = 0


class KeyTakenError(Exception):
    """A message key is taken: run the unit of work again and look up free keys."""


class SqliteUnit(Transaction):
    """One SQLite transaction that has begun."""

    __slots__ = ("_careful", "_clock", "_connection", "_encrypted", "_given", "_keys", "_run")

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Clock,
        run: KeyRun,
        *,
        careful: bool = False,
        encrypted: bool = True,
    ) -> None:
        self._careful = careful
        self._encrypted = encrypted
        self._given: set[int] = set()
        self._connection = connection
        self._clock = clock
        self._run = run
        self._keys: dict[str, int] = {}

    def now(self) -> datetime:
        return self._clock()

    def find(self, session_id: str, *, payload: bool = True) -> HeaderRow | None:
        return self._one("id", session_id, payload=payload)

    def find_uid(self, uid: str, *, payload: bool = True) -> HeaderRow | None:
        return self._one("uid", uid, payload=payload)

    def _one(self, column: str, value: str, *, payload: bool) -> HeaderRow | None:
        columns = HEADER if payload else f"{COUNTED}, NULL"
        row = self._connection.execute(
            f"SELECT {columns}, key FROM sessions WHERE {column} = ?", (value,)
        ).fetchone()
        if row is None:
            return None
        self._keys[row[0]] = row[-1]
        return read_header(row[:-1])

    def headers(self, query: ListQuery) -> list[HeaderRow]:
        where, values = list_condition(query)
        column = {
            "updated": "updated_at",
            "created": "created_at",
            "messages": "message_count",
            "id": "id",
        }[query.sort]
        if query.after is not None:
            place = query.after
            if query.sort == "id":
                where += " AND (pinned < ? OR (pinned = ? AND id > ?))"
                values += [place.pinned, place.pinned, place.id]
            else:
                where += f" AND (pinned, {column}, id) < (?, ?, ?)"
                values += [place.pinned, place.key, place.id]
        order = "pinned DESC, id" if query.sort == "id" else f"pinned DESC, {column} DESC, id DESC"
        rows = self._connection.execute(
            f"SELECT {HEADER} FROM sessions WHERE {where} ORDER BY {order} LIMIT ?",
            [*values, query.limit],
        )
        return [read_header(row) for row in rows]

    def count(self, query: ListQuery) -> int:
        where, values = list_condition(query)
        row = self._connection.execute(
            f"SELECT count(*) FROM sessions WHERE {where}", values
        ).fetchone()
        return cast("int", row[0])

    def put(self, header: HeaderRow) -> None:
        key = self._key(header.uid)
        if key is None:
            marks = ", ".join("?" * 17)
            cursor = self._connection.execute(
                f"INSERT INTO sessions ({HEADER}) VALUES ({marks})", header_values(header)
            )
            self._keys[header.uid] = cast("int", cursor.lastrowid)
        elif header.payload is None:
            self._connection.execute(
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
                    key,
                ),
            )
        else:
            self._connection.execute(UPDATE, (*header_values(header)[1:], key))

    def remove(self, uid: str) -> None:
        self._connection.execute("DELETE FROM sessions WHERE uid = ?", (uid,))
        self._keys.pop(uid, None)

    def rows(self, uid: str, span: RowRange = EVERYTHING) -> Iterable[MessageRow]:
        return map(MessageRow._make, self.columns(uid, span))

    def columns(self, uid: str, span: RowRange = EVERYTHING) -> Iterable[tuple[Any, ...]]:
        key = self._key(uid)
        where, values = span_condition(key, span)
        order = " DESC" if span.newest else ""
        limit = -1 if span.limit is None else span.limit
        return self._connection.execute(
            f"SELECT {ROW} FROM messages WHERE {where} ORDER BY position{order} LIMIT ? OFFSET ?",
            (*values, limit, span.skip),
        )

    def insert(self, uid: str, rows: Sequence[MessageRow], texts: Sequence[str | None]) -> None:
        session = self._key(uid)
        keys = self._new_keys(rows)
        try:
            self._connection.executemany(
                f"INSERT INTO messages (key, session, indexed, {ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (key, session, text is not None, *row)
                    for key, row, text in zip(keys, rows, texts, strict=True)
                ],
            )
        except sqlite3.IntegrityError as error:
            if self._careful or "messages.key" not in str(error):
                raise
            raise KeyTakenError from error
        if None in texts:
            self._mark_unindexed(session, min(row.position for row in rows))
        indexed = [(key, text) for key, text in zip(keys, texts, strict=True) if text is not None]
        if indexed:
            self._connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", indexed)

    def _mark_unindexed(self, session: int | None, position: int) -> None:
        """Record that a session has messages from a position on that are not in the search index."""
        if not self._encrypted:
            self._connection.execute(
                "UPDATE sessions SET unindexed = ? WHERE key = ? AND (unindexed IS NULL OR unindexed > ?)",
                (position, session, position),
            )

    def _new_keys(self, rows: Sequence[MessageRow]) -> list[int]:
        """Return keys that ascend with time, so that the index read backwards gives the newest message first.

        A key is the message's time in milliseconds times 64, plus the next free number.
        """
        keys: list[int] = []
        start = 0
        while start < len(rows):
            created_at, end = rows[start].created_at, start + 1
            while end < len(rows) and rows[end].created_at == created_at:
                end += 1
            keys += self._keys_at(created_at, end - start)
            start = end
        return keys

    def _keys_at(self, created_at: str, count: int) -> range:
        """Return keys for messages with the same time; with `careful`, each is checked to be free."""
        wanted = key = _first_key(created_at)
        run = self._run
        if run.start <= wanted <= run.end:
            key = run.end + 1
        else:
            run.start = wanted
        while self._careful and self._taken(key, count):
            key += count
        run.end = key + count - 1
        return range(key, key + count)

    def _taken(self, key: int, count: int) -> bool:
        """Return True if a key is in use, in the store or in this batch, whose rows may not be stored yet."""
        wanted = range(key, key + count)
        if not self._given.isdisjoint(wanted):
            return True
        found = self._connection.execute(
            "SELECT 1 FROM messages WHERE key BETWEEN ? AND ?", (key, key + count - 1)
        )
        if found.fetchone() is not None:
            return True
        self._given.update(wanted)
        return False

    def replace(self, uid: str, row: MessageRow, text: str | None) -> None:
        place = (self._key(uid), row.position)
        found = self._connection.execute(
            "SELECT key, indexed FROM messages WHERE session = ? AND position = ?", place
        ).fetchone()
        if found is None:
            return
        key, was_indexed = found
        if was_indexed:
            self._connection.execute("DELETE FROM words WHERE rowid = ?", (key,))
        self._connection.execute(
            "UPDATE messages SET id = ?, turn_id = ?, role = ?, created_at = ?, status = ?, payload = ?, indexed = ?"
            " WHERE key = ?",
            (*row[1:], text is not None, key),
        )
        if text is not None:
            self._connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (key, text))
        else:
            self._mark_unindexed(*place)

    def delete_rows(self, uid: str, span: RowRange) -> None:
        where, values = span_condition(self._key(uid), span)
        self._connection.execute(f"DELETE FROM messages WHERE {where}", values)

    def move_rows(self, uid: str, target_uid: str, span: RowRange) -> None:
        source, target = self._key(uid), self._key(target_uid)
        where, values = span_condition(source, span)
        self._connection.execute(
            f"UPDATE messages SET session = ? WHERE {where}", (target, *values)
        )
        query = "SELECT unindexed FROM sessions WHERE key = ? AND unindexed IS NOT NULL"
        for (position,) in self._connection.execute(query, (source,)).fetchall():
            self._mark_unindexed(target, position)

    def candidates(self, query: IndexQuery) -> Iterator[tuple[HeaderRow, MessageRow]] | None:
        if query.uid is not None:
            header = self.find_uid(query.uid)
            session = self._key(query.uid)
            if header is not None and header.message_count <= _SMALL_SESSION:
                everything = self._connection.execute(
                    f"SELECT {ROW} FROM messages WHERE session = ? ORDER BY key DESC",
                    (session,),
                )
                return ((header, MessageRow._make(row)) for row in everything)
            return self._indexed(query, " AND m.session = ?", [session])
        return self._indexed(query, "", [])

    def _indexed(
        self, query: IndexQuery, condition: str, values: list[Any]
    ) -> Iterator[tuple[HeaderRow, MessageRow]]:
        columns = "m.key, m.session, m.position, m.id, m.turn_id, m.role, m.created_at, m.status, m.payload"
        if query.since is not None:  # a key is never less than the first of its time
            condition += " AND m.key >= ? AND m.created_at >= ?"
            values = [*values, _first_key(query.since), query.since]
        if query.until is not None:
            condition += " AND m.created_at < ?"
            values = [*values, query.until]
        phrases = [
            f'"{" ".join(words)}"{" *" if prefix else ""}' for words, prefix in query.phrases
        ]
        indexed = self._connection.execute(
            f"SELECT {columns} FROM words CROSS JOIN messages m ON m.key = words.rowid"
            f" WHERE words MATCH ?{condition.replace('m.key', 'words.rowid')} ORDER BY words.rowid DESC",
            [" AND ".join(phrases), *values],
        )
        waiting = self._connection.execute(
            f"SELECT {columns} {UNINDEXED}{condition} ORDER BY m.key DESC",
            values,
        )
        known: dict[int, HeaderRow | None] = {}
        now = format_time(self.now())
        for row in heapq.merge(indexed, waiting, key=lambda found: found[0], reverse=True):
            session = row[1]
            if session not in known:
                if len(known) > 1000:
                    known.clear()
                known[session] = self._visible(session, now)
            header = known[session]
            if header is not None:
                yield header, MessageRow._make(row[2:])

    def _visible(self, session: int, now: str) -> HeaderRow | None:
        row = self._connection.execute(
            f"SELECT {HEADER} FROM sessions WHERE key = ? AND hidden = 0"
            " AND (expires_at IS NULL OR expires_at > ?)",
            (session, now),
        ).fetchone()
        return None if row is None else read_header(row)

    def records(self, uid: str, kind: str) -> Iterable[tuple[str, bytes]]:
        return self._connection.execute(
            "SELECT key, payload FROM records WHERE session = ? AND kind = ? ORDER BY key",
            (self._key(uid), kind),
        )

    def record(self, uid: str, kind: str, key: str) -> bytes | None:
        row = self._connection.execute(
            "SELECT payload FROM records WHERE session = ? AND kind = ? AND key = ?",
            (self._key(uid), kind, key),
        ).fetchone()
        return None if row is None else row[0]

    def put_record(self, uid: str, kind: str, key: str, payload: bytes) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO records (session, kind, key, payload) VALUES (?, ?, ?, ?)",
            (self._key(uid), kind, key, payload),
        )

    def remove_record(self, uid: str, kind: str, key: str) -> None:
        self._connection.execute(
            "DELETE FROM records WHERE session = ? AND kind = ? AND key = ?",
            (self._key(uid), kind, key),
        )

    def meta(self, key: str) -> bytes | None:
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def put_meta(self, key: str, value: bytes) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value)
        )
        if key == "encryption":
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            self._connection.execute(f"PRAGMA user_version = {version | ENCRYPTED_FLAG}")

    def encryption(self) -> bytes | None:
        return self.meta("encryption") if self._encrypted else None

    def _key(self, uid: str) -> int | None:
        """Return the row number of a session."""
        if uid not in self._keys:
            row = self._connection.execute(
                "SELECT key FROM sessions WHERE uid = ?", (uid,)
            ).fetchone()
            if row is None:
                return None
            self._keys[uid] = row[0]
        return self._keys[uid]


def _first_key(created_at: str) -> int:
    """Return the first key of messages created at a time."""
    return int(parse_time(created_at).timestamp() * 1000) << 6
