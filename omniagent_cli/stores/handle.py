"""One session of a store as an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from omniagent_cli.errors import InvalidRecord, KeyNotFound, SessionNotFound
from omniagent_cli.models import Content, Message, Session, detached
from omniagent_cli.stores.events import Event, Handler
from omniagent_cli.stores.operations.append import check_sha256

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore


_ATTACHMENT = "attachment"


class SessionHandle:
    """One session, by id. Every call goes to the store at once; nothing waits for `with` to end.

    The session comes into being with the first write. The store stays open when the handle is closed.
    """

    def __init__(self, store: SessionStore, session_id: str) -> None:
        self._store = store
        self._offs: list[Callable[[], None]] = []
        self.id = session_id

    def add_message(self, role: str, content: Content = "", **keys: Any) -> Message:
        """Append one message and return it as stored; data in its parts is kept as attachments of the session."""
        own, attachments = detached(content)
        message = Message(role, own, **keys)
        return self._store.write(self.id, message, attachments=attachments).messages[0]

    def get_messages(self, last: int | None = None) -> list[Message]:
        """Return the messages, oldest first, or the `last` few; none when the session is not there yet."""
        try:
            return self._store.messages(self.id, last=last)
        except SessionNotFound:
            return []

    def set(self, key: str, value: Any) -> None:
        """Set one metadata value."""
        self._store.set_metadata(self.id, key, value)

    def get(self, key: str, default: Any = None) -> Any:
        """Return one metadata value, or the default when there is no such key or session."""
        try:
            return self._store.get_metadata(self.id, key)
        except (KeyNotFound, SessionNotFound):
            return default

    def delete(self, key: str) -> bool:
        """Remove one metadata value and tell whether there was one."""
        return self._store.delete_metadata(self.id, key)

    def clear(self) -> int:
        """Remove all messages, keep the rest, and return how many went."""
        return self._store.clear(self.id)

    def trim(self, keep: int) -> int:
        """Keep the last `keep` messages and return how many went."""
        return self._store.trim(self.id, keep)

    def on(self, event: str, handler: Handler) -> Callable[[], None]:
        """Call `handler(event)` for events of this session; ends with the handle or the returned function."""

        def mine(told: Event) -> None:
            if told.session_id == self.id:
                handler(told)

        off = self._store.on(event, mine)
        self._offs.append(off)
        return off

    def export(self) -> dict[str, Any]:
        """Return the whole session as a JSON record that `import_data` of any store accepts.

        Attachments are in its ``records``, where the ``json`` format has them.
        """
        data = self._store.get(self.id).to_record()
        records = [
            {"record": _ATTACHMENT, "key": key, "value": value}
            for key, value in self._store.iter_records(self.id, _ATTACHMENT)
        ]
        return {**data, "records": records} if records else data

    def import_data(self, data: Mapping[str, Any]) -> None:
        """Fill this session, which must not be there yet, from an exported record; all of it or nothing.

        Raises:
            SessionExists: there is already a session with this id.
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
            self._store.unstage(uid)
            raise

    def close(self) -> None:
        """Stop the handlers added here."""
        for off in self._offs:
            off()
        self._offs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _attachments_in(records: Any) -> dict[str, dict[str, Any]]:
    """Return the attachments among the other records of an exported session, by SHA-256."""
    found = {}
    for record in records if isinstance(records, list) else [None]:
        own = record if isinstance(record, Mapping) else {}
        key, value = own.get("key"), own.get("value")
        if not isinstance(key, str) or not isinstance(value, dict):
            raise InvalidRecord("a session's records are a list of objects with a key and a value")
        if own.get("record") == _ATTACHMENT:
            found[check_sha256(key)] = value
    return found
