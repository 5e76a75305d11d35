"""What other programs do to the session while this one is in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from omniagent_cli.agent.resume import may_grow
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.models import Message
from omniagent_cli.repl.last_turn import Asked
from omniagent_cli.stores.continuation_links import CONTINUES
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.store import SessionStore

_MOST = 50
"""Of more messages that came meanwhile only the last are shown."""

_GROWING = 8
"""An answer that grows stands among the last few messages."""


@dataclass(slots=True)
class News:
    """What others did since it was asked last.

    Attributes:
        added: messages they wrote, oldest first.
        left_out: how many more they wrote before those.
        growing: the ids of those of `added` that may be being written still.
        finished: answers that were being written when they were shown, and are over now.
        renamed: the id the session has now.
        gone: it was deleted, or has expired.
        anew: it was deleted, and another one has begun under its id.
    rolled: it has begun anew, and what was said before is kept under this id.
    """

    added: list[Message] = field(default_factory=list)
    left_out: int = 0
    growing: frozenset[str | None] = frozenset()
    finished: list[Message] = field(default_factory=list)
    renamed: str = ""
    gone: bool = False
    anew: bool = False
    rolled: str = ""


class Watch:
    """Tells messages of others from our own, which the store announces in the process that wrote them.

    Attributes:
        own_turns: the turns that were begun here, in order.
    """

    def __init__(self, store: SessionStore) -> None:
        self.own_turns: list[Asked] = []
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
        """Begin to watch a session; what is in it now counts as seen."""
        self._session_id = session_id
        before, self._uid = self._uid, self._uid_of(session_id)
        if self._uid != before:
            self.own_turns.clear()
        last = self._read(last=_GROWING)
        self._growing = {m.id: _position(m) for m in last if may_grow(m) and m.id not in self._own}
        self._own.clear()
        self._seen = _position(last[-1]) if last else -1

    def stop(self) -> None:
        """Watch nothing."""
        self._session_id = None

    def news(self) -> News:
        """Return what others did since the last call."""
        news = News()
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
        growing = {m.id: _position(m) for m in news.added if may_grow(m)}
        news.growing = frozenset(growing)
        self._growing |= growing
        self._own.clear()
        return news

    def close(self) -> None:
        """Stop listening."""
        for off in self._offs:
            off()

    def _look_where(self, news: News) -> None:
        """Notice that the session was renamed, deleted, or begun anew."""
        assert self._session_id is not None  # noqa: S101  # asked only while something is watched
        uid = self._uid_of(self._session_id)
        if uid == self._uid or not self._uid:
            self._uid = uid
            return
        renamed = self._store.id_of(self._uid)
        if renamed and uid and self._continues() == renamed:
            news.rolled = renamed
        elif renamed:
            news.renamed = self._session_id = renamed
            return
        else:
            news.gone, news.anew = not uid, bool(uid)
        self._follow(uid)

    def _follow(self, uid: str) -> None:
        """Watch another session that has the id now, from its beginning."""
        self._uid, self._seen = uid, -1
        self._growing.clear()
        self.own_turns.clear()

    def _continues(self) -> str:
        """Return the id of the conversation that was set aside when this one began."""
        try:
            return str(self._store.header(self._session_id or "").metadata.get(CONTINUES))
        except SessionNotFound:
            return ""

    def _rolled_here(self, event: Event) -> None:
        """Follow a session that our own turn has begun anew, which the turn tells."""
        if event.session_id == self._session_id:
            self._follow(self._uid_of(event.session_id))

    def _finished(self) -> list[Message]:
        """Return the answers that were growing when they were seen, and are over."""
        finished = []
        for message_id, place in list(self._growing.items()):
            found = self._read(after=place - 1, before=place + 1)
            if not found or found[0].id != message_id:
                del self._growing[message_id]
            elif not may_grow(found[0]):
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
        if not self._uid and event.session_id == self._session_id:  # it has just begun
            self._uid = self._uid_of(event.session_id)
        if message.role == "user" and message.turn_id:
            self.own_turns.append(Asked(message.turn_id, _position(message)))


def _position(message: Message) -> int:
    return -1 if message.position is None else message.position
