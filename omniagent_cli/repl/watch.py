"""What other programs write to the session while this one is in it."""

from __future__ import annotations

from omniagent_cli.errors import SessionNotFound
from omniagent_cli.models import Message
from omniagent_cli.stores.base import SessionStore
from omniagent_cli.stores.events import Event


class Watch:
    """Tells messages of others from our own, which the store announces in the process that wrote them."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._session_id: str | None = None
        self._seen = -1
        self._own: set[str] = set()
        self._off = store.on("message_added", self._note)

    def start(self, session_id: str) -> None:
        """Begin to watch a session; what is in it now counts as seen."""
        self._session_id = session_id
        self._own.clear()
        last = self._read(last=1)
        self._seen = _position(last[-1]) if last else -1

    def stop(self) -> None:
        """Watch nothing."""
        self._session_id = None

    def news(self) -> list[Message]:
        """Return the messages others added since the last call, oldest first."""
        added = self._read(after=self._seen)
        if not added:
            return []
        self._seen = _position(added[-1])
        news = [message for message in added if message.id not in self._own]
        self._own.clear()
        return news

    def close(self) -> None:
        """Stop listening."""
        self._off()

    def _read(self, *, last: int | None = None, after: int | None = None) -> list[Message]:
        if self._session_id is None:
            return []
        try:
            return self._store.messages(self._session_id, last=last, after=after)
        except SessionNotFound:
            return []

    def _note(self, event: Event) -> None:
        if event.session_id == self._session_id:
            self._own.add(event.data["message"].id)


def _position(message: Message) -> int:
    return -1 if message.position is None else message.position
