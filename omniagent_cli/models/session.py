"""A session with its messages, and the summary of a session for listings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, cast

from omniagent_cli.errors import InvalidRecord, NewerVersion
from omniagent_cli.json_format import clone, format_time, parse_time
from omniagent_cli.models.ids import check_session_id, is_generated_id
from omniagent_cli.models.message import Message, expect
from omniagent_cli.models.parts import Content

FORMAT_VERSION = 1
"""The version of the record form; readers refuse a higher one."""

SESSION_FORMAT = "omniagent-session"
"""The type of the first line of a session log or export."""

ASK_PROGRAM = "omniagent ask"
"""The program in the origin of a session that a single question began."""

_ONE_EXCHANGE = 2


def check_version(record: Mapping[str, Any], what: str) -> None:
    """Check the version of a record.

    Raises:
        NewerVersion: the record was written by a newer omniagent.
        InvalidRecord: the version is not a positive integer.
    """
    version = record.get("version", FORMAT_VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidRecord(f"{what} has an invalid format version: {version!r}")
    if version > FORMAT_VERSION:
        raise NewerVersion(
            f"{what} has format version {version}; this omniagent supports up to {FORMAT_VERSION}; update omniagent"
        )


_OBJECTS = ("metadata", "state", "origin", "stamps")

_SESSION_KEYS = frozenset(
    [
        "format",
        "version",
        "id",
        "uid",
        "agent_id",
        "title",
        "model",
        "messages",
        "state",
        "metadata",
        "created_at",
        "updated_at",
        "modified_at",
        "expires_at",
        "ttl_seconds",
        "title_source",
        "revision",
        "stamps",
        "uids",
        "origin",
    ]
)


@dataclass(slots=True)
class Session:
    """A whole session, with its messages, as loaded from a store.

    Changing it changes nothing in the store until `SessionStore.save`.

    Attributes:
        uid: immutable identity beside the visible id; empty until stored.
        updated_at: time of the last activity: a message was added, changed or removed.
        modified_at: time of the last change of any kind.
        ttl_seconds: how long after its last activity it expires; None: never.
        origin: where it began, as far as known: ``cwd``, ``git_branch``, ``program``.
        revision: the revision that `save` compares to detect concurrent changes.
        stamps: times of the last change of facts, which decide when two versions are merged; see `stores.facts`.
        unknown: record keys unknown to this version, kept when the session is written.
    """

    id: str
    uid: str = ""
    agent_id: str = ""
    title: str = ""
    title_source: str = ""
    model: str = ""
    messages: list[Message] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    modified_at: datetime | None = None
    expires_at: datetime | None = None
    ttl_seconds: float | None = None
    revision: int = 0
    stamps: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, Any] = field(default_factory=dict)

    def add_message(self, role: str, content: Content = "", **keys: Any) -> Message:
        """Append a message to this object and return it."""
        message = Message(role, content, **keys)
        self.messages.append(message)
        return message

    def get_messages(self) -> list[Message]:
        """Return copies of the messages, oldest first."""
        return [message.copy() for message in self.messages]

    def set_metadata(self, key: str, value: Any) -> None:
        """Set one metadata value of this object."""
        self.metadata[key] = value

    def get_metadata(self, key: str, default: Any = None) -> Any:
        """Return one metadata value, or the default when the key is missing."""
        return self.metadata.get(key, default)

    def trim(self, keep: int) -> int:
        """Keep the last `keep` messages of this object and return the number removed.

        Raises:
            InvalidRecord: `keep` is negative.
        """
        expect(keep >= 0, f"cannot keep {keep} messages; must be 0 or more")
        gone = max(0, len(self.messages) - keep)
        del self.messages[:gone]
        return gone

    def clear(self) -> int:
        """Remove all messages of this object and return their number."""
        return self.trim(0)

    def header_record(self) -> dict[str, Any]:
        """Return the record without its messages and empty values."""
        record: dict[str, Any] = {
            "format": SESSION_FORMAT,
            "version": FORMAT_VERSION,
            "id": self.id,
        }
        for key in ("uid", "agent_id", "title", "title_source", "model"):
            if value := getattr(self, key):
                record[key] = value
        for key in ("created_at", "updated_at", "modified_at", "expires_at"):
            if moment := getattr(self, key):
                record[key] = format_time(moment)
        record["ttl_seconds"] = self.ttl_seconds
        for key in _OBJECTS:
            if value := getattr(self, key):
                record[key] = clone(value)
        return {**clone(self.unknown), **record}

    def to_record(self) -> dict[str, Any]:
        """Return the whole session as one JSON object; ``messages`` is always present."""
        return {
            **self.header_record(),
            "messages": [message.to_record() for message in self.messages],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Build a session from untrusted JSON data.

        Raises:
            InvalidRecord: it does not have the shape of a session.
            NewerVersion: it was written by a newer omniagent.
        """
        expect(isinstance(record, Mapping), "a session record must be an object")
        check_version(record, "this session record")
        session = cls(id=check_session_id(cast("str", record.get("id"))))
        for key in ("uid", "agent_id", "title", "title_source", "model"):
            value = record.get(key) or ""
            expect(isinstance(value, str), f"a session's {key} must be text")
            setattr(session, key, value)
        for key in ("created_at", "updated_at", "modified_at", "expires_at"):
            if record.get(key) is not None:
                setattr(session, key, parse_time(record[key]))
        ttl = record.get("ttl_seconds")
        expect(
            ttl is None
            or (isinstance(ttl, int | float) and not isinstance(ttl, bool) and ttl >= 0),
            "a session's ttl_seconds must be a number of seconds or null",
        )
        session.ttl_seconds = ttl or None
        for key in _OBJECTS:
            value = record.get(key)
            value = {} if value is None else value
            expect(isinstance(value, dict), f"a session's {key} must be an object")
            setattr(session, key, clone(value))
        for stamp in session.stamps.values():
            parse_time(stamp)
        session.messages = messages_from(record.get("messages") or [])
        session.unknown = {k: clone(v) for k, v in record.items() if k not in _SESSION_KEYS}
        return session


def messages_from(records: Iterable[Mapping[str, Any]]) -> list[Message]:
    """Return messages from a list of untrusted records.

    Raises:
        InvalidRecord: a record does not have the shape of a message; the error names it.
    """
    expect(isinstance(records, list), "a session's messages must be a list")
    messages = []
    for number, record in enumerate(records):
        expect(isinstance(record, dict), f"message {number} must be an object")
        try:
            messages.append(Message.from_record(record))
        except InvalidRecord as error:
            raise InvalidRecord(f"message {number}: {error}") from error
    return messages


@dataclass(slots=True)
class SessionSummary:
    """A summary of a session for listings, without its messages.

    Attributes:
        updated_at: time of the last activity: a message was added, changed or removed.
        modified_at: time of the last change of any kind.
        preview: the first line of the last message.
    """

    id: str
    uid: str
    agent_id: str
    title: str
    model: str
    message_count: int
    created_at: datetime
    updated_at: datetime
    modified_at: datetime
    expires_at: datetime | None
    preview: str
    metadata: dict[str, Any]
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def pinned(self) -> bool:
        """True if the session is listed first and skipped by bulk operations."""
        return self.metadata.get("pinned") is True

    @property
    def archived(self) -> bool:
        """True if the session is hidden from lists by default."""
        return self.metadata.get("archived") is True

    @property
    def tags(self) -> list[str]:
        """Its tags, sorted."""
        tags = self.metadata.get("tags")
        return sorted(t for t in tags if isinstance(t, str)) if isinstance(tags, list) else []

    @property
    def is_one_shot(self) -> bool:
        """True for a question of ``omniagent ask`` that was neither continued nor named, tagged or pinned."""
        return (
            self.origin.get("program") == ASK_PROGRAM
            and self.message_count <= _ONE_EXCHANGE
            and is_generated_id(self.id)
            and not (self.tags or self.pinned)
        )

    def to_record(self) -> dict[str, Any]:
        """Return the JSON form that listings print."""
        return {
            "id": self.id,
            "title": self.title,
            "agent_id": self.agent_id,
            "model": self.model,
            "message_count": self.message_count,
            "created_at": format_time(self.created_at),
            "updated_at": format_time(self.updated_at),
            "modified_at": format_time(self.modified_at),
            "expires_at": format_time(self.expires_at) if self.expires_at else None,
            "preview": self.preview,
            "metadata": self.metadata,
            **({"origin": self.origin} if self.origin else {}),
        }
