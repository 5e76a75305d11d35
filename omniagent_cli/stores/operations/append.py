"""Append operations: add messages, checkpoint a growing answer, and set a message's status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from omniagent_cli.errors import InvalidRecord, SessionNotFound
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message, Session, check_session_id, check_sha256
from omniagent_cli.stores.backend import HeaderRow, RowRange, clamp
from omniagent_cli.stores.facts import later
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork, WriteTarget


@dataclass(slots=True)
class WriteResult:
    """The result of an append.

    Attributes:
        messages: copies of the stored messages, with ids, times and positions.
        created: the session is new.
        expired: the session had expired; its old messages were discarded.
        recovered: the session named by uid no longer existed; this is a new one that has the messages.
    """

    session_id: str
    uid: str
    messages: list[Message]
    created: bool = False
    expired: bool = False
    recovered: bool = False


class AppendOperations(StoreBase):
    """Operations that add and change messages."""

    def get_or_create(self, session_id: str, *, agent_id: str = "", model: str = "") -> Session:
        """Return a session; create an empty one if it does not exist or has expired."""

        def read(unit: UnitOfWork) -> Session:
            header = unit.find(session_id)
            return unit.to_session(header, unit.messages(header))

        def work(unit: UnitOfWork) -> Session:
            target = unit.open_for_writing(session_id)
            if not target.created:  # another process created it just now
                return read(unit)
            header = target.header
            header.agent_id, header.model = agent_id, model
            unit.touch(header, unit.now(), activity=True)
            unit.tx.put(header)
            return unit.to_session(header, [])

        try:
            return self.read_unit(read)
        except SessionNotFound:
            return self.write_unit(work)

    def append(
        self, session_id: str, messages: Message | Mapping[str, Any] | Iterable[Any]
    ) -> list[Message]:
        """Append messages, all or none, in order; create the session if it does not exist.

        Args:
            session_id: the session.
            messages: one or many `Message` objects or message records. Missing ids and times are filled in,
                and a user message without a turn starts one.

        Returns:
            Copies of the stored messages, with positions.

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
        origin: Mapping[str, Any] | None = None,
        model: str | None = None,
        attachments: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> WriteResult:
        """Append messages and report which session they were stored in.

        Args:
            session_id: the session.
            messages: as for `append`.
            uid: the session a running turn belongs to. If it was renamed, the messages follow it; if it was deleted
                or has expired, they are stored in a new session "recovered from ...".
            agent_id: the agent of a new session.
            origin: where a new session begins: ``cwd``, ``git_branch``, ``program``.
            model: the model to pin if the session has none.
            attachments: records that the messages refer to, by SHA-256, see `attachment`; stored in the same step,
                so that no message is ever without them, and once, however often they are used.
        """
        check_session_id(session_id)
        own = _copies(messages)
        if self.host:
            _set_origin(own, self.host)
        records = {check_sha256(key): dict(record) for key, record in (attachments or {}).items()}
        if not own:
            raise InvalidRecord("no messages to append; give at least one")

        texts = self.append_texts(own)

        def work(unit: UnitOfWork) -> WriteResult:
            target = unit.open_for_writing(session_id, uid)
            header = target.header
            if agent_id and target.created:
                header.agent_id = agent_id
            if origin and target.created:
                unit.set_data(header, {**unit.data(header), "origin": dict(origin)})
            if model and not header.model:
                header.model = model
            unit.append(header, own, texts)
            for key, record in records.items():
                _put_attachment(unit, target, key, record)
            return _result(target, own)

        return self.write_unit(work)

    def checkpoint(
        self, session_id: str, message: Message, *, uid: str, final: bool = False
    ) -> WriteResult:
        """Store the growing answer of a running turn.

        The first call appends the message, later ones replace it in place, with status ``interrupted`` until the
        `final` one. It is indexed and announced once, by the final call.

        Args:
            session_id: the session, by its visible id.
            message: the answer so far; a message that was stored before has its position.
            uid: the session the turn belongs to; see `write`.
            final: the answer is complete; its own status is stored.
        """
        own = message.copy()
        if not final:
            own.status = "interrupted"
        texts = self.append_texts([own]) if final else [None]

        def work(unit: UnitOfWork) -> WriteResult:
            target = unit.open_for_writing(session_id, uid)
            if target.recovered or not _is_stored(unit, target.header, own):
                own.position = None
                unit.append(target.header, [own], texts, announce=final)
            else:
                _replace(unit, target.header, own, texts[0], final=final)
            return _result(target, [own.copy()])

        return self.write_unit(work, durable=final)

    def set_message_status(
        self, session_id: str, position: int, status: str, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Set the status of a message and keys of its ``extra`` (None removes one); its content does not change.

        Raises:
            SessionNotFound: the session does not exist.
            InvalidRecord: it has no message at this position, or the status is invalid.
        """

        def work(unit: UnitOfWork) -> None:
            header = unit.find(session_id, payload=False)
            place = clamp(position)
            found = unit.messages(header, RowRange(place, place))
            if not found:
                raise InvalidRecord(f"{session_id!r} has no message at position {position}")
            record = found[0].to_record() | {"status": status}
            facts = {**record.get("extra", {}), **(extra or {})}
            record["extra"] = {
                key: value for key, value in facts.items() if value is not None
            } or None
            record["revised_at"] = later(format_time(unit.now()), str(record.get("revised_at", "")))
            message = Message.from_record(record, position)
            row = unit.to_row(header.uid, message)
            unit.tx.replace(header.uid, row, unit.index_texts([message])[0])
            unit.touch(header, unit.now(), activity=True)
            unit.tx.put(header)

        self.write_unit(work)


def _set_origin(messages: Iterable[Message], host: str) -> None:
    """Record the machine in the messages that begin a turn."""
    for message in messages:
        if message.role == "user":
            message.record.setdefault("origin", {"host": host})


def _result(target: WriteTarget, messages: list[Message]) -> WriteResult:
    return WriteResult(
        target.header.id,
        target.header.uid,
        messages,
        created=target.created,
        expired=target.expired,
        recovered=target.recovered,
    )


def _put_attachment(
    unit: UnitOfWork, target: WriteTarget, key: str, record: dict[str, Any]
) -> None:
    header = target.header
    known = None if target.created else unit.record(header, "attachment", key)
    # An import may have stored anything under this name, so an existing record is kept only if its data is the same.
    if not isinstance(known, dict) or known.get("data") != record.get("data"):
        unit.put_record(header.uid, "attachment", key, record)


def _is_stored(unit: UnitOfWork, header: HeaderRow, message: Message) -> bool:
    """Return True if the message is still stored; its position is updated if a synchronization moved it."""
    position = message.position
    if position is None:
        return False
    rows = unit.tx.rows(header.uid, RowRange(position, position))
    if any(row.id == message.id for row in rows):
        return True
    for row in unit.tx.rows(header.uid, RowRange(first=position + 1)):  # positions only grow
        if row.id == message.id:
            message.position = row.position
            return True
    return False


def _replace(
    unit: UnitOfWork, header: HeaderRow, message: Message, text: str | None, *, final: bool
) -> None:
    now = unit.now()
    row = unit.to_row(header.uid, message)
    unit.tx.replace(header.uid, row, None if unit.access.has_key else text)
    if message.position == header.next_position - 1:
        unit.set_preview(header, message)
    unit.touch(header, now, activity=True)
    unit.tx.put(header)
    if final:
        unit.announce(header, [message])


def _copies(messages: Message | Mapping[str, Any] | Iterable[Any]) -> list[Message]:
    if isinstance(messages, (Message, Mapping)):
        messages = [messages]
    copies = []
    for number, message in enumerate(messages):
        if isinstance(message, Message):
            copies.append(Message.from_record(message.record))
        elif type(message) is dict or isinstance(message, Mapping):
            copies.append(Message.from_record(message))
        else:
            raise InvalidRecord(f"message {number} is neither a message nor a message record")
    return copies
