"""What every operation on a store stands on: units of work, payloads, and which session an id means."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from omniagent_cli.durations import Clock, ttl_seconds, utc_now
from omniagent_cli.errors import (
    InvalidRecord,
    SessionExpired,
    SessionNotFound,
    StoreClosed,
    StoreReadOnly,
)
from omniagent_cli.json_format import format_time, load, parse_time
from omniagent_cli.models import Message, Session, SessionSummary, check_session_id, content_text
from omniagent_cli.stores.backend import HeaderRow, MessageRow, Transaction
from omniagent_cli.stores.encryption.access import Sealing
from omniagent_cli.stores.events import Event, EventBus, Handler
from omniagent_cli.stores.registry import BACKENDS, Capabilities
from omniagent_cli.text.sanitize import first_line, is_storable
from omniagent_cli.text.tokenize import index_text

if TYPE_CHECKING:
    from omniagent_cli.stores.maintenance.check import Problem

DEFAULT_SESSION_TTL = timedelta(days=7)
"""How long after its last activity a session expires when a program names nothing else."""

DEFAULT_TRASH_TTL = timedelta(days=30)
"""How long what was removed can be restored."""

PREVIEW_LENGTH = 120
TITLE_LENGTH = 60

T = TypeVar("T")
Work = Callable[[Transaction, list[Event]], T]

_PLAIN = b"{"
_COLUMNS = frozenset({"id", "role", "created_at", "turn_id", "status"})


class StoreCore(Sealing):
    """Owns the rules' common ground; `SessionStore` adds the operations, backends the hooks."""

    backend: ClassVar[str]
    """Name of the technology, such as ``sqlite``."""

    def __init__(
        self,
        *,
        ttl: timedelta | float | str | None = DEFAULT_SESSION_TTL,
        trash_ttl: timedelta | float | str | None = DEFAULT_TRASH_TTL,
        clock: Clock = utc_now,
    ) -> None:
        self._ttl_seconds = ttl_seconds(ttl)
        self._trash_seconds = ttl_seconds(trash_ttl)
        self._clock = clock
        super().__init__()
        self._events = EventBus()
        self._closed = False

    # Hooks: what a backend must do.

    @abstractmethod
    def _close(self) -> None:
        """Let go of files and connections."""

    def _scrub(self) -> None:  # most backends have nothing to do
        """Make what was removed unreadable in the backend's own files."""

    def _wipe(self) -> None:
        """Make all that was ever replaced or removed unreadable, in side files too: the store was just encrypted.

        Raises:
            StoreError: it cannot be done now, or a file that nobody can read may hold plain text; says which.
        """
        self._scrub()

    def copies(self) -> list[str]:
        """Return the known copies of the store that are still there, made by `backup`, a repair or a migration.

        What was purged since they were made is still in them.
        """
        known = self._read(lambda tx: tx.meta("backups")) or b""
        return [path for path in map(os.fsdecode, known.splitlines()) if os.path.exists(path)]  # noqa: PTH110  # pathlib is not imported here

    def _note_copy(self, path: str) -> None:
        """Remember a copy; a store that cannot be written to forgets it."""
        line = os.fsencode(os.path.realpath(path))

        def work(tx: Transaction) -> None:
            known = tx.meta("backups") or b""
            if line not in known.split(b"\n"):
                tx.put_meta("backups", known + line + b"\n")

        with suppress(StoreReadOnly):
            self._run(work, write=True)  # it is no content: no key is needed

    def _stale_copies(self) -> list[str]:
        """Return the copies of the store made by `backup` that are not encrypted with the key it has now."""
        return []

    def _check_backend(self, *, repair: bool) -> list[Problem]:
        """Look for damage that only this backend can have, before all sessions are looked through.

        With `repair` it is mended: what is taken out of its place goes to the trash, a side file or a session
        of its own, never away, and the `Problem` says ``repaired``. Damage that stops the store's reading of
        sessions belongs here.
        """
        return []

    def _keep_copy(self) -> str | None:
        """Copy the whole store before a repair and return where to; None: nothing outlives this process."""
        return None

    @property
    def capabilities(self) -> Capabilities:
        """Return the guarantees of this store; a backend of another package overrides it."""
        row = BACKENDS.get(self.backend)
        known = Capabilities() if row is None else row.capabilities
        return known.without_index() if self._secret else known

    # Lifecycle.

    @property
    def ttl(self) -> timedelta | None:
        """The time to live that new sessions get; None: never."""
        return None if self._ttl_seconds is None else timedelta(seconds=self._ttl_seconds)

    def close(self) -> None:
        """Close the store; afterwards every operation raises `StoreClosed`. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def on(self, event: str, handler: Handler) -> Callable[[], None]:
        """Call `handler(event)` after each event of that name in this object; returns a function that stops it."""
        return self._events.on(event, handler)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"the store {self.url} was closed; open it again with open_store()")

    def _read(self, work: Callable[[Transaction], T]) -> T:
        self._check_open()
        return self._with_key(lambda: self._run(self._reading(work), write=False))

    def _write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run a unit of work and announce its events once they are stored."""
        self._check_open()
        events: list[Event] = []

        def attempt(tx: Transaction) -> T:
            events.clear()
            return work(self._writable(tx), events)

        result = self._with_key(lambda: self._run(attempt, write=True, durable=durable))
        for event in events:
            self._events.emit(event)
        return result

    # Records.

    def _data(self, header: HeaderRow) -> dict[str, Any]:
        """Return title, metadata, state and unknown keys of a header that was read with its payload."""
        if header.payload is None:
            return {}
        data = self._unseal("header", header, (header.uid, header.id), header.payload)
        if not isinstance(data, dict):
            raise self._damaged(header, "its header is not an object")
        return data

    def _set_data(self, header: HeaderRow, data: dict[str, Any]) -> None:
        metadata = data.get("metadata") or {}
        header.pinned = metadata.get("pinned") is True
        header.archived = metadata.get("archived") is True
        kept = {
            key: value
            for key, value in data.items()
            if value or key not in ("title", "metadata", "state")
        }
        header.payload = self._seal("header", (header.uid, header.id), kept)

    def _preview(self, header: HeaderRow) -> str:
        if not header.preview:
            return ""
        return str(self._unseal("preview", header, (header.uid,), header.preview))

    def _set_preview(self, header: HeaderRow, message: Message | None) -> None:
        text = ""
        if message is not None:
            text = first_line(message.text, PREVIEW_LENGTH)
            if not text and message.tool_calls:
                text = f"→ {message.tool_calls[0]['function']['name']}"
        header.preview = self._seal("preview", (header.uid,), text) if text else b""

    def _to_row(self, uid: str, message: Message) -> MessageRow:
        record, position = message.record, message.position
        assert position is not None  # noqa: S101  # the rules number messages before they are stored
        body = {key: value for key, value in record.items() if key not in _COLUMNS}
        status = record.get("status")
        return MessageRow(
            position,
            record["id"],
            record.get("turn_id"),
            record["role"],
            record["created_at"],
            None if status == "complete" else status,
            self._seal("message", (uid, str(position), record["id"]), body),
        )

    def _to_messages(self, header: HeaderRow, rows: Iterable[MessageRow]) -> list[Message]:
        plain = self._codec is None
        messages = []
        for position, message_id, turn_id, role, created_at, status, payload in rows:
            data = payload
            if not plain or payload[:1] != _PLAIN:
                data = self._opened(
                    "message", header, (header.uid, str(position), message_id), payload
                )
            try:
                record: dict[str, Any] = {"id": message_id, "role": role, **load(data)}
            except (ValueError, TypeError) as error:
                raise self._damaged(
                    header, f"the message at position {position} cannot be read"
                ) from error
            record["created_at"] = created_at
            if turn_id is not None:
                record["turn_id"] = turn_id
            if status is not None:
                record["status"] = status
            messages.append(Message.trusted(record, position))
        return messages

    def _index_text(self, message: Message) -> str | None:
        """Return what a backend may index of a message: nothing when the store keeps content secret."""
        return None if self._secret else index_text(content_text(message.content))

    def _to_session(self, header: HeaderRow, messages: list[Message]) -> Session:
        data = self._data(header)
        unknown = {
            k: v
            for k, v in data.items()
            if k not in ("title", "title_source", "metadata", "state", "trash")
        }
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
            created_at=parse_time(header.created_at),
            updated_at=parse_time(header.updated_at),
            expires_at=parse_time(header.expires_at) if header.expires_at else None,
            ttl_seconds=header.ttl_seconds,
            revision=header.revision,
            unknown=unknown,
        )

    def _to_summary(self, header: HeaderRow) -> SessionSummary:
        closed = self._is_closed_book(header.payload)
        data = {} if closed else self._data(header)
        return SessionSummary(
            id=header.id,
            uid=header.uid,
            agent_id=header.agent_id,
            title=data.get("title", ""),
            model=header.model,
            message_count=header.message_count,
            created_at=parse_time(header.created_at),
            updated_at=parse_time(header.updated_at),
            expires_at=parse_time(header.expires_at) if header.expires_at else None,
            preview="" if closed else self._preview(header),
            metadata=data.get("metadata", {}),
        )

    # Which session an id means.

    def _find(self, tx: Transaction, session_id: str, *, payload: bool = True) -> HeaderRow:
        """Return the header of a session that exists now.

        Raises:
            SessionExpired: it was there and its time has passed.
            SessionNotFound: it is not there.
        """
        header = tx.find(check_session_id(session_id), payload=payload)
        if header is None:
            raise SessionNotFound(f"there is no session {session_id!r}", session_id=session_id)
        self._refuse_expired(header, tx.now())
        return header

    def _refuse_expired(self, header: HeaderRow, now: datetime) -> None:
        if is_expired(header, now):
            raise SessionExpired(
                f"the session {header.id!r} expired at {header.expires_at}; writing to it starts afresh",
                session_id=header.id,
            )

    def _touch_header(self, header: HeaderRow, now: datetime, *, updated: bool = True) -> None:
        """Mark a change: revision, activity, and the session's own time to live start again."""
        for name in (header.agent_id, header.model):
            if name and not is_storable(name):
                raise InvalidRecord(f"{name!r} cannot name an agent or a model")
        header.revision += 1
        moment = format_time(now)
        if header.updated_at > moment:
            # A clock that was set back must not make it expire as soon as it is right again.
            now = parse_time(header.updated_at)
        elif updated:
            header.updated_at = moment
        header.expires_at = _later(now, header.ttl_seconds)

    def _fresh(self, session_id: str, now: datetime) -> HeaderRow:
        header = HeaderRow.fresh(session_id, format_time(now))
        header.ttl_seconds = self._ttl_seconds
        self._set_data(header, {})
        return header


def _later(now: datetime, seconds: float | None) -> str | None:
    """Return when a time to live that begins now ends; None: never, as far as dates go."""
    try:
        return None if seconds is None else format_time(now + timedelta(seconds=seconds))
    except OverflowError:
        return None


def is_expired(header: HeaderRow, now: datetime) -> bool:
    """Tell whether a session's time to live has passed."""
    return header.expires_at is not None and header.expires_at <= format_time(now)
