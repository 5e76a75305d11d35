"""The store that lives in this process: for tests and throw-away chats, and the plainest backend to read."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from omniagent_cli.stores.backend import (
    EVERYTHING,
    HeaderRow,
    IndexQuery,
    ListQuery,
    MessageRow,
    RowRange,
    Transaction,
)
from omniagent_cli.stores.store import SessionStore

T = TypeVar("T")


@dataclass(slots=True)
class _Kept:
    header: HeaderRow
    rows: list[MessageRow] = field(default_factory=list)
    records: dict[tuple[str, str], bytes] = field(default_factory=dict)


class MemoryStore(SessionStore):
    """Sessions in a dictionary; gone when it is closed."""

    backend = "memory"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lock = threading.RLock()
        self._sessions: dict[str, _Kept] = {}
        self._uids: dict[str, str] = {}
        self._meta: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        """Always ``memory:``."""
        return "memory:"

    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        with self._lock:
            unit = _Unit(self)
            result = work(unit)
            for change in unit.changes:
                change()
            return result

    def _close(self) -> None:
        self._sessions.clear()
        self._uids.clear()


class _Unit(Transaction):
    """Reads at once, collects the writes, and applies them when the work is done without an error."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.changes: list[Callable[[], object]] = []

    def now(self) -> datetime:
        return self._store._clock()  # noqa: SLF001  # the unit is part of the store

    def find(self, session_id: str, *, payload: bool = True) -> HeaderRow | None:
        uid = self._store._uids.get(session_id)  # noqa: SLF001
        return None if uid is None else self.find_uid(uid, payload=payload)

    def find_uid(self, uid: str, *, payload: bool = True) -> HeaderRow | None:
        kept = self._kept(uid)
        if kept is None:
            return None
        return replace(kept.header) if payload else replace(kept.header, payload=None)

    def headers(self, query: ListQuery) -> list[HeaderRow]:
        return [replace(header) for header in query.select(self._headers())]

    def count(self, query: ListQuery) -> int:
        return sum(map(query.accepts, self._headers()))

    def put(self, header: HeaderRow) -> None:
        own = replace(header)
        self.changes.append(lambda: self._put(own))

    def remove(self, uid: str) -> None:
        self.changes.append(lambda: self._remove(uid))

    def rows(self, uid: str, span: RowRange = EVERYTHING) -> Iterable[MessageRow]:
        kept = self._kept(uid)
        if kept is None:
            return []
        start, end = _bounds(kept.rows, span)
        stop = None if span.limit is None else span.skip + span.limit
        if span.newest:
            return kept.rows[start:end][::-1][span.skip : stop]
        return kept.rows[start:end][span.skip : stop]

    def insert(self, uid: str, rows: Sequence[MessageRow], texts: Sequence[str | None]) -> None:
        self.changes.append(lambda: self._insert(uid, rows))

    def replace(self, uid: str, row: MessageRow, text: str | None) -> None:
        def change() -> None:
            rows = self._store._sessions[uid].rows  # noqa: SLF001
            rows[bisect_left(rows, (row.position,))] = row

        self.changes.append(change)

    def delete_rows(self, uid: str, span: RowRange) -> None:
        self.changes.append(lambda: self._cut(uid, span))

    def move_rows(self, uid: str, target_uid: str, span: RowRange) -> None:
        self.changes.append(lambda: self._insert(target_uid, self._cut(uid, span)))

    def candidates(self, query: IndexQuery) -> Iterator[tuple[HeaderRow, MessageRow]] | None:
        return None

    def records(self, uid: str, kind: str) -> Iterable[tuple[str, bytes]]:
        kept = self._kept(uid)
        return (
            sorted((key, data) for (k, key), data in kept.records.items() if k == kind)
            if kept
            else []
        )

    def record(self, uid: str, kind: str, key: str) -> bytes | None:
        kept = self._kept(uid)
        return kept.records.get((kind, key)) if kept else None

    def put_record(self, uid: str, kind: str, key: str, payload: bytes) -> None:
        self.changes.append(
            lambda: self._store._sessions[uid].records.__setitem__((kind, key), payload)  # noqa: SLF001
        )

    def remove_record(self, uid: str, kind: str, key: str) -> None:
        self.changes.append(lambda: self._store._sessions[uid].records.pop((kind, key), None))  # noqa: SLF001

    def meta(self, key: str) -> bytes | None:
        return self._store._meta.get(key)  # noqa: SLF001

    def put_meta(self, key: str, value: bytes) -> None:
        self.changes.append(lambda: self._store._meta.__setitem__(key, value))  # noqa: SLF001

    def _kept(self, uid: str) -> _Kept | None:
        return self._store._sessions.get(uid)  # noqa: SLF001

    def _headers(self) -> Iterator[HeaderRow]:
        return (kept.header for kept in self._store._sessions.values())  # noqa: SLF001

    def _put(self, header: HeaderRow) -> None:
        kept = self._kept(header.uid)
        if kept is None:
            self._store._sessions[header.uid] = _Kept(header)  # noqa: SLF001
        else:
            if header.payload is None:
                header.payload = kept.header.payload
            self._store._uids.pop(kept.header.id, None)  # noqa: SLF001
            kept.header = header
        self._store._uids[header.id] = header.uid  # noqa: SLF001

    def _remove(self, uid: str) -> None:
        kept = self._store._sessions.pop(uid, None)  # noqa: SLF001
        if kept is not None and self._store._uids.get(kept.header.id) == uid:  # noqa: SLF001
            del self._store._uids[kept.header.id]  # noqa: SLF001

    def _insert(self, uid: str, rows: Iterable[MessageRow]) -> None:
        own = self._store._sessions[uid].rows  # noqa: SLF001
        for row in rows:
            if not own or row.position > own[-1].position:
                own.append(row)
            else:
                insort(own, row)

    def _cut(self, uid: str, span: RowRange) -> list[MessageRow]:
        rows = self._store._sessions[uid].rows  # noqa: SLF001
        start, end = _bounds(rows, span)
        gone = rows[start:end]
        del rows[start:end]
        return gone


def _bounds(rows: list[MessageRow], span: RowRange) -> tuple[int, int]:
    start = 0 if span.first is None else bisect_left(rows, (span.first,))
    end = (
        len(rows)
        if span.last is None
        else bisect_right(rows, span.last, key=lambda row: row.position)
    )
    return start, end
