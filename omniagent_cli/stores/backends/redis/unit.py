"""One unit of work on a Redis store: it reads immediately, collects the writes, and commits them at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from operator import methodcaller
from typing import Any, TypeVar

from omniagent_cli.durations import Clock
from omniagent_cli.errors import CorruptSession, NotOurStore
from omniagent_cli.json_format import format_time
from omniagent_cli.stores.backend import (
    EVERYTHING,
    HeaderRow,
    IndexQuery,
    ListQuery,
    MessageRow,
    RowRange,
    Transaction,
)
from omniagent_cli.stores.backends.redis.cluster_commit import commit_apart
from omniagent_cli.stores.backends.redis.commit import ChangedError, Changes, lost, lost_header
from omniagent_cli.stores.backends.redis.connection import Connection
from omniagent_cli.stores.backends.redis.header_cache import HeaderCache
from omniagent_cli.stores.backends.redis.rows import (
    INFO,
    Seen,
    read_entry,
    read_rows,
    read_seen,
    record_field,
    record_keys,
)
from omniagent_cli.stores.backends.redis.scan import scan
from omniagent_cli.stores.backends.redis.scripts import LOOK, ROWS
from omniagent_cli.stores.backends.redis.session_index import SessionIndex

T = TypeVar("T")

CHUNK = 500
"""Messages per response; the script shortens it if they are large."""

LARGE = 4_000_000
"""Bytes of messages after which the script ends a response."""

HOLD_MS = 3000
"""Maximum time for which a session is reserved for one writer."""


class RedisUnit(Transaction):
    """One transaction.

    Attributes:
        guessed: it uses a cached header, which only the commit verifies.
    """

    def __init__(
        self,
        connection: Connection,
        memory: HeaderCache,
        token: str,
        clock: Clock | None,
        *,
        write: bool,
        guess: bool = False,
        hold: bool = False,
    ) -> None:
        self.guessed = False
        self.changes = Changes(connection, token)
        self._connection = connection
        self._memory = memory
        self._clock = clock
        self._write = write
        self._guess = guess
        self._hold = hold and write
        self._seen: dict[str, Seen] = {}
        self._lists = SessionIndex(connection, self.now, self._heard_mark)
        self._mark: bytes | None = None
        self._now: datetime | None = None

    def now(self) -> datetime:
        if self._now is None:
            self._now = self._connection.now() if self._clock is None else self._clock()
        return self._now

    def find(self, session_id: str, *, payload: bool = True) -> HeaderRow | None:
        uid = self._memory.uid(session_id)
        if uid is not None:
            header = self._guessed(uid, session_id, payload=payload) or self._look(
                uid, payload=payload
            )
            if header is not None and header.id == session_id:
                self.changes.ids[session_id] = uid
                return header
        found = self._connection.ask(lambda client: client.hget(f"{self._store}ids", session_id))
        self.changes.ids[session_id] = "" if found is None else found.decode()
        if found is None:
            return None
        header = self._present(found.decode(), payload=payload)
        return header if header is not None and header.id == session_id else None

    def find_uid(self, uid: str, *, payload: bool = True) -> HeaderRow | None:
        return self._guessed(uid, None, payload=payload) or self._present(uid, payload=payload)

    @property
    def _store(self) -> str:
        return self._connection.keys.store

    def _guessed(self, uid: str, session_id: str | None, *, payload: bool) -> HeaderRow | None:
        """Return a cached header, for work that ends in a commit, which verifies it."""
        seen = self._memory.seen(uid) if self._guess and self._write and not payload else None
        if seen is None or seen.header is None or uid in self._seen:
            return None
        header = seen.header
        expired = header.expires_at is not None and header.expires_at <= format_time(self.now())
        if expired or session_id not in (None, header.id):
            return None
        self.guessed = True
        self._seen[uid] = self.changes.guards[uid] = seen
        return replace(header)

    def _present(self, uid: str, *, payload: bool) -> HeaderRow | None:
        """Return a header, or what the index knows of an expired one; a lost one is an error."""
        header = self._look(uid, payload=payload)
        if header is not None:
            return header
        line = self._connection.ask(lambda client: client.hget(f"{self._store}entries", uid))
        if line is None:
            return None
        header = read_entry(uid, line)
        if header.expires_at is not None and header.expires_at <= format_time(self.now()):
            self._seen[uid] = self.changes.guards[uid] = INFO._replace(header=header)
            return replace(header)
        again = self._look(uid, payload=payload)
        if again is None:
            raise lost_header(header)
        return again

    def _look(self, uid: str, *, payload: bool) -> HeaderRow | None:
        token = self.changes.token if self._hold else ""
        keys = [self._connection.keys.header(uid)]
        if not self._connection.cluster:
            keys.append(self._connection.keys.meta)
        word, seconds, microseconds, *found = self._connection.run_again(
            LOOK, keys, int(payload), token, HOLD_MS
        )
        self._connection.heard(seconds, microseconds)
        if word == b"held":
            raise ChangedError
        if not self._connection.cluster:
            self._heard_mark(found[1])
        seen = read_seen(uid, found[0])
        self._note(uid, seen)
        self.changes.guards[uid] = seen
        if seen.header is None:
            self._memory.forget(uid)
            return None
        self._memory.keep(seen)
        return replace(seen.header)

    def _note(self, uid: str, seen: Seen) -> None:
        """Record the state of a session; a second, different state makes the unit of work run again."""
        before = self._seen.setdefault(uid, seen)
        if before.removals != seen.removals or (self._write and before.etag != seen.etag):
            self._memory.forget(uid)
            raise ChangedError
        self._seen[uid] = seen

    def headers(self, query: ListQuery) -> list[HeaderRow]:
        found = self._lists.headers(query)
        for seen in found:
            if seen.header is not None:
                self._note(seen.header.uid, seen)
        return query.select(seen.header for seen in found if seen.header is not None)

    def count(self, query: ListQuery) -> int:
        number = self._lists.count(query)
        for name, value in self.changes.metas.items():
            if (self._meta(name) or b"") != value:
                self._connection.mark = None
                raise ChangedError
        return number

    # Writes

    def put(self, header: HeaderRow) -> None:
        self._mind(header.uid)
        self.changes.put(header)

    def remove(self, uid: str) -> None:
        self._mind(uid)
        self.changes.of(uid).removed = True

    def insert(self, uid: str, rows: Sequence[MessageRow], texts: Sequence[str | None]) -> None:
        if rows:
            self._mind(uid)
            self.changes.insert(uid, rows)

    def replace(self, uid: str, row: MessageRow, text: str | None) -> None:
        self.changes.steps.append(("cut", [uid], (row.position, row.position)))
        self.insert(uid, [row], [text])

    def delete_rows(self, uid: str, span: RowRange) -> None:
        self._mind(uid)
        self.changes.of(uid).removals = True
        self.changes.steps.append(("cut", [uid], _bounds(span)))

    def move_rows(self, uid: str, target_uid: str, span: RowRange) -> None:
        self._mind(uid)
        self._mind(target_uid)
        self.changes.of(uid).removals = True
        self.changes.of(target_uid)
        self.changes.steps.append(("move", [uid, target_uid], _bounds(span)))

    def put_record(self, uid: str, kind: str, key: str, payload: bytes) -> None:
        self._mind(uid)
        self.changes.of(uid)
        self.changes.steps.append(("record", [uid], (record_field(kind, key), payload)))

    def remove_record(self, uid: str, kind: str, key: str) -> None:
        self._mind(uid)
        self.changes.of(uid)
        self.changes.steps.append(("unrecord", [uid], (record_field(kind, key),)))

    def put_meta(self, key: str, value: bytes) -> None:
        self.changes.steps.append(("meta", [], (f"m:{key}", value)))

    def _mind(self, uid: str) -> None:
        """Make the commit check that a session is unchanged."""
        if uid in self._seen:
            self.changes.guards[uid] = self._seen[uid]

    def commit(self) -> bool:
        """Commit the collected writes and return True if there were any.

        Raises:
            ChangedError: another writer changed a session; the work must run again.
        """
        changes = self.changes
        if not changes.sessions and not changes.steps:
            return False
        if self._connection.cluster:
            commit_apart(changes, self.now())
        else:
            changes.commit(self.now(), sweep=self._clock is None)
        if any(step[0] == "meta" for step in changes.steps):
            self._connection.mark = None
        for uid, change in changes.sessions.items():
            if change.removed or change.header is None:
                self._memory.forget(uid)
            else:
                etag = str(int(change.seen.etag or b"0") + 1).encode()
                removals = str(int(change.seen.removals or b"0") + change.removals).encode()
                self._memory.keep(Seen(etag, removals, change.seen.records, change.header))
        return True

    # Messages, attachments and summaries

    def rows(self, uid: str, span: RowRange = EVERYTHING) -> Iterable[MessageRow]:
        left = span.limit
        first, last, skip = span.first, span.last, span.skip
        while left is None or left > 0:
            wanted = CHUNK if left is None else min(left, CHUNK)
            rows, more = self._chunk(uid, RowRange(first, last, span.newest, skip, wanted))
            yield from rows
            if not rows or not (more or len(rows) == wanted):
                return
            left = None if left is None else left - len(rows)
            skip = 0
            if span.newest:
                last = rows[-1].position - 1
            else:
                first = rows[-1].position + 1

    def _chunk(self, uid: str, span: RowRange) -> tuple[list[MessageRow], bool]:
        low, high = _bounds(span)
        ranked = span.newest and span.first is None and span.last is None
        command = "ZREVRANGE" if ranked else "ZREVRANGEBYSCORE" if span.newest else "ZRANGEBYSCORE"
        ends = (high, low) if span.newest else (low, high)
        keys = self._connection.keys.session(uid)[:2]
        ask = partial(self._connection.run_again, ROWS, keys, command, *ends, span.skip)
        answer = self._of_session(uid, lambda: ask(span.limit or 0, LARGE, 0))
        removals, count, more, *members = answer
        self._check_rows(uid, removals, count)
        return read_rows(uid, members), bool(more)

    def _of_session(self, uid: str, ask: Callable[[], T]) -> T:
        """Read keys of one session; of another type they are damage of this session alone."""
        try:
            return ask()
        except NotOurStore as error:
            seen = self._seen.get(uid)
            name = uid if seen is None or seen.header is None else seen.header.id
            raise CorruptSession(
                f"the session {name!r} is damaged: its keys on the server are of another type ({error.__cause__})",
                session_id=name,
            ) from error

    def _check_rows(self, uid: str, removals: bytes | None, count: int) -> None:
        seen = self._seen.get(uid)
        if seen is None or seen.header is None:
            return
        if (removals or b"") != seen.removals:
            self._memory.forget(uid)
            raise ChangedError
        if count == 0 and seen.header.message_count > 0:
            raise lost(seen.header)

    def candidates(self, query: IndexQuery) -> Iterator[tuple[HeaderRow, MessageRow]] | None:
        return None

    def scan(self, query: ListQuery) -> Iterator[tuple[HeaderRow, MessageRow]]:
        for seen, rows, more in scan(self._connection, self._lists, query, self.now):
            header = seen.header
            if header is None or not query.accepts(header):
                continue
            yield from ((header, row) for row in rows)
            if more:
                rest = RowRange(first=rows[-1].position + 1)
                yield from ((header, row) for row in self.rows(header.uid, rest))

    def records(self, uid: str, kind: str) -> Iterable[tuple[str, bytes]]:
        key = self._connection.keys.records(uid)
        ask = partial(self._connection.ask, methodcaller("hkeys", key))
        fields: list[bytes] = self._of_session(uid, ask)
        self._check_records(uid, there=bool(fields))
        for key in record_keys(kind, fields):
            payload = self.record(uid, kind, key)
            if payload is None:
                raise ChangedError
            yield key, payload

    def record(self, uid: str, kind: str, key: str) -> bytes | None:
        name, field = self._connection.keys.records(uid), record_field(kind, key)
        payload: bytes | None = self._connection.ask(lambda client: client.hget(name, field))
        if payload is None:
            self._check_records(
                uid, there=bool(self._connection.ask(lambda client: client.exists(name)))
            )
        return payload

    def _check_records(self, uid: str, *, there: bool) -> None:
        seen = self._seen.get(uid)
        if there or seen is None or seen.header is None or seen.records == 0:
            return
        now = self._connection.ask(
            lambda client: client.hget(self._connection.keys.header(uid), "e")
        )
        if now is None:
            raise ChangedError
        raise CorruptSession(
            f"the session {seen.header.id!r} is damaged: its attachments are gone from the server, which may"
            " have evicted them (maxmemory-policy)",
            session_id=seen.header.id,
        )

    def meta(self, key: str) -> bytes | None:
        name = f"m:{key}"
        found = self._meta(name)
        self.changes.metas[name] = found or b""
        return found

    def _meta(self, name: str) -> bytes | None:
        found: bytes | None = self._connection.ask(
            lambda client: client.hget(self._connection.keys.meta, name)
        )
        return found

    def encryption(self) -> bytes | None:
        """Return the last known manifest; the next read or the commit verifies it."""
        mark = self._connection.mark
        if self._connection.cluster or mark is None or not self._guess:
            found = self.meta("encryption")
            self._mark = self._connection.mark = found or b""
            return found
        self.guessed = True
        self._mark = self.changes.metas["m:encryption"] = mark
        return mark or None

    def _heard_mark(self, mark: bytes) -> None:
        self._connection.mark = mark
        if self._mark is not None and self._mark != mark:
            raise ChangedError


def _bounds(span: RowRange) -> tuple[Any, Any]:
    return (
        "-inf" if span.first is None else span.first,
        "+inf" if span.last is None else span.last,
    )
