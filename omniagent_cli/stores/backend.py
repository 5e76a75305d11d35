"""The port between the rules and a backend: rows, queries, and one atomic transaction."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from omniagent_cli.json_format import format_time
from omniagent_cli.models import new_uid

HIDDEN = "\x01"
"""First character of the id of a hidden session (trash, staged import); no visible id can contain it."""

RECODE_BATCH = 200
"""Messages per transaction of `Transaction.recode`, because other writers wait for it."""

CHUNK = 500
"""Messages or headers read at a time when everything is read."""

LARGEST = 2**62
"""Bound of positions and counts that every backend's 64-bit integers hold."""

SORTS = ("updated", "created", "messages", "id")


class MessageRow(NamedTuple):
    """One stored message.

    Attributes:
        position: stable, never reused, ascending within the session.
        created_at: RFC 3339, as `json_format.format_time` writes it.
        status: None for ``complete``.
        payload: canonical JSON of the rest of the record, or a codec's envelope of it.
    """

    position: int
    id: str
    turn_id: str | None
    role: str
    created_at: str
    status: str | None
    payload: bytes


@dataclass(slots=True)
class HeaderRow:
    """One stored session without its messages.

    Attributes:
        updated_at: time of the last activity: a message was added, changed or removed.
        next_position: position of the next message; never decreases.
        revision: increases with every change.
        hidden: trash or a staged import, which no listing, search or id finds.
        modified_at: time of the last change of any kind; None if that is `updated_at`, as after every append.
        preview: first line of the last message, as a payload.
        payload: title, metadata, state and unknown keys as a payload; None if it was not read. Then
            `Transaction.put` keeps the stored one, and id, agent, TTL and flags, which only change with it.
    """

    uid: str
    id: str
    created_at: str
    updated_at: str
    agent_id: str = ""
    model: str = ""
    ttl_seconds: float | None = None
    expires_at: str | None = None
    message_count: int = 0
    next_position: int = 0
    revision: int = 0
    pinned: bool = False
    archived: bool = False
    hidden: bool = False
    modified_at: str | None = None
    preview: bytes = b""
    payload: bytes | None = None

    @classmethod
    def fresh(cls, session_id: str, now: str) -> HeaderRow:
        """Return the header of a new session."""
        return cls(uid=new_uid(), id=session_id, created_at=now, updated_at=now)

    @property
    def changed_at(self) -> str:
        """The time of the last change of any kind."""
        return self.modified_at or self.updated_at

    def mark_changed(self, moment: str, *, activity: bool) -> None:
        """Record a change: revision and times, which never go back even if the clock was set back.

        Args:
            moment: the time of the change.
            activity: messages were added, changed or removed.
        """
        self.revision += 1
        latest = max(moment, self.changed_at)
        if activity and moment > self.updated_at:
            self.updated_at = moment
        self.modified_at = latest if latest > self.updated_at else None

    def is_expired(self, now: datetime) -> bool:
        """Return True if the session's time to live has passed."""
        return self.expires_at is not None and self.expires_at <= format_time(now)


HEADER_COLUMNS = tuple(HeaderRow.__dataclass_fields__)
"""Column names of a header, in the order of the attributes of `HeaderRow`; preview and payload are the last two."""

_facts = attrgetter(*HEADER_COLUMNS[:-1])


def header_values(header: HeaderRow) -> tuple[Any, ...]:
    """Return the values of `HEADER_COLUMNS`; a payload that was not read is empty."""
    return (*_facts(header), header.payload or b"")


class Cursor(NamedTuple):
    """Position of a listing: the sort key of the last header of the previous page."""

    pinned: bool
    key: str | int
    id: str


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Filter and order of a listing; times are RFC 3339 text.

    Pinned sessions come first. ``updated``, ``created`` and ``messages`` sort descending, with ids descending
    among equals; ``id`` sorts ascending by bytes.

    Attributes:
        now: omit headers whose ``expires_at`` is not after it; None omits none.
        expired_by: only headers whose ``expires_at`` is not after it.
        hidden, archived, pinned: None means both kinds.
    """

    sort: str = "updated"
    limit: int = 100
    after: Cursor | None = None
    hidden: bool | None = False
    archived: bool | None = None
    pinned: bool | None = None
    prefix: str = ""
    agent_id: str | None = None
    updated_from: str | None = None
    updated_before: str | None = None
    now: str | None = None
    expired_by: str | None = None

    def accepts(self, header: HeaderRow) -> bool:
        """Return True if a header passes the filter; the cursor is not considered."""
        return (
            (self.hidden is None or header.hidden == self.hidden)
            and (self.archived is None or header.archived == self.archived)
            and (self.pinned is None or header.pinned == self.pinned)
            and header.id.startswith(self.prefix)
            and (self.agent_id is None or header.agent_id == self.agent_id)
            and (self.updated_from is None or header.updated_at >= self.updated_from)
            and (self.updated_before is None or header.updated_at < self.updated_before)
            and (self.now is None or header.expires_at is None or header.expires_at > self.now)
            and (
                self.expired_by is None
                or (header.expires_at is not None and header.expires_at <= self.expired_by)
            )
        )

    def cursor(self, header: HeaderRow) -> Cursor:
        """Return the cursor of a header."""
        keys: dict[str, str | int] = {
            "updated": header.updated_at,
            "created": header.created_at,
            "messages": header.message_count,
            "id": "",
        }
        return Cursor(header.pinned, keys[self.sort], header.id)

    def select(self, headers: Iterable[HeaderRow]) -> list[HeaderRow]:
        """Filter, sort and limit headers; for backends without an index of their own."""
        selected = [header for header in headers if self.accepts(header)]
        if self.sort == "id":
            selected.sort(key=lambda h: (not h.pinned, h.id.encode()))
        else:
            selected.sort(key=lambda h: (h.pinned, self.cursor(h).key, h.id.encode()), reverse=True)
        if self.after is not None:
            after = self.after
            selected = [header for header in selected if self._is_after(header, after)]
        return selected[: self.limit]

    def _is_after(self, header: HeaderRow, after: Cursor) -> bool:
        if self.sort == "id":
            return (not header.pinned, header.id.encode()) > (not after.pinned, after.id.encode())
        own = self.cursor(header)
        return (own.pinned, own.key, own.id.encode()) < (after.pinned, after.key, after.id.encode())


def walk(
    fetch: Callable[[ListQuery], Sequence[HeaderRow]], query: ListQuery
) -> Iterator[HeaderRow]:
    """Yield all headers of a query, fetched in pages of `CHUNK`; its own limit is ignored."""
    query = replace(query, limit=CHUNK)
    while True:
        page = fetch(query)
        yield from page
        if len(page) < CHUNK:
            return
        query = replace(query, after=query.cursor(page[-1]))


@dataclass(slots=True)
class RowRange:
    """A range of messages: positions from `first` to `last`, both included; None is open.

    Attributes:
        newest: read from the newest message backwards.
        skip: number of messages to skip first.
        limit: maximum number of messages.
    """

    first: int | None = None
    last: int | None = None
    newest: bool = False
    skip: int = 0
    limit: int | None = None

    def select(self, rows: Iterable[MessageRow]) -> list[MessageRow]:
        """Filter, sort and limit rows; for backends without an index of their own."""
        selected = [row for row in rows if self.holds(row.position)]
        selected.sort(key=lambda row: row.position, reverse=self.newest)
        return selected[self.skip : None if self.limit is None else self.skip + self.limit]

    def holds(self, position: int) -> bool:
        """Return True if a position is in the range; `skip` and `limit` are not considered."""
        return (self.first is None or position >= self.first) and (
            self.last is None or position <= self.last
        )


EVERYTHING = RowRange()


def contiguous_ranges(positions: Sequence[int]) -> list[RowRange]:
    """Group ascending positions into ranges without gaps."""
    ranges = []
    for _, group in groupby(enumerate(positions), key=lambda pair: pair[1] - pair[0]):
        members = [position for _, position in group]
        ranges.append(RowRange(first=members[0], last=members[-1]))
    return ranges


def clamp(number: int) -> int:
    """Return a position or a limit within the range of every backend's integers."""
    return max(-LARGEST, min(number, LARGEST))


@dataclass(frozen=True, slots=True)
class IndexQuery:
    """Preselection by a search index; `query.matches` decides afterwards.

    Attributes:
        phrases: word sequences, all of which must occur, each with a flag: its last word is a prefix.
        uid: only that session; None searches all visible ones.
        since, until: only messages created at or after one time and before another, as RFC 3339 text.
    """

    phrases: Sequence[tuple[tuple[str, ...], bool]] = field(default_factory=tuple)
    uid: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Damage found in a store.

    Attributes:
        what: a sentence.
        session_id: the session concerned, by its visible or former id; None: the store as a whole.
        repaired: it was repaired.
    """

    what: str
    session_id: str | None = None
    repaired: bool = False


class Transaction(ABC):
    """One atomic transaction on a store: all of it happens, or nothing.

    The rules never read in a transaction what they wrote in it, so a backend may collect the writes and send
    them at the end. Returned rows and headers belong to the caller.

    Attributes:
        keeps_tombstones: what was removed can be recorded, so that the store can be synchronized.
    """

    keeps_tombstones = True

    @abstractmethod
    def now(self) -> datetime:
        """Return the time that decides about expiry: the server's, if there is one."""

    @abstractmethod
    def find(self, session_id: str, *, payload: bool = True) -> HeaderRow | None:
        """Return the header with this visible or hidden id, expired or not."""

    @abstractmethod
    def find_uid(self, uid: str, *, payload: bool = True) -> HeaderRow | None:
        """Return the header with this uid, hidden or not."""

    @abstractmethod
    def headers(self, query: ListQuery) -> list[HeaderRow]:
        """Return headers with payload, in the order of the query."""

    def count(self, query: ListQuery) -> int:
        """Count the headers of a query without its limit and cursor; override it if the backend can count."""
        return len(self.headers(replace(query, limit=sys.maxsize, after=None)))

    @abstractmethod
    def put(self, header: HeaderRow) -> None:
        """Write a header, new or known by its uid; a payload of None keeps the stored one."""

    @abstractmethod
    def remove(self, uid: str) -> None:
        """Remove a session with its messages and records."""

    @abstractmethod
    def rows(self, uid: str, span: RowRange = EVERYTHING) -> Iterable[MessageRow]:
        """Read messages, ascending by position unless `span.newest`, in bounded memory."""

    def columns(self, uid: str, span: RowRange = EVERYTHING) -> Iterable[tuple[Any, ...]]:
        """Read messages like `rows`; bare tuples of the columns suffice, which takes less time."""
        return self.rows(uid, span)

    @abstractmethod
    def insert(self, uid: str, rows: Sequence[MessageRow], texts: Sequence[str | None]) -> None:
        """Add messages; each text is what `StoreBase.index_text` returned, or None to leave it out of the index."""

    def replace(self, uid: str, row: MessageRow, text: str | None) -> None:
        """Replace the message at the row's position."""
        self.delete_rows(uid, RowRange(row.position, row.position))
        self.insert(uid, [row], [text])

    def recode(
        self, uid: str, change: Callable[[MessageRow], MessageRow], first: int
    ) -> int | None:
        """Rewrite messages in place and remove the changed ones from the search index.

        A backend that rewrites a whole session for each change rewrites all messages at once.

        Args:
            uid: the session.
            change: returns the new row, with the same position; the same object if nothing changes.
            first: the position to start at.

        Returns:
            The position to continue at in another transaction; None after the last message.
        """
        rows = list(self.rows(uid, RowRange(first, limit=RECODE_BATCH)))
        for row in rows:
            changed = change(row)
            if changed is not row:
                self.replace(uid, changed, None)
        return rows[-1].position + 1 if len(rows) == RECODE_BATCH else None

    @abstractmethod
    def delete_rows(self, uid: str, span: RowRange) -> None:
        """Remove messages by position (`first`, `last`)."""

    def move_rows(self, uid: str, target_uid: str, span: RowRange) -> None:
        """Move messages (`first`, `last`) to another session; payloads, positions and index do not change.

        This implementation is for backends without an index.
        """
        rows = list(self.rows(uid, span))
        self.delete_rows(uid, span)
        self.insert(target_uid, rows, [None] * len(rows))

    def candidates(self, query: IndexQuery) -> Iterator[tuple[HeaderRow, MessageRow]] | None:
        """Yield possible search hits, newest message first; None if the backend has no index for it."""
        return None

    def scan(self, query: ListQuery) -> Iterator[tuple[HeaderRow, MessageRow]]:
        """Yield the messages of all sessions that the filter of a query accepts, the most recently active session first.

        For a search without an index; a server backend overrides it to read several sessions in one round trip.
        """
        groups = [walk(self.headers, replace(query, pinned=pinned)) for pinned in (True, False)]
        for header in merge(*groups, key=attrgetter("updated_at"), reverse=True):
            for row in self.rows(header.uid):
                yield header, row

    @abstractmethod
    def records(self, uid: str, kind: str) -> Iterable[tuple[str, bytes]]:
        """Yield the attachments or summaries of a session as key and payload, by key."""

    def record(self, uid: str, kind: str, key: str) -> bytes | None:
        """Return the payload of an attachment or summary, or None."""
        return dict(self.records(uid, kind)).get(key)

    @abstractmethod
    def put_record(self, uid: str, kind: str, key: str, payload: bytes) -> None:
        """Write an attachment or summary."""

    @abstractmethod
    def remove_record(self, uid: str, kind: str, key: str) -> None:
        """Remove an attachment or summary, if it exists."""

    @abstractmethod
    def meta(self, key: str) -> bytes | None:
        """Return a value of the store as a whole, or None."""

    @abstractmethod
    def put_meta(self, key: str, value: bytes) -> None:
        """Write a value of the store as a whole."""

    def encryption(self) -> bytes | None:
        """Return the encryption manifest; every writing transaction reads it, so it must be cheap."""
        return self.meta("encryption")
