"""The session store: all operations over one base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from omniagent_cli.errors import InvalidRecord, KeyNotFound, SessionNotFound
from omniagent_cli.models import Content, Message, Session, check_session_id, check_sha256, detached
from omniagent_cli.stores.encryption.cipher import Key, check_key
from omniagent_cli.stores.encryption.codec import PayloadCodec
from omniagent_cli.stores.events import Event, Handler, adapted
from omniagent_cli.stores.operations.append import AppendOperations
from omniagent_cli.stores.operations.fork import ForkOperations
from omniagent_cli.stores.operations.header import HeaderOperations
from omniagent_cli.stores.operations.maintenance import MaintenanceOperations
from omniagent_cli.stores.operations.read import ReadOperations
from omniagent_cli.stores.operations.records import RecordOperations
from omniagent_cli.stores.operations.remove import RemoveOperations
from omniagent_cli.stores.operations.rollover import RolloverOperations
from omniagent_cli.stores.operations.save import SaveOperations
from omniagent_cli.stores.operations.search import SearchOperations
from omniagent_cli.stores.operations.stage import StageOperations
from omniagent_cli.stores.operations.trash import TrashOperations
from omniagent_cli.stores.operations.undo import UndoOperations
from omniagent_cli.stores.store_base import DEFAULT_SESSION_TTL, DEFAULT_TRASH_TTL

if TYPE_CHECKING:
    from omniagent_cli.stores.aio import AsyncStore

__all__ = [
    "DEFAULT_SESSION_TTL",
    "DEFAULT_TRASH_TTL",
    "SessionHandle",
    "SessionStore",
    "with_compression",
    "with_encryption",
]

_ATTACHMENT = "attachment"


class SessionStore(
    MaintenanceOperations,
    ReadOperations,
    SearchOperations,
    AppendOperations,
    SaveOperations,
    HeaderOperations,
    RecordOperations,
    RemoveOperations,
    UndoOperations,
    TrashOperations,
    RolloverOperations,
    StageOperations,
    ForkOperations,
):
    """A store of sessions. It is thread-safe, and a context manager closes it; what it returns belongs to the caller.

    A backend subclasses it and implements `_run`, `_close` and `url`; `StoreBase` has the arguments of every backend.
    """

    def session(self, session_id: str) -> SessionHandle:
        """Return one session of this store as an object."""
        return SessionHandle(self, check_session_id(session_id))

    def aio(self) -> AsyncStore[Self]:
        """Return the asynchronous interface of this store: the same operations as coroutines; see `stores.aio`."""
        from omniagent_cli.stores.aio import AsyncStore

        return AsyncStore(self)


class SessionHandle:
    """One session of a store. Every call changes the store immediately; `with` only ends event handlers.

    The first write creates the session. Closing the handle does not close the store.
    """

    def __init__(self, store: SessionStore, session_id: str) -> None:
        self._store = store
        self._offs: list[Callable[[], None]] = []
        self.id = session_id

    def add_message(self, role: str, content: Content = "", **keys: Any) -> Message:
        """Append one message and return it as stored; data in its parts becomes attachments of the session."""
        own, attachments = detached(content)
        message = Message(role, own, **keys)
        return self._store.write(self.id, message, attachments=attachments).messages[0]

    def get_messages(self, last: int | None = None) -> list[Message]:
        """Return the messages, oldest first, or the `last` few; an empty list if the session does not exist."""
        try:
            return self._store.messages(self.id, last=last)
        except SessionNotFound:
            return []

    def set(self, key: str, value: Any) -> None:
        """Set one metadata value."""
        self._store.set_metadata(self.id, key, value)

    def get(self, key: str, default: Any = None) -> Any:
        """Return one metadata value, or the default if the key or the session does not exist."""
        try:
            return self._store.get_metadata(self.id, key)
        except (KeyNotFound, SessionNotFound):
            return default

    def delete(self, key: str) -> bool:
        """Remove one metadata value and return True if it existed."""
        return self._store.delete_metadata(self.id, key)

    def clear(self) -> int:
        """Remove all messages and return how many were removed."""
        return self._store.clear(self.id)

    def trim(self, keep: int) -> int:
        """Keep the last `keep` messages and return how many were removed."""
        return self._store.trim(self.id, keep)

    def on(self, event: str, handler: Handler) -> Callable[[], None]:
        """Call the handler for events of this session, until the handle is closed or the returned function is called.

        Args:
            event: the name, such as `SessionEvent.MESSAGE_ADDED`.
            handler: called with what it accepts; see `EventBus.on`.
        """
        called = adapted(event, handler)

        def filtered(emitted: Event) -> None:
            if emitted.session_id == self.id:
                called(emitted)

        off = self._store.on(event, filtered)
        self._offs.append(off)
        return off

    def export(self) -> dict[str, Any]:
        """Return the whole session as a JSON record for `import_data`, with attachments in ``records``."""
        data = self._store.get(self.id).to_record()
        records = [
            {"record": _ATTACHMENT, "key": key, "value": value}
            for key, value in self._store.iter_records(self.id, _ATTACHMENT)
        ]
        return {**data, "records": records} if records else data

    def import_data(self, data: Mapping[str, Any]) -> None:
        """Create this session from an exported record, completely or not at all.

        Raises:
            SessionExists: a session with this id exists.
            InvalidRecord: the data is not a session record.
        """
        own = {key: value for key, value in data.items() if key != "records"}
        session = Session.from_record({**own, "id": self.id})
        attachments = _attachments_in(data.get("records") or [])
        uid = self._store.stage(session)
        try:
            self._store.stage_messages(uid, session.messages)
            for key, value in attachments.items():
                self._store.stage_record(uid, _ATTACHMENT, key, value)
            self._store.publish(uid, session)
        except BaseException:
            self._store.discard_staged(uid)
            raise

    def close(self) -> None:
        """Remove the handlers added through this handle."""
        for off in self._offs:
            off()
        self._offs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _attachments_in(records: Any) -> dict[str, dict[str, Any]]:
    """Return the attachments of an exported session's ``records``, by SHA-256."""
    found = {}
    for record in records if isinstance(records, list) else [None]:
        own = record if isinstance(record, Mapping) else {}
        key, value = own.get("key"), own.get("value")
        if not isinstance(key, str) or not isinstance(value, dict):
            raise InvalidRecord(
                "the records of a session must be a list of objects with a key and a value"
            )
        if own.get("record") == _ATTACHMENT:
            found[check_sha256(key)] = value
    return found


Store = TypeVar("Store", bound=SessionStore)


def with_compression(store: Store) -> Store:
    """Compress the payloads that a store writes from now on; existing ones are read either way.

    The store itself is changed and returned. The order of this and `with_encryption` does not matter.
    """
    codec = store.codec
    store.use_codec(PayloadCodec(compress=True, key=codec.key, old_key=codec.old_key))
    return store


def with_encryption(store: Store, key: Key, *, old_key: Key | None = None) -> Store:
    """Encrypt the payloads of a store with AES-GCM. A plain store that has sessions is read, but never written.

    The store itself is changed and returned. Messages, titles, previews, metadata, state, attachments and summaries
    are encrypted; ids, roles, times, counts, model, agent, pinned and archived are not. It is not detected if the
    whole store is replaced by an older copy, or sessions are removed from its files.

    Args:
        store: an empty store, or one that is encrypted with this key; `SessionStore.encrypt` changes a plain one.
        key: 16, 24 or 32 bytes, or a `Passphrase`.
        old_key: the previous key, if `SessionStore.rekey` was interrupted.

    Raises:
        ConfigError: the key is invalid.
    """
    check_key(key)
    store.use_codec(PayloadCodec(compress=store.codec.compress, key=key, old_key=old_key))
    return store
