"""Detection of changes that other programs make to the current session."""

from __future__ import annotations

from dataclasses import dataclass, field

from omniagent_cli.agent.last_turn import OwnTurn
from omniagent_cli.agent.resume import may_be_streaming
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.models import Message
from omniagent_cli.stores.continuation_links import CONTINUES
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.store import SessionStore

_MOST = 50
"""The maximum number of new messages that are shown."""

_GROWING = 8
"""The number of newest messages that may contain a growing answer."""


@dataclass(slots=True)
class ExternalChanges:
    """Changes that other programs made since the last check.

    Attributes:
        added: new messages, oldest first.
        left_out: the number of earlier new messages that are not in `added`.
        growing: the ids of messages of `added` that may still be incomplete.
        finished: answers that were incomplete when they were shown, and are complete now.
        renamed: the new id of the session.
        gone: the session was deleted, or has expired.
        recreated: the session was deleted and another one was created under its id.
    rolled: the session rolled over; its earlier messages are under this id.
    """

    added: list[Message] = field(default_factory=list)
    left_out: int = 0
    growing: frozenset[str | None] = frozenset()
    finished: list[Message] = field(default_factory=list)
    renamed: str = ""
    gone: bool = False
    recreated: bool = False
    rolled: str = ""


class SessionWatcher:
    """Watches a session for changes by other programs; the store announces only those of this process.

    Attributes:
        own_turns: the turns started in this chat, in order.
    """

    def __init__(self, store: SessionStore) -> None:
        self.own_turns: list[OwnTurn] = []
        self._store = store
        self._session_id: str | None = None
        self._uid = ""
        self._seen = -1
        self._own: set[str | None] = set()
        self._growing: dict[str | None, int] = {}
        self._offs = [
            store.on("message_added", self._note),
            store.on("session_rolled", self._rolled_here),
        ]

    def start(self, session_id: str) -> None:
        """Start watching a session; its current content counts as seen."""
        self._session_id = session_id
        before, self._uid = self._uid, self._uid_of(session_id)
        if self._uid != before:
            self.own_turns.clear()
        last = self._read(last=_GROWING)
        self._growing = {
            m.id: _position(m) for m in last if may_be_streaming(m) and m.id not in self._own
        }
        self._own.clear()
        self._seen = _position(last[-1]) if last else -1

    def stop(self) -> None:
        """Stop watching."""
        self._session_id = None

    def news(self) -> ExternalChanges:
        """Return the changes since the last call."""
        news = ExternalChanges()
        if self._session_id is None:
            return news
        self._look_where(news)
        added = self._read(last=_MOST, after=self._seen)
        if added:
            news.left_out = (
                max(0, _position(added[0]) - self._seen - 1) if len(added) == _MOST else 0
            )
            self._seen = _position(added[-1])
        news.finished = self._finished()
        news.added = [message for message in added if message.id not in self._own]
        growing = {m.id: _position(m) for m in news.added if may_be_streaming(m)}
        news.growing = frozenset(growing)
        self._growing |= growing
        self._own.clear()
        return news

    def close(self) -> None:
        """Stop listening to the store."""
        for off in self._offs:
            off()

    def _look_where(self, news: ExternalChanges) -> None:
        """Detect that the session was renamed, deleted, or created again."""
        assert self._session_id is not None  # noqa: S101  # only called while a session is watched
        uid = self._uid_of(self._session_id)
        if uid == self._uid or not self._uid:
            self._uid = uid
            return
        renamed = self._store.current_id(self._uid)
        if renamed and uid and self._continues() == renamed:
            news.rolled = renamed
        elif renamed:
            news.renamed = self._session_id = renamed
            return
        else:
            news.gone, news.recreated = not uid, bool(uid)
        self._follow(uid)

    def _follow(self, uid: str) -> None:
        """Watch the new session that has the id now, from its first message."""
        self._uid, self._seen = uid, -1
        self._growing.clear()
        self.own_turns.clear()

    def _continues(self) -> str:
        """Return the id of the session that was rolled over when this one was created."""
        try:
            return str(self._store.header(self._session_id or "").metadata.get(CONTINUES))
        except SessionNotFound:
            return ""

    def _rolled_here(self, event: Event) -> None:
        """Follow a rollover that a turn of this chat caused."""
        if event.session_id == self._session_id:
            self._follow(self._uid_of(event.session_id))

    def _finished(self) -> list[Message]:
        """Return the answers that were incomplete when they were shown and are complete now."""
        finished = []
        for message_id, place in list(self._growing.items()):
            found = self._read(after=place - 1, before=place + 1)
            if not found or found[0].id != message_id:
                del self._growing[message_id]
            elif not may_be_streaming(found[0]):
                del self._growing[message_id]
                finished += [m for m in found if m.id not in self._own]
        return finished

    def _uid_of(self, session_id: str) -> str:
        try:
            return self._store.header(session_id).uid
        except SessionNotFound:
            return ""

    def _read(
        self, *, last: int | None = None, after: int | None = None, before: int | None = None
    ) -> list[Message]:
        if self._session_id is None:
            return []
        try:
            return self._store.messages(self._session_id, last=last, after=after, before=before)
        except SessionNotFound:
            return []

    def _note(self, event: Event) -> None:
        message: Message = event.data["message"]
        self._own.add(message.id)
        if not self._uid and event.session_id == self._session_id:  # just created
            self._uid = self._uid_of(event.session_id)
        if message.role == "user" and message.turn_id:
            self.own_turns.append(OwnTurn(message.turn_id, _position(message)))


def _position(message: Message) -> int:
    return -1 if message.position is None else message.position
