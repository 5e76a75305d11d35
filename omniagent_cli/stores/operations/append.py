"""Writing: append, checkpoint, save, and what a session is called and knows about itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from omniagent_cli.errors import InvalidRecord, SessionNotFound
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message, Session, check_session_id, new_session_id, new_uids
from omniagent_cli.stores.backend import HeaderRow, RowRange, Transaction
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.operations.read import Reading
from omniagent_cli.stores.operations.search import bounded
from omniagent_cli.stores.unit_of_work import TITLE_LENGTH, is_expired
from omniagent_cli.text.sanitize import first_line


@dataclass(slots=True)
class Written:
    """Where an append went.

    Attributes:
        messages: copies of what was stored, with ids, times and positions.
        created: the session came into being with it.
        expired: the session had expired; its old messages were discarded first.
        recovered: the session named by uid was gone; this is a new one that holds the text.
    """

    session_id: str
    uid: str
    messages: list[Message]
    created: bool = False
    expired: bool = False
    recovered: bool = False


@dataclass(slots=True)
class _Target:
    header: HeaderRow
    created: bool = False
    expired: bool = False
    recovered: bool = False


class Writing(Reading):
    """The operations of a store that add and change."""

    def get_or_create(self, session_id: str, *, agent_id: str = "", model: str = "") -> Session:
        """Return a session, making an empty one when there is none or it has expired."""

        def work(tx: Transaction, events: list[Event]) -> Session:
            target = self._target(tx, session_id, None, events)
            if not target.created:  # someone else made it just now
                header = self._find(tx, session_id)
                return self._to_session(header, self._to_messages(header, tx.rows(header.uid)))
            header = target.header
            header.agent_id, header.model = agent_id, model
            self._touch_header(header, tx.now())
            tx.put(header)
            return self._to_session(header, [])

        try:
            return self.get(session_id)
        except SessionNotFound:
            return self._write(work)

    def append(
        self, session_id: str, messages: Message | Mapping[str, Any] | Iterable[Any]
    ) -> list[Message]:
        """Add messages at the end, all or none, in order; makes the session when there is none.

        Args:
            session_id: the session.
            messages: one or many `Message` objects or message records. Absent ids and times are filled in,
                and a user message without a turn begins one.

        Returns:
            Copies of what was stored, with positions.

        Raises:
            InvalidRecord: one of them is not a message; nothing was stored.
        """
        return self.write(session_id, messages).messages

    def write(
        self,
        session_id: str,
        messages: Message | Mapping[str, Any] | Iterable[Any],
        *,
        uid: str | None = None,
        agent_id: str | None = None,
        model: str | None = None,
        attachments: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Written:
        """Append, and tell what became of the session.

        Args:
            session_id: the session.
            messages: as for `append`.
            uid: the session a running turn belongs to. Renamed meanwhile: the messages follow it. Deleted
                or expired meanwhile: they go to a new session "recovered from ...".
            agent_id: the agent a new session belongs to.
            model: the model a session without one is pinned to.
            attachments: records that the messages refer to, by SHA-256, see `attachment`; kept in the same step,
                so that no message is ever without them, and once, however often they are used.
        """
        check_session_id(session_id)
        own = _own_copies(messages)
        kept = {check_sha256(key): dict(record) for key, record in (attachments or {}).items()}
        if not own:
            raise InvalidRecord("there is nothing to append; give at least one message")

        def work(tx: Transaction, events: list[Event]) -> Written:
            target = self._target(tx, session_id, uid, events)
            header = target.header
            if agent_id and target.created:
                header.agent_id = agent_id
            if model and not header.model:
                header.model = model
            self._append(tx, header, own, events)
            for key, record in kept.items():
                self._keep_attachment(tx, target, key, record)
            return Written(
                header.id,
                header.uid,
                own,
                created=target.created,
                expired=target.expired,
                recovered=target.recovered,
            )

        return self._write(work)

    def _keep_attachment(
        self, tx: Transaction, target: _Target, key: str, record: dict[str, Any]
    ) -> None:
        header = target.header
        known = None if target.created else self._record(tx, header, "attachment", key)
        # What an import brought in under this name may be anything: only the same data is left alone.
        if not isinstance(known, dict) or known.get("data") != record.get("data"):
            payload = self._seal("attachment", (header.uid, key), record)
            tx.put_record(header.uid, "attachment", key, payload)

    def checkpoint(
        self, session_id: str, message: Message, *, uid: str, final: bool = False
    ) -> Written:
        """Store the growing answer of a running turn.

        The first call adds the message, later ones replace it in place, marked ``interrupted`` until the
        `final` one. It is indexed and announced once, by the final call.

        Args:
            session_id: the session, by its visible id.
            message: the answer so far; a message that was stored before carries its position.
            uid: the session the turn belongs to; see `write`.
            final: the answer is over; its own status is kept.
        """
        own = message.copy()
        if not final:
            own.status = "interrupted"

        def work(tx: Transaction, events: list[Event]) -> Written:
            target = self._target(tx, session_id, uid, events)
            header = target.header
            if target.recovered or not self._stands(tx, header, own):
                own.position = None
                self._append(tx, header, [own], events, index=final)
            else:
                self._replace_row(tx, header, own, events, final=final)
            return Written(
                header.id,
                header.uid,
                [own.copy()],
                target.created,
                target.expired,
                target.recovered,
            )

        return self._write(work, durable=final)

    def _stands(self, tx: Transaction, header: HeaderRow, message: Message) -> bool:
        """Tell whether a message is still where it was stored; its session may have been trimmed since."""
        place = message.position
        rows = () if place is None else tx.rows(header.uid, RowRange(place, place))
        return any(row.id == message.id for row in rows)

    def _replace_row(
        self,
        tx: Transaction,
        header: HeaderRow,
        message: Message,
        events: list[Event],
        *,
        final: bool,
    ) -> None:
        now = tx.now()
        tx.replace(
            header.uid,
            self._to_row(header.uid, message),
            self._index_text(message) if final else None,
        )
        if message.position == header.next_position - 1:
            self._set_preview(header, message)
        self._touch_header(header, now)
        tx.put(header)
        if final:
            self._announce(header, [message], events)

    def mark(
        self, session_id: str, position: int, status: str, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Record what became of a message: its status, and facts in its ``extra`` (None removes one); the text stays.

        Raises:
            SessionNotFound: there is no such session.
            InvalidRecord: it has no message there, or the status is not one.
        """

        def work(tx: Transaction, events: list[Event]) -> None:
            header = self._find(tx, session_id, payload=False)
            place = bounded(position)
            found = self._to_messages(header, tx.rows(header.uid, RowRange(place, place)))
            if not found:
                raise InvalidRecord(f"{session_id!r} has no message at position {position}")
            record = found[0].to_record() | {"status": status}
            facts = {**record.get("extra", {}), **(extra or {})}
            record["extra"] = {
                key: value for key, value in facts.items() if value is not None
            } or None
            message = Message.from_record(record, position)
            tx.replace(header.uid, self._to_row(header.uid, message), self._index_text(message))
            self._touch_header(header, tx.now())
            tx.put(header)

        self._write(work)

    def _target(
        self, tx: Transaction, session_id: str, uid: str | None, events: list[Event]
    ) -> _Target:
        """Return the header to write to: the one there is, a fresh one, or a recovered one."""
        # Asked after the header, a server tells its time in the same answer.
        if uid is not None:
            header = tx.find_uid(uid, payload=False)
            now = tx.now()
            if header is not None and not header.hidden and not is_expired(header, now):
                return _Target(header)
            header = self._recovered(tx, session_id, now)
            events.append(Event("session_created", header.id))
            return _Target(header, created=True, recovered=True)
        header = tx.find(session_id, payload=False)
        now = tx.now()
        if header is not None and not is_expired(header, now):
            return _Target(header)
        if header is not None:
            tx.remove(header.uid)
            events.append(Event("session_expired", session_id))
        events.append(Event("session_created", session_id))
        return _Target(self._fresh(session_id, now), created=True, expired=header is not None)

    def _recovered(self, tx: Transaction, session_id: str, now: datetime) -> HeaderRow:
        new_id = f"recovered-{new_session_id(now)}"
        while tx.find(new_id, payload=False) is not None:
            new_id = f"recovered-{new_session_id(now)}"
        header = self._fresh(new_id, now)
        title = f"recovered from {session_id}"
        self._set_data(
            header,
            {"title": title, "title_source": "user", "metadata": {"recovered_from": session_id}},
        )
        return header

    def _append(
        self,
        tx: Transaction,
        header: HeaderRow,
        messages: list[Message],
        events: list[Event],
        *,
        index: bool = True,
    ) -> None:
        """Number, time and store messages at the end of a session, and bring its header up to date."""
        now = tx.now()
        complete_messages(messages, format_time(now), header.next_position)
        rows = [self._to_row(header.uid, message) for message in messages]
        texts = [self._index_text(message) if index else None for message in messages]
        if header.message_count == 0:
            self._title_from(tx, header, messages)
        header.message_count += len(messages)
        header.next_position += len(messages)
        self._set_preview(header, messages[-1])
        self._touch_header(header, now)
        tx.put(header)
        tx.insert(header.uid, rows, texts)
        if index:
            self._announce(header, messages, events)

    def _announce(
        self, header: HeaderRow, messages: Iterable[Message], events: list[Event]
    ) -> None:
        if self._events.wants("message_added"):
            events.extend(
                Event("message_added", header.id, {"message": message.copy()})
                for message in messages
            )

    def _title_from(self, tx: Transaction, header: HeaderRow, messages: Sequence[Message]) -> None:
        """Call an untitled session by its first question."""
        title = next((first_line(m.text, TITLE_LENGTH) for m in messages if m.role == "user"), "")
        if not title:
            return
        if header.payload is None:
            known = tx.find_uid(header.uid)
            header.payload = known.payload if known else None
        data = self._data(header)
        if not data.get("title"):
            self._set_data(header, {**data, "title": title, "title_source": "auto"})


def check_sha256(key: str) -> str:
    """Return the name of an attachment.

    Raises:
        InvalidRecord: it is not 64 lower-case hexadecimal digits.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", key):
        raise InvalidRecord("an attachment is named by its SHA-256 in hexadecimal digits")
    return key


def _own_copies(messages: Message | Mapping[str, Any] | Iterable[Any]) -> list[Message]:
    if isinstance(messages, Message):
        return [Message.from_record(messages.record)]
    if isinstance(messages, Mapping):
        return [Message.from_record(messages)]
    own = []
    for number, message in enumerate(messages):
        if isinstance(message, Message):
            own.append(Message.from_record(message.record))
        elif isinstance(message, Mapping):
            own.append(Message.from_record(message))
        else:
            raise InvalidRecord(f"message {number} is neither a message nor a message record")
    return own


def complete_messages(messages: Sequence[Message], now: str, position: int) -> None:
    """Fill in ids, times, turns and positions of messages that are about to be stored."""
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


def place_messages(messages: Sequence[Message], now: str, position: int) -> None:
    """Like `complete_messages`, but messages that all have positions from `position` up keep them.

    Raises:
        InvalidRecord: their positions do not ascend.
    """
    given = [message.position for message in messages if message.position is not None]
    complete_messages(messages, now, position)
    if len(given) != len(messages):
        return
    if given[0] < position or any(b <= a for a, b in pairwise(given)):
        raise InvalidRecord("the positions of messages must ascend")
    for message, place in zip(messages, given, strict=True):
        message.position = place
