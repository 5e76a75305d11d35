"""The in-process store, for tests and temporary chats; the simplest backend to read."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from omniagent_cli.durations import Clock
from omniagent_cli.fork_safety import Lock, register
from omniagent_cli.stores.backend import (
    EVERYTHING,
    HeaderRow,
    ListQuery,
    MessageRow,
    RowRange,
    Transaction,
)
from omniagent_cli.stores.store import SessionStore

T = TypeVar("T")


@dataclass(slots=True)
class _StoredSession:
    header: HeaderRow
    rows: list[MessageRow] = field(default_factory=list)
    records: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def insert(self, rows: Iterable[MessageRow]) -> None:
        for row in rows:
            if not self.rows or row.position > self.rows[-1].position:
                self.rows.append(row)
            else:
                insort(self.rows, row)

    def cut(self, span: RowRange) -> list[MessageRow]:
        start, end = _bounds(self.rows, span)
        removed = self.rows[start:end]
        del self.rows[start:end]
        return removed

    def replace(self, row: MessageRow) -> None:
        self.rows[bisect_left(self.rows, (row.position,))] = row


@dataclass(slots=True)
class _Data:
    """Everything a store holds: sessions by uid, uids by id, and values of the store as a whole."""

    sessions: dict[str, _StoredSession] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)
    meta: dict[str, bytes] = field(default_factory=dict)

    def put(self, header: HeaderRow) -> None:
        stored = self.sessions.get(header.uid)
        if stored is None:
            self.sessions[header.uid] = _StoredSession(header)
        else:
            if header.payload is None:
                header.payload = stored.header.payload
            self.uids.pop(stored.header.id, None)
            stored.header = header
        self.uids[header.id] = header.uid

    def remove(self, uid: str) -> None:
        stored = self.sessions.pop(uid, None)
        if stored is not None and self.uids.get(stored.header.id) == uid:
            del self.uids[stored.header.id]


class MemoryStore(SessionStore):
    """Sessions in a dictionary, which closing the store discards; a forked child has a copy of its own."""

    backend = "memory"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lock = threading.RLock()
        self._data = _Data()
        register(self)

    def fork_lock(self) -> Lock:
        """Return the lock: a child must not copy half a change."""
        return self._lock

    def after_fork_in_child(self) -> None:
        """Replace the lock."""
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        """Always ``memory:``."""
        return "memory:"

    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        with self._lock:
            unit = _Unit(self._data, self._clock)
            result = work(unit)
            for change in unit.changes:
                change()
            return result

    def _close(self) -> None:
        self._data = _Data()


class _Unit(Transaction):
    """Transaction that collects the writes, which the store applies if the work raises no error."""

    def __init__(self, data: _Data, clock: Clock) -> None:
        self._data = data
        self._clock = clock
        self.changes: list[Callable[[], object]] = []

    def now(self) -> datetime:
        return self._clock()

    def find(self, session_id: str, *, payload: bool = True) -> HeaderRow | None:
        uid = self._data.uids.get(session_id)
        return None if uid is None else self.find_uid(uid, payload=payload)

    def find_uid(self, uid: str, *, payload: bool = True) -> HeaderRow | None:
        stored = self._data.sessions.get(uid)
        if stored is None:
            return None
        return replace(stored.header) if payload else replace(stored.header, payload=None)

    def headers(self, query: ListQuery) -> list[HeaderRow]:
        headers = (stored.header for stored in self._data.sessions.values())
        return [replace(header) for header in query.select(headers)]

    def count(self, query: ListQuery) -> int:
        return sum(query.accepts(stored.header) for stored in self._data.sessions.values())

    def put(self, header: HeaderRow) -> None:
        own = replace(header)
        self.changes.append(lambda: self._data.put(own))

    def remove(self, uid: str) -> None:
        self.changes.append(lambda: self._data.remove(uid))

    def rows(self, uid: str, span: RowRange = EVERYTHING) -> Iterable[MessageRow]:
        stored = self._data.sessions.get(uid)
        if stored is None:
            return []
        start, end = _bounds(stored.rows, span)
        places = range(start, end)[:: -1 if span.newest else 1]
        stop = None if span.limit is None else span.skip + span.limit
        return [stored.rows[place] for place in places[span.skip : stop]]

    def insert(self, uid: str, rows: Sequence[MessageRow], texts: Sequence[str | None]) -> None:
        self.changes.append(lambda: self._data.sessions[uid].insert(rows))

    def replace(self, uid: str, row: MessageRow, text: str | None) -> None:
        self.changes.append(lambda: self._data.sessions[uid].replace(row))

    def delete_rows(self, uid: str, span: RowRange) -> None:
        self.changes.append(lambda: self._data.sessions[uid].cut(span))

    def move_rows(self, uid: str, target_uid: str, span: RowRange) -> None:
        sessions = self._data.sessions
        self.changes.append(lambda: sessions[target_uid].insert(sessions[uid].cut(span)))

    def records(self, uid: str, kind: str) -> Iterable[tuple[str, bytes]]:
        stored = self._data.sessions.get(uid)
        records = {} if stored is None else stored.records
        return sorted((key, data) for (own, key), data in records.items() if own == kind)

    def record(self, uid: str, kind: str, key: str) -> bytes | None:
        stored = self._data.sessions.get(uid)
        return None if stored is None else stored.records.get((kind, key))

    def put_record(self, uid: str, kind: str, key: str, payload: bytes) -> None:
        sessions = self._data.sessions
        self.changes.append(lambda: sessions[uid].records.__setitem__((kind, key), payload))

    def remove_record(self, uid: str, kind: str, key: str) -> None:
        sessions = self._data.sessions
        self.changes.append(lambda: sessions[uid].records.pop((kind, key), None))

    def meta(self, key: str) -> bytes | None:
        return self._data.meta.get(key)

    def put_meta(self, key: str, value: bytes) -> None:
        self.changes.append(lambda: self._data.meta.__setitem__(key, value))


def _bounds(rows: list[MessageRow], span: RowRange) -> tuple[int, int]:
    start = 0 if span.first is None else bisect_left(rows, (span.first,))
    end = (
        len(rows)
        if span.last is None
        else bisect_right(rows, span.last, key=lambda row: row.position)
    )
    return start, end
