"""The rules over one transaction: which session an id means, expiry, numbering, titles, and the trash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from omniagent_cli.errors import InvalidRecord, SessionExists, SessionExpired, SessionNotFound
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import Message, check_session_id, new_session_id, new_uids
from omniagent_cli.stores.backend import (
    EVERYTHING,
    HIDDEN,
    HeaderRow,
    ListQuery,
    MessageRow,
    RowRange,
    Transaction,
    walk,
)
from omniagent_cli.stores.encryption.access import EncryptionAccess
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.rows import TITLE_LENGTH, RowCodec
from omniagent_cli.text.sanitize import first_line, is_storable

IndexTexts = Callable[[Sequence[Message]], "list[str | None]"]


@dataclass(frozen=True, slots=True)
class Retention:
    """Retention of sessions and removed messages, in seconds.

    Attributes:
        session_seconds: time to live of new sessions; None: they never expire.
        trash_seconds: how long removed messages can be restored; None: there is no trash.
        operation: the operation that removals belong to; empty: each is one of its own.
    """

    session_seconds: float | None
    trash_seconds: float | None
    operation: str = ""


@dataclass(slots=True)
class WriteTarget:
    """The session to write to.

    Attributes:
        created: it is new.
        expired: it replaces an expired session, whose messages were discarded.
        recovered: it replaces a session that was deleted or expired during a turn.
    """

    header: HeaderRow
    created: bool = False
    expired: bool = False
    recovered: bool = False


class UnitOfWork(RowCodec):
    """One transaction, with the rules that every operation shares.

    Attributes:
        tx: the transaction.
        retention: how long the store keeps sessions and removed messages.
        keeps_tombstones: record what is removed; False if the backend cannot, or has no room for it.
        events: the events to emit once the transaction is stored.
        index_texts: returns what the search index holds of messages; None for each that it leaves out.
    """

    __slots__ = ("_listens", "events", "index_texts", "keeps_tombstones", "retention", "tx")

    def __init__(
        self,
        tx: Transaction,
        access: EncryptionAccess,
        retention: Retention,
        listens: Callable[[str], bool],
        index_texts: IndexTexts,
    ) -> None:
        super().__init__(access)
        self.tx = tx
        self.retention = retention
        self.keeps_tombstones = tx.keeps_tombstones
        self.events: list[Event] = []
        self._listens = listens
        self.index_texts = index_texts

    def now(self) -> datetime:
        """Return the time that decides about expiry."""
        return self.tx.now()

    def emit(self, name: str, session_id: str, **data: Any) -> None:
        """Emit an event once the transaction is stored."""
        self.events.append(Event(name, session_id, data))

    # Headers.

    def find(self, session_id: str, *, payload: bool = True) -> HeaderRow:
        """Return the header of a session that exists now.

        Raises:
            SessionExpired: its time to live has passed.
            SessionNotFound: it does not exist.
        """
        header = self.tx.find(check_session_id(session_id), payload=payload)
        if header is None:
            raise SessionNotFound(f"there is no session {session_id!r}", session_id=session_id)
        ensure_alive(header, self.now())
        return header

    def headers(self, query: ListQuery) -> Iterator[HeaderRow]:
        """Yield all headers of a query."""
        return walk(self.tx.headers, query)

    def fresh(self, session_id: str, now: datetime) -> HeaderRow:
        """Return the header of a new session with the store's time to live."""
        header = HeaderRow.fresh(session_id, format_time(now))
        header.ttl_seconds = self.retention.session_seconds
        self.set_data(header, {})
        return header

    def fresh_hidden(self, now: datetime) -> HeaderRow:
        """Return the header of a new hidden session, for the trash or a staged import."""
        header = HeaderRow.fresh("", format_time(now))
        header.id, header.hidden = HIDDEN + header.uid, True
        return header

    def touch(self, header: HeaderRow, now: datetime, *, activity: bool) -> None:
        """Record a change: revision, times, and expiry, which restarts.

        Args:
            header: the header to change.
            now: the time of the change.
            activity: messages were added, changed or removed, or the session is new.

        Raises:
            InvalidRecord: the agent or the model cannot be stored.
        """
        self._touch(header, now, format_time(now), activity=activity)

    def _touch(self, header: HeaderRow, now: datetime, moment: str, *, activity: bool) -> None:
        for name in (header.agent_id, header.model):
            if name and not is_storable(name):
                raise InvalidRecord(f"invalid name of an agent or a model: {name!r}")
        header.mark_changed(moment, activity=activity)
        if header.changed_at > moment:
            # A clock that was set back must not make the session expire once it is right again.
            now = parse_time(header.changed_at)
        header.expires_at = _later(now, header.ttl_seconds)

    def ensure_unused(self, session_id: str) -> None:
        """Ensure that an id is unused; remove an expired session that still has it.

        Raises:
            SessionExists: the id is taken.
        """
        holder = self.tx.find(session_id, payload=False)
        if holder is None:
            return
        if not holder.is_expired(self.now()):
            raise SessionExists(
                f"the session {session_id!r} already exists; choose another id, or rename or delete it",
                session_id=session_id,
            )
        self.tx.remove(holder.uid)

    def open_for_writing(
        self, session_id: str, uid: str | None = None, *, payload: bool = False
    ) -> WriteTarget:
        """Return the session to write to: the existing one, a new one, or a recovered one.

        Args:
            session_id: its visible id.
            uid: the session a running turn belongs to; it is followed when renamed, and replaced by a new session
                "recovered from ..." when deleted or expired.
            payload: read the header with its payload.
        """
        # The header is read before the time, because a server returns both in one round trip.
        if uid is not None:
            header = self.tx.find_uid(uid, payload=payload)
            now = self.now()
            if header is not None and not header.hidden and not header.is_expired(now):
                return WriteTarget(header)
            header = self._recovered(session_id, now)
            self.emit("session_created", header.id)
            return WriteTarget(header, created=True, recovered=True)
        header = self.tx.find(session_id, payload=payload)
        now = self.now()
        if header is not None and not header.is_expired(now):
            return WriteTarget(header)
        if header is not None:
            self.tx.remove(header.uid)
            self.emit("session_expired", session_id)
        self.emit("session_created", session_id)
        return WriteTarget(self.fresh(session_id, now), created=True, expired=header is not None)

    def _recovered(self, session_id: str, now: datetime) -> HeaderRow:
        new_id = f"recovered-{new_session_id(now)}"
        while self.tx.find(new_id, payload=False) is not None:
            new_id = f"recovered-{new_session_id(now)}"
        header = self.fresh(new_id, now)
        title = f"recovered from {session_id}"
        data = {"title": title, "title_source": "user", "metadata": {"recovered_from": session_id}}
        self.set_data(header, data)
        return header

    # Messages.

    def messages(self, header: HeaderRow, span: RowRange = EVERYTHING) -> list[Message]:
        """Return messages of a session."""
        return self.to_messages(header, self.tx.columns(header.uid, span))

    def newest_row(self, uid: str, last: int | None = None) -> MessageRow | None:
        """Return the newest message up to a position, or None."""
        return next(iter(self.tx.rows(uid, RowRange(last=last, newest=True, limit=1))), None)

    def insert(
        self, uid: str, messages: Sequence[Message], texts: Sequence[str | None] | None = None
    ) -> None:
        """Store numbered messages.

        Args:
            uid: their session.
            messages: the messages.
            texts: their `index_texts`, if they were prepared before the transaction. That keeps it short: other
                writers wait for it, and long text takes a while.
        """
        rows = [self.to_row(uid, message) for message in messages]
        if texts is None or self.access.has_key:  # the key may have been given since
            texts = self.index_texts(messages)
        self.tx.insert(uid, rows, texts)

    def append(
        self,
        header: HeaderRow,
        messages: list[Message],
        texts: Sequence[str | None],
        *,
        announce: bool = True,
    ) -> None:
        """Number, time and store messages at the end of a session, and update its header.

        Args:
            header: the session.
            messages: the messages, which are changed in place.
            texts: their `index_texts`, prepared before the transaction.
            announce: emit ``message_added``; False for a message that still grows.
        """
        now = self.now()
        moment = format_time(now)
        complete_messages(messages, moment, header.next_position)
        if header.message_count == 0:
            self.set_title_from(header, messages)
        header.message_count += len(messages)
        header.next_position += len(messages)
        self.set_preview(header, messages[-1])
        self._touch(header, now, moment, activity=True)
        self.tx.put(header)
        self.insert(header.uid, messages, texts)
        if announce:
            self.announce(header, messages)

    def announce(self, header: HeaderRow, messages: Iterable[Message]) -> None:
        """Emit ``message_added`` for each message, if anyone listens."""
        if self._listens("message_added"):
            for message in messages:
                self.emit("message_added", header.id, message=message.copy())

    def set_title_from(self, header: HeaderRow, messages: Sequence[Message]) -> None:
        """Set the title of an untitled session to its first question."""
        title = next((first_line(m.text, TITLE_LENGTH) for m in messages if m.role == "user"), "")
        if not title:
            return
        if header.payload is None:
            known = self.tx.find_uid(header.uid)
            header.payload = known.payload if known else None
        data = self.data(header)
        if not data.get("title"):
            self.set_data(header, {**data, "title": title, "title_source": "auto"})

    # Attachments and summaries.

    def record(self, header: HeaderRow, kind: str, key: str) -> Any:
        """Return the value of an attachment or summary, or None."""
        payload = self.tx.record(header.uid, kind, key)
        return None if payload is None else self.open_record(header, kind, key, payload)

    def open_record(self, header: HeaderRow, kind: str, key: str, payload: bytes) -> Any:
        """Return the value of a payload that `Transaction.records` yielded."""
        return self.access.unseal(kind, header, (header.uid, key), payload)

    def record_keys(self, uid: str, kind: str) -> list[str]:
        """Return the keys of a session's attachments or summaries."""
        return [key for key, _ in self.tx.records(uid, kind)]

    def put_record(self, uid: str, kind: str, key: str, value: Any) -> None:
        """Write the value of an attachment or summary."""
        if isinstance(value, Mapping):
            value = dict(value)
        self.tx.put_record(uid, kind, key, self.access.seal(kind, (uid, key), value))

    def copy_missing_attachments(self, source: HeaderRow, target_uid: str) -> None:
        """Copy the attachments of a session that another one lacks."""
        known = set(self.record_keys(target_uid, "attachment"))
        for key, payload in self.tx.records(source.uid, "attachment"):
            if key not in known:
                value = self.open_record(source, "attachment", key, payload)
                self.put_record(target_uid, "attachment", key, value)

    # Trash.

    def move_to_trash(self, header: HeaderRow, *, deleted_at: datetime | None = None) -> None:
        """Hide a whole session in the trash, or remove it if the store keeps no trash.

        Args:
            header: the session.
            deleted_at: when it was deleted; None: now.
        """
        if self.retention.trash_seconds is None:
            self.tx.remove(header.uid)
            return
        now = self.now()
        facts = self.trash_facts(header, "deleted", deleted_at or now)
        data = {**self.data(header), "trash": facts}
        header.id, header.hidden = HIDDEN + header.uid, True
        header.revision += 1
        header.expires_at = self.trash_end(header.expires_at, now)
        self.set_data(header, data)
        self.tx.put(header)

    def trash_end(self, expires_at: str | None, now: datetime) -> str:
        """Return when a trash entry is removed: at its own expiry or the end of the trash's retention."""
        limit = format_time(now + timedelta(seconds=self.retention.trash_seconds or 0))
        return limit if expires_at is None else min(limit, expires_at)

    def trash_facts(self, header: HeaderRow, kind: str, now: datetime) -> dict[str, str]:
        """Return the part of a hidden session's data that makes it an entry of the trash."""
        facts = {"id": header.id, "uid": header.uid, "kind": kind, "at": format_time(now)}
        operation = self.retention.operation
        return facts | ({"operation": operation} if operation else {})


def ensure_alive(header: HeaderRow, now: datetime) -> None:
    """Ensure that a session has not expired.

    Raises:
        SessionExpired: it has.
    """
    if header.is_expired(now):
        raise SessionExpired(
            f"the session {header.id!r} expired at {header.expires_at}; writing to it creates a new session",
            session_id=header.id,
        )


def complete_messages(messages: Sequence[Message], now: str, position: int) -> None:
    """Fill in ids, times, turns and positions of messages before they are stored."""
    turn: str | None = None
    for number, (message, fresh) in enumerate(zip(messages, new_uids(len(messages)), strict=True)):
        record = message.record
        message_id = record.setdefault("id", fresh)
        record.setdefault("created_at", now)
        if "turn_id" in record:
            turn = record["turn_id"]
        elif record["role"] == "user":
            record["turn_id"] = turn = message_id
        elif turn is not None:
            record["turn_id"] = turn
        message.position = position + number


def _later(now: datetime, seconds: float | None) -> str | None:
    """Return the end of a time to live that begins now; None: never, or beyond the last date."""
    try:
        return None if seconds is None else format_time(now + timedelta(seconds=seconds))
    except OverflowError:
        return None
