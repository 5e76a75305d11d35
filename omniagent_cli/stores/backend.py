"""What moves between the rules and a backend: rows, queries, and one atomic unit of work."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from omniagent_cli.models import new_uid

HIDDEN = "\x01"
"""First character of the id of a hidden session (trash, staged import); no visible id can hold it."""

RECODED_AT_ONCE = 200
"""Messages that one unit of work of `Transaction.recode` goes through: others wait for it."""


class MessageRow(NamedTuple):
    """One stored message.

    Attributes:
        position: stable, never reused, ascending within the session.
        created_at: RFC 3339, as `canonical.format_time` writes it.
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
        next_position: the position the next message gets; never goes back.
        revision: rises with every change.
        hidden: trash or a staged import: no listing, search or id finds it.
        preview: first line of the last message, as a payload.
        payload: title, metadata, state and unknown keys as a payload; None when it was not read. Then
            `Transaction.put` leaves the stored one as it is, and id, agent, TTL and flags, which change with it.
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
    preview: bytes = b""
    payload: bytes | None = None

    @classmethod
    def fresh(cls, session_id: str, now: str) -> HeaderRow:
        """Start a header for a new session."""
        return cls(uid=new_uid(), id=session_id, created_at=now, updated_at=now)


SORTS = ("updated", "created", "messages", "id")


class Cursor(NamedTuple):
    """Where a listing goes on: the sort key of the last header it gave."""

    pinned: bool
    key: str | int
    id: str


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which headers, in which order; times are RFC 3339 text.

    Pinned sessions come first. ``updated``, ``created`` and ``messages`` descend, with ids descending
    among equals; ``id`` ascends by bytes.

    Attributes:
        now: headers whose ``expires_at`` is not after it are left out; None leaves none out.
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
        """Tell whether a header belongs in the listing, cursor aside; backends may ask the server instead."""
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
        """Return the cursor that stands at a header."""
        keys: dict[str, str | int] = {
            "updated": header.updated_at,
            "created": header.created_at,
            "messages": header.message_count,
            "id": "",
        }
        return Cursor(header.pinned, keys[self.sort], header.id)

    def select(self, headers: Iterable[HeaderRow]) -> list[HeaderRow]:
        """Filter, sort and cut headers; for backends without an index of their own."""
        fitting = [header for header in headers if self.accepts(header)]
        if self.sort == "id":
            fitting.sort(key=lambda h: (not h.pinned, h.id.encode()))
        else:
            fitting.sort(key=lambda h: (h.pinned, self.cursor(h).key, h.id.encode()), reverse=True)
        if self.after is not None:
            place = self.after
            fitting = [header for header in fitting if self._is_after(header, place)]
        return fitting[: self.limit]

    def _is_after(self, header: HeaderRow, place: Cursor) -> bool:
        if self.sort == "id":
            return (not header.pinned, header.id.encode()) > (not place.pinned, place.id.encode())
        own = self.cursor(header)
        return (own.pinned, own.key, own.id.encode()) < (place.pinned, place.key, place.id.encode())


@dataclass(slots=True)
class RowRange:
    """Which messages of a session: positions from `first` to `last`, both included; None is open.

    Attributes:
        newest: walk from the newest back.
        skip: pass over that many first.
    """

    first: int | None = None
    last: int | None = None
    newest: bool = False
    skip: int = 0
    limit: int | None = None

    def select(self, rows: Iterable[MessageRow]) -> list[MessageRow]:
        """Filter, sort and cut rows; for backends without an index of their own."""
        fitting = [row for row in rows if self.holds(row.position)]
        fitting.sort(key=lambda row: row.position, reverse=self.newest)
        return fitting[self.skip : None if self.limit is None else self.skip + self.limit]

    def holds(self, position: int) -> bool:
        """Tell whether a position lies within, `skip` and `limit` aside."""
        return (self.first is None or position >= self.first) and (
            self.last is None or position <= self.last
        )


EVERYTHING = RowRange()


@dataclass(frozen=True, slots=True)
class IndexQuery:
    """What a search index is asked to preselect; `search.matches` decides afterwards.

    Attributes:
        phrases: word sequences, every one of which must occur; the last word of a `prefix` one may go on.
        uid: only that session; None searches all visible ones.
    """

    phrases: Sequence[tuple[tuple[str, ...], bool]] = field(default_factory=tuple)
    uid: str | None = None


class Transaction(ABC):
    """One atomic unit of work on a store: everything in it happens, or nothing.

    The rules never read in a unit of work what they wrote in it, so that a backend may collect the
    writes and send them at the end. Rows and headers handed out are the caller's own.
    """

    @abstractmethod
    def now(self) -> datetime:
        """Return the time that decides about expiry: the server's, where there is one."""

    @abstractmethod
    def find(self, session_id: str, *, payload: bool = True) -> HeaderRow | None:
        """Return the header with this visible id, expired or not, or with this hidden id."""

    @abstractmethod
    def find_uid(self, uid: str, *, payload: bool = True) -> HeaderRow | None:
        """Return the header with this uid, hidden or not."""

    @abstractmethod
    def headers(self, query: ListQuery) -> list[HeaderRow]:
        """Return headers with payload, in the order of the query."""

    def count(self, query: ListQuery) -> int:
        """Count the headers the query would give without its limit and cursor; one that can count does better."""
        return len(self.headers(replace(query, limit=sys.maxsize, after=None)))

    @abstractmethod
    def put(self, header: HeaderRow) -> None:
        """Write a header, new or known by its uid; a payload of None leaves the stored one."""

    @abstractmethod
    def remove(self, uid: str) -> None:
        """Remove a session with its messages and records."""

    @abstractmethod
    def rows(self, uid: str, span: RowRange = EVERYTHING) -> Iterable[MessageRow]:
        """Read messages, ascending by position unless `span.newest`, in bounded memory."""

    @abstractmethod
    def insert(self, uid: str, rows: Sequence[MessageRow], texts: Sequence[str | None]) -> None:
        """Add messages; each text is what to index (`text.index_text`), or None for not in the index."""

    def replace(self, uid: str, row: MessageRow, text: str | None) -> None:
        """Replace the message at the row's position."""
        self.delete_rows(uid, RowRange(row.position, row.position))
        self.insert(uid, [row], [text])

    def recode(
        self, uid: str, change: Callable[[MessageRow], MessageRow], first: int
    ) -> int | None:
        """Put messages through a function, where they stand, and take those it changed out of the search index.

        A backend that has to write a session anew for each change does all of it at once.

        Args:
            uid: the session.
            change: returns the row as it should be, with the same position; the same object when it is so already.
            first: the position to begin at.

        Returns:
            The position to go on from in another unit of work; None when it was the last.
        """
        rows = list(self.rows(uid, RowRange(first, limit=RECODED_AT_ONCE)))
        for row in rows:
            changed = change(row)
            if changed is not row:
                self.replace(uid, changed, None)
        return rows[-1].position + 1 if len(rows) == RECODED_AT_ONCE else None

    @abstractmethod
    def delete_rows(self, uid: str, span: RowRange) -> None:
        """Remove messages by position (`first`, `last`)."""

    def move_rows(self, uid: str, target_uid: str, span: RowRange) -> None:
        """Give messages (`first`, `last`) to another session, payloads, positions and index unchanged.

        Written here for backends without an index.
        """
        rows = list(self.rows(uid, span))
        self.delete_rows(uid, span)
        self.insert(target_uid, rows, [None] * len(rows))

    def candidates(self, query: IndexQuery) -> Iterator[tuple[HeaderRow, MessageRow]] | None:
        """Yield possible search hits, newest message first; None when the backend has no index for it."""
        return None

    @abstractmethod
    def records(self, uid: str, kind: str) -> Iterable[tuple[str, bytes]]:
        """Yield the other records of a session (``attachment``, ``summary``) as key and payload, by key."""

    def record(self, uid: str, kind: str, key: str) -> bytes | None:
        """Return one other record."""
        return dict(self.records(uid, kind)).get(key)

    @abstractmethod
    def put_record(self, uid: str, kind: str, key: str, payload: bytes) -> None:
        """Write one other record."""

    @abstractmethod
    def remove_record(self, uid: str, kind: str, key: str) -> None:
        """Remove one other record, if it is there."""

    @abstractmethod
    def meta(self, key: str) -> bytes | None:
        """Return a fact about the store as a whole."""

    @abstractmethod
    def put_meta(self, key: str, value: bytes) -> None:
        """Write a fact about the store as a whole."""

    def encryption(self) -> bytes | None:
        """Return what the store records of its encryption; asked in every writing unit of work, so keep it cheap."""
        return self.meta("encryption")
