"""The model of the picker: sessions read page by page, ranked against the typed query."""

from __future__ import annotations

from dataclasses import dataclass, field

from omniagent_cli.errors import SessionNotFound
from omniagent_cli.models import Message, SessionSummary
from omniagent_cli.stores.backend import Cursor
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.text.sanitize import one_line

PAGE = 200
_PREVIEWED = 6


@dataclass(slots=True)
class _Row:
    """A session with its searchable texts: its names, and all of its summary."""

    summary: SessionSummary
    name: str
    known: str


@dataclass(slots=True)
class SessionChoices:
    """The sessions of a store, pinned ones first, then by last use; messages are not read.

    Attributes:
        query: the typed query.
        fitting: the sessions that match it, best first.
        complete: all sessions of the store have been read.
    """

    store: SessionStore
    query: str = ""
    fitting: list[SessionSummary] = field(default_factory=list)
    complete: bool = False
    _rows: list[_Row] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)
    _cursor: Cursor | None = None

    @property
    def count(self) -> int:
        """The number of sessions read so far."""
        return len(self._rows)

    def read_page(self) -> list[SessionSummary]:
        """Read the next page and return it for `add`; may run in another thread."""
        page = self.store.list(limit=PAGE, cursor=self._cursor)
        self._cursor = page.next_cursor
        self.complete = page.next_cursor is None
        return page

    def add(self, page: list[SessionSummary]) -> None:
        """Add the sessions of a page and rank all again."""
        for summary in page:
            if summary.uid in self._known:  # it moved up between two pages
                continue
            self._known.add(summary.uid)
            name = one_line(f" {summary.title} {summary.id} {' '.join(summary.tags)}").casefold()
            more = one_line(f"{summary.preview} {summary.model}").casefold()
            self._rows.append(_Row(summary, name, f"{name} {more}"))
        self.choose(self.query)

    def choose(self, query: str) -> None:
        """Set the query and rank the sessions."""
        self.query = query
        words = query.casefold().split()
        if not words:
            self.fitting = [row.summary for row in self._rows]
            return
        ranked = []
        for number, row in enumerate(self._rows):
            rank = _rank(words, row)
            if rank is not None:
                ranked.append((rank, number))
        self.fitting = [self._rows[number].summary for _, number in sorted(ranked)]


def _rank(words: list[str], row: _Row) -> int | None:
    """Return the rank of a session, lower is better.

    Words that start with the query in a name come first, then matches anywhere, then subsequences.
    """
    total = 0
    for word in words:
        if f" {word}" in row.name:
            rank = 0
        elif word in row.known:
            rank = 1 if word in row.name else 2
        elif _in_order(word, row.name):
            rank = 3
        else:
            return None
        total += rank
    return total


def _in_order(word: str, text: str) -> bool:
    place = -1
    for character in word:
        place = text.find(character, place + 1)
        if place < 0:
            return False
    return True


def last_messages(store: SessionStore, session_id: str) -> list[Message]:
    """Return the last messages of a session, for a preview; none if it no longer exists."""
    try:
        return store.messages(session_id, last=_PREVIEWED)
    except SessionNotFound:
        return []
