"""What every operation on a store stands on: units of work, payloads, and which session an id means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from omniagent_cli.canonical import dump, format_time, load, parse_time
from omniagent_cli.durations import Clock, ttl_seconds, utc_now
from omniagent_cli.errors import (
    CorruptSession,
    EncryptedStore,
    InvalidRecord,
    SessionExpired,
    SessionNotFound,
    StoreClosed,
)
from omniagent_cli.models import Message, Session, SessionSummary, check_session_id, content_text
from omniagent_cli.stores.codecs import (
    COMPRESSED,
    ENCRYPTED,
    PayloadCodec,
    read_mark,
    unpack,
    write_mark,
)
from omniagent_cli.stores.events import Event, EventBus, Handler
from omniagent_cli.stores.records import HeaderRow, ListQuery, MessageRow, Transaction
from omniagent_cli.text import first_line, index_text, is_storable

if TYPE_CHECKING:
    from omniagent_cli.stores.care import Problem

DEFAULT_SESSION_TTL = timedelta(days=7)
"""How long after its last activity a session expires when a program names nothing else."""

DEFAULT_TRASH_TTL = timedelta(days=30)
"""How long what was removed can be restored."""

PREVIEW_LENGTH = 120
TITLE_LENGTH = 60

T = TypeVar("T")
Work = Callable[[Transaction, list[Event]], T]

_ENCRYPTED, _COMPRESSED, _PLAIN = bytes((ENCRYPTED,)), bytes((COMPRESSED,)), b"{"
_COLUMNS = frozenset({"id", "role", "created_at", "turn_id", "status"})


class StoreCore(ABC):
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
        self._codec: PayloadCodec | None = None
        self._mark: bytes | None = None
        self._events = EventBus()
        self._closed = False

    # Hooks: what a backend must do.

    @abstractmethod
    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        """Call `work` with one atomic unit of work and return its result.

        `work` may be called again when someone else got in between. With `durable`, what was written is
        on disk when this returns; without, it survives the end of the process but perhaps not of the machine.
        """

    @abstractmethod
    def _close(self) -> None:
        """Let go of files and connections."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the store is, without any password."""

    def _scrub(self) -> None:  # noqa: B027  # most backends have nothing to do
        """Make what was removed unreadable in the backend's own files."""

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
        if self._codec is None or not self._codec.secret:
            return self._run(work, write=False)
        return self._run(lambda tx: work(self._attached(tx)), write=False)

    def _write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run a unit of work and announce its events once they are stored."""
        self._check_open()
        events: list[Event] = []

        def attempt(tx: Transaction) -> T:
            events.clear()
            return work(self._writable(tx), events)

        result = self._run(attempt, write=True, durable=durable)
        for event in events:
            self._events.emit(event)
        return result

    # Payloads.

    @property
    def codec(self) -> PayloadCodec:
        """What the store does to payloads; see `stores.codecs`."""
        return PayloadCodec() if self._codec is None else self._codec

    def use_codec(self, codec: PayloadCodec) -> None:
        """Compress or encrypt from now on; see `with_compression` and `with_encryption`."""
        self._codec, self._mark = codec, None

    @property
    def _secret(self) -> bool:
        """Whether content is encrypted, so that nothing readable may be left anywhere."""
        return self._codec is not None and self._codec.secret

    def _attached(self, tx: Transaction) -> Transaction:
        """Make the codec ready for what the store records of its encryption.

        Raises:
            EncryptedStore: the store is not encrypted, and not empty.
        """
        mark = tx.encryption()
        if mark is None and tx.count(ListQuery(hidden=None)):
            raise EncryptedStore(
                f"the store {self.url} is not encrypted; run `omniagent store encrypt` to encrypt what is there"
            )
        if mark is not None and mark != self._mark:
            self.codec.attach(read_mark(mark))
            self._mark = mark
        return tx

    def _writable(self, tx: Transaction) -> Transaction:
        """Keep plain content out of an encrypted store, and encrypted content out of a plain one.

        Raises:
            EncryptedStore: the store and this object do not agree.
        """
        mark = tx.encryption()
        if not self._secret:
            if mark is not None:
                raise EncryptedStore(
                    f"the store {self.url} is encrypted; give its key to write to it"
                )
            return tx
        self._attached(tx)
        if mark is None:
            # An empty store: it remembers a salt made now, so that the next start derives the same key.
            tx.put_meta("encryption", write_mark(self.codec.attach(None)))
        return tx

    def _seal(self, kind: str, binding: tuple[str, ...], value: Any) -> bytes:
        data = dump(value)
        return data if self._codec is None else self._codec.encode(kind, binding, data)

    def _unseal(
        self, kind: str, header: HeaderRow, binding: tuple[str, ...], payload: bytes
    ) -> Any:
        try:
            return load(self._opened(kind, header, binding, payload))
        except ValueError as error:
            raise self._damaged(header, f"a {kind} cannot be read") from error

    def _opened(
        self, kind: str, header: HeaderRow, binding: tuple[str, ...], payload: bytes
    ) -> bytes:
        """Return the canonical JSON of a payload.

        Raises:
            EncryptedStore: it is encrypted and there is no key.
            CorruptSession: it was damaged, moved, or made with another key.
        """
        if self._codec is None:
            if payload[:1] == _ENCRYPTED:
                raise EncryptedStore(
                    f"the session {header.id!r} is encrypted; give the key to read it",
                    session_id=header.id,
                )
            return unpack(payload) if payload[:1] == _COMPRESSED else payload
        try:
            return self._codec.decode(kind, binding, payload)
        except (CorruptSession, EncryptedStore) as error:
            raise type(error)(
                f"the session {header.id!r}: {error}", session_id=header.id
            ) from error

    def _damaged(self, header: HeaderRow, what: str) -> CorruptSession:
        return CorruptSession(
            f"the session {header.id!r} is damaged: {what}; `omniagent store check` says more",
            session_id=header.id,
        )

    def _is_closed_book(self, payload: bytes | None) -> bool:
        """Whether a payload is encrypted and there is no key; ids and counts are listed all the same."""
        return not self._secret and payload is not None and payload[:1] == _ENCRYPTED

    def _data(self, header: HeaderRow) -> dict[str, Any]:
        """Return title, metadata, state and unknown keys of a header that was read with its payload."""
        if not header.payload:
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
            if not is_storable(name):
                raise InvalidRecord(f"{name!r} cannot name an agent or a model")
        header.revision += 1
        if updated:
            header.updated_at = max(header.updated_at, format_time(now))
        header.expires_at = (
            None
            if header.ttl_seconds is None
            else format_time(now + timedelta(seconds=header.ttl_seconds))
        )

    def _fresh(self, session_id: str, now: datetime) -> HeaderRow:
        header = HeaderRow.fresh(session_id, format_time(now))
        header.ttl_seconds = self._ttl_seconds
        self._set_data(header, {})
        return header


def is_expired(header: HeaderRow, now: datetime) -> bool:
    """Tell whether a session's time to live has passed."""
    return header.expires_at is not None and header.expires_at <= format_time(now)
