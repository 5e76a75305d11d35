"""Stage operations: import whole sessions, all or nothing. Staged data need not be on disk before it is published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from omniagent_cli.errors import InvalidRecord, SessionConflict, UsageError
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message, Session, check_session_id
from omniagent_cli.stores.backend import CHUNK, HeaderRow, RowRange
from omniagent_cli.stores.facts import STAMPS
from omniagent_cli.stores.rows import session_data
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork, complete_messages

STAGE_SECONDS = 86_400.0
"""Time to live of a session that is staged and never published."""


class StageOperations(StoreBase):
    """Operations that build a hidden session and then publish it."""

    def stage(self, session: Session) -> str:
        """Create a hidden session that `stage_messages` fills and `publish` shows.

        Returns:
            The uid for the other operations. An unpublished session expires after a day.
        """
        check_session_id(session.id)

        def work(unit: UnitOfWork) -> str:
            now = unit.now()
            header = unit.fresh_hidden(now)
            header.ttl_seconds = STAGE_SECONDS
            unit.touch(header, now, activity=True)
            unit.set_data(header, {})
            unit.tx.put(header)
            return header.uid

        return self.write_unit(work, durable=False)

    def stage_messages(
        self, uid: str, messages: Iterable[Message], *, trusted: bool = False
    ) -> None:
        """Add messages to a staged session; those with positions keep them, which must ascend.

        Args:
            uid: the result of `stage`.
            messages: the messages.
            trusted: the messages were validated, have ids, times and positions, and belong to the store from now on:
                they are stored unchanged, and a missing turn stays missing.
        """
        given = list(messages)
        if not trusted:
            given = [Message.from_record(message.record, message.position) for message in given]
        if not given:
            return
        texts = self.index_texts(given)

        def work(unit: UnitOfWork) -> None:
            header = _staged(unit, uid)
            own = given
            if not trusted:
                own = [message.copy() for message in given]
                _place_messages(own, format_time(unit.now()), header.next_position)
            count_messages(unit, header, own)
            unit.touch(header, unit.now(), activity=True)
            unit.tx.put(header)
            unit.insert(uid, own, texts)

        self.write_unit(work, durable=False)

    def stage_record(self, uid: str, kind: str, key: str, record: Mapping[str, Any]) -> None:
        """Add an attachment or summary to a staged session."""

        def work(unit: UnitOfWork) -> None:
            _staged(unit, uid)
            unit.put_record(uid, kind, key, record)

        self.write_unit(work, durable=False)

    def publish(
        self,
        uid: str | None,
        session: Session,
        *,
        messages: Sequence[Message] = (),
        replace: bool = False,
        auto_title: bool = True,
    ) -> None:
        """Show a staged session under the id, times and facts of `session`, whose messages are ignored.

        Args:
            uid: the result of `stage`; None if all messages are given here.
            session: the new header; missing times become the current time.
            messages: the last messages, trusted as in `stage_messages`.
            replace: move a session that has the id to the trash first.
            auto_title: set the title of an untitled session to its first question.

        Raises:
            SessionExists: the id is taken and `replace` is not set; the staged session stays hidden.
        """
        texts = self.index_texts(messages)

        def work(unit: UnitOfWork) -> None:
            header = unit.fresh("", unit.now()) if uid is None else _staged(unit, uid)
            if messages:
                count_messages(unit, header, messages)
            holder = unit.tx.find(session.id)
            if replace and holder is not None:
                unit.move_to_trash(holder)
            else:
                unit.ensure_unused(session.id)
            title, source = session.title, session.title_source
            if not title and auto_title:
                title = unit.data(header).get("title", "")
                source = "auto" if title else source
            header.id, header.hidden = session.id, False
            header.agent_id, header.model = session.agent_id, session.model
            header.ttl_seconds = session.ttl_seconds
            stamps = {STAMPS: session.stamps} if session.stamps else {}
            now = unit.now()
            unit.touch(header, now, activity=True)
            header.created_at = format_time(session.created_at or now)
            header.updated_at = format_time(session.updated_at or now)
            modified = format_time(session.modified_at) if session.modified_at else ""
            header.modified_at = modified if modified > header.updated_at else None
            unit.set_data(header, session_data(session, title, source) | stamps)
            unit.tx.put(header)
            if messages:
                unit.insert(header.uid, messages, texts)
            unit.emit("session_created", session.id)

        self.write_unit(work)

    def append_staged(self, uid: str, session_id: str, *, revision: int) -> int:
        """Append the messages of a staged session to an existing one, in one step.

        Attachments it lacks are copied; nothing else of the session changes.

        Args:
            uid: the result of `stage`.
            session_id: the session to append to.
            revision: the session's revision as the caller saw it.

        Returns:
            The number of messages appended.

        Raises:
            SessionConflict: the session was changed since.
        """

        def work(unit: UnitOfWork) -> int:
            staged, header = _staged(unit, uid), unit.find(session_id)
            if header.revision != revision:
                raise SessionConflict(
                    f"the session {session_id!r} was changed during the import; import again",
                    session_id=session_id,
                )
            _append_messages(unit, staged, header)
            unit.copy_missing_attachments(staged, header.uid)
            unit.touch(header, unit.now(), activity=True)
            unit.tx.put(header)
            unit.tx.remove(uid)
            return staged.message_count

        return self.write_unit(work)

    def discard_staged(self, uid: str) -> None:
        """Remove a staged session; any other session is left unchanged."""

        def work(unit: UnitOfWork) -> None:
            header = unit.tx.find_uid(uid)
            if header is not None and header.hidden and "trash" not in unit.data(header):
                unit.tx.remove(uid)

        self.write_unit(work)


def count_messages(unit: UnitOfWork, header: HeaderRow, messages: Sequence[Message]) -> None:
    """Update the header of a session that is being imported for more messages."""
    header.message_count += len(messages)
    header.next_position = (messages[-1].position or 0) + 1
    unit.set_preview(header, messages[-1])
    if not unit.data(header).get("title"):
        unit.set_title_from(header, messages)


def _staged(unit: UnitOfWork, uid: str) -> HeaderRow:
    """Return the header of a staged session.

    Raises:
        UsageError: it does not exist or has expired.
    """
    header = unit.tx.find_uid(uid)
    if header is None or not header.hidden or "trash" in unit.data(header):
        raise UsageError("the staged session no longer exists; start the import again")
    if header.is_expired(unit.now()):
        raise UsageError("the staged session is more than a day old; start the import again")
    return header


def _append_messages(unit: UnitOfWork, staged: HeaderRow, header: HeaderRow) -> None:
    first = 0
    while messages := unit.messages(staged, RowRange(first, limit=CHUNK)):
        first = (messages[-1].position or 0) + 1
        for number, message in enumerate(messages):
            message.position = header.next_position + number
        unit.insert(header.uid, messages)
        header.message_count += len(messages)
        header.next_position += len(messages)
        unit.set_preview(header, messages[-1])
        unit.announce(header, messages)


def _place_messages(messages: Sequence[Message], now: str, position: int) -> None:
    """Complete messages like `complete_messages`; if all have positions from `position` up, keep them.

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
