"""Taking away, and undo: what trim, clear, delete and undo remove is kept for a while, hidden, and comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from omniagent_cli.errors import CorruptSession, NothingToRestore, UsageError
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import Message, check_session_id
from omniagent_cli.stores.backend import (
    HIDDEN,
    HeaderRow,
    ListQuery,
    MessageRow,
    RowRange,
    Transaction,
)
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.operations.records import Companions
from omniagent_cli.stores.operations.search import bounded, runs
from omniagent_cli.stores.unit_of_work import Work, is_expired

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """Something that can be restored.

    Attributes:
        uid: the identity of the entry.
        session_id: the id it was removed from.
        kind: ``deleted`` (a whole session), ``trimmed``, ``cleared``, ``undone`` or ``replaced`` (messages).
        expires_at: when it really goes; None: never.
    """

    uid: str
    session_id: str
    kind: str
    title: str
    message_count: int
    removed_at: datetime
    expires_at: datetime | None


class Trash(Companions):
    """The operations of a store that remove and bring back."""

    def trim(self, session_id: str, keep: int, *, purge: bool = False) -> int:
        """Keep the last `keep` messages and return how many went.

        Args:
            session_id: the session.
            keep: how many stay; as many as there are, or more, changes nothing; 0 empties.
            purge: remove for good, with what the trash holds of this session, leaving nothing in the
                backend's files.

        Raises:
            UsageError: `keep` is negative.
            SessionNotFound: there is no such session.
        """
        if keep < 0:
            raise UsageError(f"cannot keep {keep} messages; the number must not be negative")

        def work(tx: Transaction, events: list[Event]) -> int:
            header = self._find(tx, session_id)
            gone = header.message_count - keep
            if gone <= 0:
                return 0
            last = None
            if keep:
                (oldest,) = tx.rows(header.uid, RowRange(newest=True, skip=keep - 1, limit=1))
                last = oldest.position - 1
            self._take(tx, header, [RowRange(last=last)], gone, "trimmed", purge=purge)
            if purge:
                self._purge_trash_of(tx, header.uid)
            events.append(Event("session_trimmed", session_id, {"count": gone}))
            return gone

        return self._removed(work, purge=purge)

    def clear(self, session_id: str, *, before: int | None = None, purge: bool = False) -> int:
        """Remove all messages, keep id, metadata and created_at, and return how many went.

        Args:
            session_id: the session.
            before: only those below this position, such as where a turn began that goes on.
            purge: as for `trim`.

        Raises:
            SessionNotFound: there is no such session.
        """
        span = RowRange() if before is None else RowRange(last=bounded(before - 1))

        def work(tx: Transaction, events: list[Event]) -> int:
            header = self._find(tx, session_id)
            gone = header.message_count
            if before is not None:
                gone = sum(1 for _ in tx.rows(header.uid, span))
            self._take(tx, header, [span], gone, "cleared", purge=purge)
            if purge:
                self._purge_trash_of(tx, header.uid)
            events.append(Event("session_cleared", session_id, {"count": gone}))
            return gone

        return self._removed(work, purge=purge)

    def delete(self, session_id: str, *, purge: bool = False) -> bool:
        """Remove a session and tell whether there was one."""
        check_session_id(session_id)

        def work(tx: Transaction, events: list[Event]) -> bool:
            header = tx.find(session_id)
            if header is None:
                return False
            now = tx.now()
            if is_expired(header, now):
                tx.remove(header.uid)
                events.append(Event("session_expired", session_id))
                return False
            if purge:
                self._purge_trash_of(tx, header.uid)
            if purge or self._trash_seconds is None:
                tx.remove(header.uid)
            else:
                self._hide(tx, header, "deleted", now)
            events.append(Event("session_deleted", session_id))
            return True

        return self._removed(work, purge=purge)

    def _removed(self, work: Work[T], *, purge: bool) -> T:
        result = self._write(work)
        if purge:
            self._scrub()
        return result

    def trash(self) -> list[TrashEntry]:
        """Return what can be restored, newest first."""
        return self._read(
            lambda tx: [self._entry(tx, header, data) for header, data in self._trashed(tx)]
        )

    def restore(
        self, session_id: str | None = None, *, as_id: str | None = None, uid: str | None = None
    ) -> TrashEntry:
        """Bring back what was removed last: from this session id, or at all.

        A deleted session comes back under its id, messages at their old positions.

        Args:
            session_id: the id it was removed from; None takes the newest of all.
            as_id: bring it back as a session with this id instead.
            uid: exactly this entry of `trash`.

        Raises:
            NothingToRestore: the trash holds nothing that fits.
            SessionExists: the id, or a message's place, is taken; give `as_id`.
        """
        if as_id is not None:
            check_session_id(as_id)

        def work(tx: Transaction, events: list[Event]) -> TrashEntry:
            for header, data in self._trashed(tx, damaged_last=True):
                entry = self._entry(tx, header, data)
                if session_id in (None, entry.session_id) and uid in (None, entry.uid):
                    self._bring_back(tx, header, data, entry, as_id, events)
                    return entry
            what = (
                "the trash is empty"
                if session_id is None
                else f"the trash holds nothing of {session_id!r}"
            )
            raise NothingToRestore(
                f"{what}; `omniagent sessions trash` lists what it holds", session_id=session_id
            )

        return self._write(work)

    def empty_trash(self) -> int:
        """Remove for good what could be restored and return how many entries went."""

        def work(tx: Transaction, events: list[Event]) -> int:
            uids = [header.uid for header, _ in self._trashed(tx)]
            for uid in uids:
                tx.remove(uid)
            return len(uids)

        return self._removed(work, purge=True)

    # How it is done.

    def _take(
        self,
        tx: Transaction,
        header: HeaderRow,
        spans: Sequence[RowRange],
        count: int,
        kind: str,
        *,
        purge: bool,
    ) -> None:
        """Remove spans of messages and bring the header up to date."""
        now = tx.now()
        data = self._data(header)
        rest = _newest_left(tx, header.uid, spans)
        if purge or (count and self._trash_seconds is None):
            self._part(tx, header, spans, None, purge=purge)
            for span in spans:
                tx.delete_rows(header.uid, span)
        elif count:
            target = self._bin_for(tx, header, kind, count, now)
            self._part(tx, header, spans, target)
            for span in spans:
                self._move(tx, header, target, span)
        if purge and data.get("title_source") == "auto":
            # It was made of the first question, which may be what is to leave no trace.
            self._set_data(header, {**data, "title": "", "title_source": ""})
        header.message_count -= count
        if header.message_count == 0:
            self._set_preview(header, None)
        elif rest is not None:
            self._set_preview(header, self._to_messages(header, [rest])[0])
        self._touch_header(header, now)
        tx.put(header)

    def _discard(
        self,
        tx: Transaction,
        header: HeaderRow,
        positions: Sequence[int],
        added: Sequence[Message],
        now: datetime,
    ) -> None:
        spans = runs(positions)
        target = None
        if self._trash_seconds is not None:
            target = self._bin_for(tx, header, "replaced", len(positions), now)
        self._part(tx, header, spans, target, added=added)
        for span in spans:
            if target is None:
                tx.delete_rows(header.uid, span)
            else:
                self._move(tx, header, target, span)

    def _bin_for(
        self, tx: Transaction, header: HeaderRow, kind: str, count: int, now: datetime
    ) -> HeaderRow:
        """Make the hidden session that messages of another one are kept in."""
        target = HeaderRow.fresh("", format_time(now))
        target.id = HIDDEN + target.uid
        target.hidden = True
        target.message_count, target.next_position = count, header.next_position
        target.agent_id, target.model = header.agent_id, header.model
        target.ttl_seconds = header.ttl_seconds
        self._touch_header(target, now)  # removing is a write: the session's time starts again
        target.expires_at = self._trash_end(target.expires_at, now)
        data = self._data(header) if header.payload is not None else {}
        trash = {"id": header.id, "uid": header.uid, "kind": kind, "at": format_time(now)}
        self._set_data(target, {"title": data.get("title", ""), "trash": trash})
        tx.put(target)
        return target

    def _hide(self, tx: Transaction, header: HeaderRow, kind: str, now: datetime) -> None:
        data = self._data(header)
        trash = {"id": header.id, "uid": header.uid, "kind": kind, "at": format_time(now)}
        header.id = HIDDEN + header.uid
        header.hidden = True
        header.revision += 1
        header.expires_at = self._trash_end(header.expires_at, now)
        self._set_data(header, {**data, "trash": trash})
        tx.put(header)

    def _trash_end(self, expires_at: str | None, now: datetime) -> str:
        """Return when something goes from the trash: with its own expiry, or when the trash's time is over."""
        limit = format_time(now + timedelta(seconds=self._trash_seconds or 0))
        return limit if expires_at is None else min(limit, expires_at)

    def _trashed(
        self, tx: Transaction, *, damaged_last: bool = False
    ) -> Iterator[tuple[HeaderRow, dict[str, Any]]]:
        """Yield what is in the trash and not expired, newest first.

        Raises:
            CorruptSession: something hidden cannot be read; with `damaged_last`, after all that can.
        """
        found = []
        damage: CorruptSession | None = None
        for header in self._walk_headers(tx, ListQuery(hidden=True, now=format_time(tx.now()))):
            try:
                data = self._data(header)
            except CorruptSession as error:
                if not damaged_last:
                    raise
                damage = error
                continue
            if "trash" in data:
                found.append((header, data))
        yield from sorted(
            found, key=lambda pair: (pair[1]["trash"]["at"], pair[0].uid), reverse=True
        )
        if damage is not None:
            raise damage

    def _entry(self, tx: Transaction, header: HeaderRow, data: dict[str, Any]) -> TrashEntry:
        origin = tx.find_uid(data["trash"]["uid"], payload=False)
        renamed = origin is not None and not origin.hidden
        return TrashEntry(
            uid=header.uid,
            session_id=origin.id if origin is not None and renamed else data["trash"]["id"],
            kind=data["trash"]["kind"],
            title=data.get("title", ""),
            message_count=header.message_count,
            removed_at=parse_time(data["trash"]["at"]),
            expires_at=parse_time(header.expires_at) if header.expires_at else None,
        )

    def _bring_back(
        self,
        tx: Transaction,
        header: HeaderRow,
        data: dict[str, Any],
        entry: TrashEntry,
        as_id: str | None,
        events: list[Event],
    ) -> None:
        origin = None
        if entry.kind != "deleted" and as_id is None:
            origin = tx.find_uid(data["trash"]["uid"])
        if origin is not None and not origin.hidden and not is_expired(origin, tx.now()):
            self._put_back(tx, header, origin)
            return
        new_id = as_id or entry.session_id
        self._free(tx, new_id)
        if entry.kind != "deleted":
            self._stand_alone(tx, header)
        now = tx.now()
        header.id, header.hidden = new_id, False
        data = {key: value for key, value in data.items() if key != "trash"}
        self._set_data(header, data)
        self._touch_header(header, now, updated=False)
        tx.put(header)
        events.append(Event("session_created", new_id))

    def _purge_trash_of(self, tx: Transaction, uid: str) -> None:
        for header, data in self._trashed(tx):
            if data["trash"]["uid"] == uid:
                tx.remove(header.uid)


def _newest_left(tx: Transaction, uid: str, spans: Sequence[RowRange]) -> MessageRow | None:
    """Return the message that is the newest once the spans are gone; None when the newest stays, or none does."""
    if all(span.last is not None for span in spans):
        newest = _newest_up_to(tx, uid, None)
        if newest is None or not any(span.holds(newest.position) for span in spans):
            return None
    for span in reversed(spans):
        left = None if span.first is None else _newest_up_to(tx, uid, span.first - 1)
        if left is None or not any(other.holds(left.position) for other in spans):
            return left
    return None


def _newest_up_to(tx: Transaction, uid: str, last: int | None) -> MessageRow | None:
    return next(iter(tx.rows(uid, RowRange(last=last, newest=True, limit=1))), None)
