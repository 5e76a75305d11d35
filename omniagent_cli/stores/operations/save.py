"""The save operation: replace a whole session by an object that was loaded, unless it was changed since."""

from __future__ import annotations

from dataclasses import fields

from omniagent_cli.errors import SessionConflict
from omniagent_cli.json_format import dump, format_time
from omniagent_cli.models import Message, Session, check_session_id
from omniagent_cli.stores.backend import HeaderRow, contiguous_ranges
from omniagent_cli.stores.facts import STAMPS, UIDS, facts_of, later, restamp
from omniagent_cli.stores.removal import replace_messages
from omniagent_cli.stores.rows import session_data
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork, complete_messages, ensure_alive


class SaveOperations(StoreBase):
    """The operation that replaces a whole session."""

    def save(self, session: Session) -> Session:
        """Replace a whole session by this object, update the object, and return it.

        A session without uid is new. Messages that were removed or changed go to the trash.

        Raises:
            SessionConflict: the session was changed, deleted or created since it was loaded.
        """
        check_session_id(session.id)
        wanted = [
            Message.from_record(message.record, message.position) for message in session.messages
        ]
        dump([session.metadata, session.state, session.origin])
        texts = self.index_texts(wanted)

        def work(unit: UnitOfWork) -> Session:
            now = unit.now()
            header = _header_to_save(unit, session)
            stored = unit.data(header)
            facts = facts_of(header, stored)
            messages = [message.copy() for message in wanted]
            before = header.message_count
            added = _place_messages(unit, header, messages)
            header.agent_id, header.model = session.agent_id, session.model
            if session.ttl_seconds is not None or session.uid:
                header.ttl_seconds = session.ttl_seconds
            kept = {key: stored[key] for key in (STAMPS, UIDS) if key in stored}
            data = session_data(session, session.title, session.title_source) | kept
            if session.uid:
                restamp(facts, header, data, format_time(now))
            unit.set_data(header, data)
            unit.touch(header, now, activity=bool(added) or len(messages) != before)
            unit.tx.put(header)
            unit.insert(header.uid, added, texts[len(texts) - len(added) :])
            unit.announce(header, added)
            return unit.to_session(header, messages)

        stored = self.write_unit(work)
        for field in fields(Session):
            setattr(session, field.name, getattr(stored, field.name))
        return session


def _header_to_save(unit: UnitOfWork, session: Session) -> HeaderRow:
    conflict = SessionConflict(
        f"the session {session.id!r} was changed by another program; load it again and repeat the change",
        session_id=session.id,
    )
    if not session.uid:
        target = unit.open_for_writing(session.id)
        if not target.created:
            raise conflict
        if session.created_at is not None:
            target.header.created_at = format_time(session.created_at)
        return target.header
    header = unit.tx.find_uid(session.uid)
    if (
        header is None
        or header.hidden
        or header.id != session.id
        or header.revision != session.revision
    ):
        raise conflict
    ensure_alive(header, unit.now())
    return header


def _place_messages(unit: UnitOfWork, header: HeaderRow, messages: list[Message]) -> list[Message]:
    """Keep unchanged messages, move removed ones to the trash, and return the others with new positions."""
    stored = {m.position: m for m in unit.messages(header)} if header.message_count else {}
    kept: set[int] = set()
    added: list[Message] = []
    by_id = {message.id: message for message in stored.values()}
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
            _mark_revised(message, by_id.get(message.id), format_time(unit.now()))
            added.append(message)
    removed = sorted(p for p in stored if p is not None and p not in kept)
    if removed:
        replace_messages(unit, header, contiguous_ranges(removed), len(removed), added)
    complete_messages(added, format_time(unit.now()), header.next_position)
    header.message_count = len(messages)
    header.next_position += len(added)
    unit.set_preview(header, messages[-1] if messages else None)
    return added


def _mark_revised(message: Message, stored: Message | None, now: str) -> None:
    """Set the stamp of a message whose stored version differs."""
    if stored is not None and stored != message:
        message.record["revised_at"] = later(now, str(stored.record.get("revised_at", "")))
