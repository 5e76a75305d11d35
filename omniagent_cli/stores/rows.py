"""Conversion between sessions and messages and their stored rows, with payloads sealed by the store's codec."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from omniagent_cli.errors import CorruptSession, EncryptedStore
from omniagent_cli.json_format import dump, dump_text, load, parse_time
from omniagent_cli.models import Message, Session, SessionSummary
from omniagent_cli.stores.backend import HeaderRow, MessageRow
from omniagent_cli.stores.encryption.access import EncryptionAccess, damaged
from omniagent_cli.stores.encryption.codec import PayloadCodec
from omniagent_cli.text.sanitize import first_line

PREVIEW_LENGTH = 120
TITLE_LENGTH = 60

_PLAIN = b"{"
_COLUMNS = frozenset({"id", "role", "created_at", "turn_id", "status"})
_TEXT_KEYS = _COLUMNS | {"content"}
_TEXT = '{"content":"'
_TEXT_AT = len(_TEXT)
_NAMED = frozenset(
    {"title", "title_source", "metadata", "state", "origin", "trash", "stamps", "uids"}
)


class RowCodec:
    """Reader and writer of rows."""

    __slots__ = ("access",)

    def __init__(self, access: EncryptionAccess) -> None:
        self.access = access

    def data(self, header: HeaderRow) -> dict[str, Any]:
        """Return title, metadata, state and unknown keys of a header that was read with its payload.

        Raises:
            CorruptSession: they are damaged; see also `EncryptionAccess.decode`.
        """
        if header.payload is None:
            return {}
        data = self.access.unseal("header", header, (header.uid, header.id), header.payload)
        if not isinstance(data, dict):
            raise damaged(header, "its header is not an object")
        return data

    def set_data(self, header: HeaderRow, data: dict[str, Any]) -> None:
        """Write title, metadata, state and unknown keys into a header, and the flags that mirror metadata."""
        set_flags(header, data)
        kept = {
            key: value
            for key, value in data.items()
            if value or key not in ("title", "metadata", "state", "origin")
        }
        header.payload = self.access.seal("header", (header.uid, header.id), kept)

    def preview(self, header: HeaderRow) -> str:
        """Return the first line of the last message."""
        if not header.preview:
            return ""
        return str(self.access.unseal("preview", header, (header.uid,), header.preview))

    def set_preview(self, header: HeaderRow, message: Message | None) -> None:
        """Set the preview to the first line of a message, or its first tool call; None clears it."""
        self.set_preview_text(header, "" if message is None else _preview_text(message))

    def set_preview_text(self, header: HeaderRow, text: str) -> None:
        """Set the preview to a text."""
        header.preview = dump_text(text) if text else b""
        if text and self.access.active is not None:
            header.preview = self.access.active.encode("preview", (header.uid,), header.preview)

    def to_row(self, uid: str, message: Message) -> MessageRow:
        """Return the row of a message that has an id, a time and a position."""
        record, position = message.record, message.position
        assert position is not None  # noqa: S101  # messages are numbered before they are stored
        content = record.get("content")
        if type(content) is str and record.keys() <= _TEXT_KEYS:  # most messages
            payload = b'{"content":%b}' % dump_text(content)
        else:
            payload = dump({key: value for key, value in record.items() if key not in _COLUMNS})
        if self.access.active is not None:
            binding = (uid, str(position), record["id"])
            payload = self.access.active.encode("message", binding, payload)
        status = record.get("status")
        return MessageRow(
            position,
            record["id"],
            record.get("turn_id"),
            record["role"],
            record["created_at"],
            None if status == "complete" else status,
            payload,
        )

    def to_messages(self, header: HeaderRow, rows: Iterable[tuple[Any, ...]]) -> list[Message]:
        """Return the messages of rows, which may be bare tuples of the columns.

        Raises:
            CorruptSession: one is damaged; see also `EncryptionAccess.decode`.
        """
        access = self.access
        plain = access.active is None
        messages: list[Message] = []
        add, message_of = messages.append, Message.trusted
        for position, message_id, turn_id, role, created_at, status, payload in rows:
            data = payload
            if not plain or payload[:1] != _PLAIN:
                binding = (header.uid, str(position), message_id)
                data = access.decode("message", header, binding, payload)
            try:
                record: dict[str, Any]
                text = data.decode()
                if (  # a text without escapes, which needs no parser
                    "\\" not in text
                    and text.startswith(_TEXT)
                    and text.find('"', _TEXT_AT) == len(text) - 2
                    and text[-1] == "}"
                ):
                    record = {"id": message_id, "role": role, "content": text[_TEXT_AT:-2]}
                else:
                    record = {"id": message_id, "role": role, **load(data)}
            except (ValueError, TypeError) as error:
                what = f"the message at position {position} cannot be read"
                raise damaged(header, what) from error
            record["created_at"] = created_at
            if turn_id is not None:
                record["turn_id"] = turn_id
            if status is not None:
                record["status"] = status
            add(message_of(record, position))
        return messages

    def to_session(self, header: HeaderRow, messages: list[Message]) -> Session:
        """Return the session of a header."""
        data, updated = self.data(header), parse_time(header.updated_at)
        return Session(
            id=header.id,
            uid=header.uid,
            agent_id=header.agent_id,
            title=data.get("title", ""),
            title_source=data.get("title_source", ""),
            model=header.model,
            messages=messages,
            state=data.get("state", {}),
            metadata=data.get("metadata", {}),
            origin=data.get("origin", {}),
            created_at=parse_time(header.created_at),
            updated_at=updated,
            modified_at=parse_time(header.modified_at) if header.modified_at else updated,
            expires_at=parse_time(header.expires_at) if header.expires_at else None,
            ttl_seconds=header.ttl_seconds,
            revision=header.revision,
            stamps=data.get("stamps", {}),
            unknown={key: value for key, value in data.items() if key not in _NAMED},
        )

    def to_summary(self, header: HeaderRow) -> SessionSummary:
        """Return the summary of a header, without title, preview and metadata if there is no key for them."""
        locked = self.access.is_locked(header.payload)
        data = {} if locked else self.data(header)
        updated = parse_time(header.updated_at)
        return SessionSummary(
            id=header.id,
            uid=header.uid,
            agent_id=header.agent_id,
            title=data.get("title", ""),
            model=header.model,
            message_count=header.message_count,
            created_at=parse_time(header.created_at),
            updated_at=updated,
            modified_at=parse_time(header.modified_at) if header.modified_at else updated,
            expires_at=parse_time(header.expires_at) if header.expires_at else None,
            preview="" if locked else self.preview(header),
            metadata=data.get("metadata", {}),
            origin=data.get("origin", {}),
        )


def preview_of(row: MessageRow) -> bytes:
    """Return the preview of a session whose last message is this row; empty if the row cannot be read without a key."""
    try:
        record = load(PayloadCodec().decode("message", (), row.payload))
        text = _preview_text(Message.trusted({"role": row.role, **record}, row.position))
    except (CorruptSession, EncryptedStore, ValueError, TypeError, KeyError, AttributeError):
        return b""
    return dump(text) if text else b""


def _preview_text(message: Message) -> str:
    text = first_line(message.text, PREVIEW_LENGTH)
    if not text and message.tool_calls:
        text = f"→ {message.tool_calls[0]['function']['name']}"
    return text


def set_flags(header: HeaderRow, data: dict[str, Any]) -> None:
    """Set the columns that mirror metadata, so that listings can filter by them."""
    metadata = data.get("metadata") or {}
    header.pinned = metadata.get("pinned") is True
    header.archived = metadata.get("archived") is True


def session_data(session: Session, title: str, title_source: str) -> dict[str, Any]:
    """Return the facts of a session that are not columns, as the payload of its header holds them."""
    data = {**session.unknown, "title": title, "title_source": title_source}
    data |= {"metadata": session.metadata, "state": session.state}
    return data | ({"origin": session.origin} if session.origin else {})
