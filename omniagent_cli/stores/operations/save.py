"""Saving: a whole session replaced by an object that was loaded, unless someone else changed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from omniagent_cli.errors import SessionConflict
from omniagent_cli.json_format import dump, format_time
from omniagent_cli.models import Message, Session, check_session_id
from omniagent_cli.stores.backend import HeaderRow, Transaction
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.operations.append import Writing, complete_messages


class Saving(Writing):
    """The operation of a store that replaces a whole session."""

    def save(self, session: Session) -> Session:
        """Replace a whole session by this object, bring the object up to date, and return it.

        A session without uid is new. Messages that went or changed are put in the trash first.

        Raises:
            SessionConflict: someone else changed, deleted or made the session since it was loaded.
        """
        check_session_id(session.id)
        wanted = [
            Message.from_record(message.record, message.position) for message in session.messages
        ]
        dump([session.metadata, session.state])

        def work(tx: Transaction, events: list[Event]) -> Session:
            now = tx.now()
            header = self._header_to_save(tx, session, events)
            messages = [message.copy() for message in wanted]
            added = self._place_saved(tx, header, messages, now)
            header.agent_id, header.model = session.agent_id, session.model
            if session.ttl_seconds is not None or session.uid:
                header.ttl_seconds = session.ttl_seconds
            data = {**session.unknown, "title": session.title, "title_source": session.title_source}
            self._set_data(header, {**data, "metadata": session.metadata, "state": session.state})
            self._touch_header(header, now)
            tx.put(header)
            rows = [self._to_row(header.uid, message) for message in added]
            tx.insert(header.uid, rows, [self._index_text(message) for message in added])
            self._announce(header, added, events)
            return self._to_session(header, messages)

        stored = self._write(work)
        for field in fields(Session):
            setattr(session, field.name, getattr(stored, field.name))
        return session

    def _header_to_save(self, tx: Transaction, session: Session, events: list[Event]) -> HeaderRow:
        conflict = SessionConflict(
            f"the session {session.id!r} was changed by someone else; load it again and repeat the change",
            session_id=session.id,
        )
        if not session.uid:
            target = self._target(tx, session.id, None, events)
            if not target.created:
                raise conflict
            if session.created_at is not None:
                target.header.created_at = format_time(session.created_at)
            return target.header
        header = tx.find_uid(session.uid)
        if (
            header is None
            or header.hidden
            or header.id != session.id
            or header.revision != session.revision
        ):
            raise conflict
        self._refuse_expired(header, tx.now())
        return header

    def _place_saved(
        self, tx: Transaction, header: HeaderRow, messages: list[Message], now: datetime
    ) -> list[Message]:
        """Keep the messages that are still the same, put what went in the trash, and return the others, placed."""
        stored = (
            {m.position: m for m in self._to_messages(header, tx.rows(header.uid))}
            if header.message_count
            else {}
        )
        kept: set[int] = set()
        added: list[Message] = []
        last = -1
        for message in messages:
            position = message.position
            if (
                not added
                and position is not None
                and position > last
                and stored.get(position) == message
            ):
                kept.add(position)
                last = position
            else:
                added.append(message)
        gone = [position for position in stored if position is not None and position not in kept]
        if gone:
            self._discard(tx, header, sorted(gone), added, now)
        complete_messages(added, format_time(now), header.next_position)
        header.message_count = len(messages)
        header.next_position += len(added)
        self._set_preview(header, messages[-1] if messages else None)
        return added

    def _discard(
        self,
        tx: Transaction,
        header: HeaderRow,
        positions: Sequence[int],
        added: Sequence[Message],
        now: datetime,
    ) -> None:
        """Put messages in the trash; defined by `stores.trash`."""
        raise AssertionError  # overridden in trash.py
