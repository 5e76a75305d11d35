"""Reading: sessions, slices of messages, listings, search. Nothing here creates or changes anything."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from omniagent_cli.canonical import format_time, parse_time
from omniagent_cli.errors import KeyNotFound, SessionNotFound, UsageError
from omniagent_cli.models import Message, Session, SessionSummary, content_text
from omniagent_cli.stores import search as searching
from omniagent_cli.stores.core import StoreCore
from omniagent_cli.stores.records import (
    SORTS,
    Cursor,
    HeaderRow,
    IndexQuery,
    ListQuery,
    MessageRow,
    RowRange,
    Transaction,
)
from omniagent_cli.stores.search import SearchHit, SearchHits
from omniagent_cli.text import is_storable

CHUNK = 500
"""Messages and headers read at a time where everything is walked."""

LARGEST = 2**62
"""No position and no count comes near it, and 64-bit columns hold it."""


class SessionPage(list[SessionSummary]):
    """Summaries in order.

    Attributes:
        next_cursor: hand it to `list` for the next page; None when this was the last.
    """

    next_cursor: Cursor | None = None


class Reading(StoreCore):
    """The operations of a store that only read."""

    def get(self, session_id: str) -> Session:
        """Return a whole session with its messages.

        Raises:
            SessionNotFound: there is none; SessionExpired when it is known that there was one.
        """

        def work(tx: Transaction) -> Session:
            header = self._find(tx, session_id)
            return self._to_session(header, self._to_messages(header, tx.rows(header.uid)))

        return self._read(work)

    def header(self, session_id: str) -> Session:
        """Return a session without reading its messages: `messages` is empty.

        Raises:
            SessionNotFound: there is none.
        """
        return self._read(lambda tx: self._to_session(self._find(tx, session_id), []))

    def summary(self, session_id: str) -> SessionSummary:
        """Return what a listing shows of one session.

        Raises:
            SessionNotFound: there is none.
        """
        return self._read(lambda tx: self._to_summary(self._find(tx, session_id)))

    def exists(self, session_id: str) -> bool:
        """Tell whether there is a session with this id."""
        try:
            self._read(lambda tx: self._find(tx, session_id, payload=False))
        except SessionNotFound:
            return False
        return True

    def count_messages(self, session_id: str) -> int:
        """Return how many messages a session has, without reading them."""
        return self._read(lambda tx: self._find(tx, session_id, payload=False).message_count)

    def messages(
        self,
        session_id: str,
        *,
        last: int | None = None,
        before: int | None = None,
        after: int | None = None,
    ) -> list[Message]:
        """Return messages, oldest first, reading no more than asked for.

        Args:
            session_id: the session.
            last: at most that many of the newest; 0 gives none.
            before: only messages with a position below this.
            after: only messages with a position above this.

        Raises:
            SessionNotFound: there is none.
            UsageError: `last` is negative.
        """
        if last is not None and last < 0:
            raise UsageError(
                f"cannot read the last {last} messages; the number must not be negative"
            )
        last = None if last is None else bounded(last)
        first = None if after is None else bounded(after + 1)
        end = None if before is None else bounded(before - 1)

        def work(tx: Transaction) -> list[Message]:
            header = self._find(tx, session_id, payload=False)
            if last is None:
                return self._to_messages(header, tx.rows(header.uid, RowRange(first, end)))
            if last == 0:
                return []
            newest = self._to_messages(
                header, tx.rows(header.uid, RowRange(first, end, newest=True, limit=last))
            )
            newest.reverse()
            return newest

        return self._read(work)

    def iter_messages(self, session_id: str) -> Iterator[Message]:
        """Yield the messages of a session, oldest first, in bounded memory.

        What is added meanwhile may be included; what was there at the start is.

        Raises:
            SessionNotFound: there is none, or it went meanwhile.
        """
        position = -1
        while chunk := self._chunk_after(session_id, position):
            yield from chunk
            position = chunk[-1].position or 0
            if len(chunk) < CHUNK:
                return

    def _chunk_after(self, session_id: str, position: int) -> list[Message]:
        def work(tx: Transaction) -> list[Message]:
            header = self._find(tx, session_id, payload=False)
            return self._to_messages(
                header, tx.rows(header.uid, RowRange(first=position + 1, limit=CHUNK))
            )

        return self._read(work)

    def get_metadata(self, session_id: str, key: str) -> Any:
        """Return one metadata value, which may be None (null).

        Raises:
            KeyNotFound: the session has no such key.
            SessionNotFound: there is no such session.
        """
        return self._value(session_id, "metadata", key)

    def get_state(self, session_id: str, key: str) -> Any:
        """Return one state value, which may be None (null).

        Raises:
            KeyNotFound: the session has no such key.
            SessionNotFound: there is no such session.
        """
        return self._value(session_id, "state", key)

    def _value(self, session_id: str, section: str, key: str) -> Any:
        values = self._read(lambda tx: self._data(self._find(tx, session_id))).get(section) or {}
        if key not in values:
            raise KeyNotFound(
                f"the session {session_id!r} has no {section} {key!r}",
                session_id=session_id,
                key=key,
            )
        return values[key]

    def attachments(self, session_id: str) -> list[str]:
        """Return the SHA-256 (hex) of each attachment of a session."""
        return self._read(
            lambda tx: [key for key, _ in tx.records(self._find(tx, session_id).uid, "attachment")]
        )

    def attachment(self, session_id: str, sha256: str) -> Any:
        """Return one attachment's record: ``name``, ``media_type``, ``size`` and ``data`` (base64), or None."""

        def work(tx: Transaction) -> Any:
            header = self._find(tx, session_id, payload=False)
            return self._record(tx, header, "attachment", sha256) if is_storable(sha256) else None

        return self._read(work)

    def last_summary(self, session_id: str) -> Any:
        """Return the newest summary record: ``up_to`` (position), ``text``, ``model``, ``created_at``, or None."""

        def work(tx: Transaction) -> Any:
            header = self._find(tx, session_id, payload=False)
            keys = [key for key, _ in tx.records(header.uid, "summary")]
            return self._record(tx, header, "summary", max(keys)) if keys else None

        return self._read(work)

    def _record(self, tx: Transaction, header: HeaderRow, kind: str, key: str) -> Any:
        payload = tx.record(header.uid, kind, key)
        return None if payload is None else self._unseal(kind, header, (header.uid, key), payload)

    def search(
        self,
        query: str,
        *,
        session_id: str | None = None,
        role: str | None = None,
        limit: int | None = 20,
    ) -> SearchHits:
        """Find messages, newest first; see `stores.search` for what a query means.

        Args:
            query: words, ``"phrases"`` and ``prefix*``; never a syntax error.
            session_id: only in that session.
            role: only messages of that role.
            limit: at most that many hits; None for all.

        Raises:
            SessionNotFound: the session named is not there.
            UsageError: a negative limit.
        """
        if limit is not None and limit < 0:
            raise UsageError(f"cannot find {limit} messages; the number must not be negative")
        self._check_open()
        parsed = searching.parse(query)
        hits = SearchHits()
        if parsed.terms and limit != 0:
            self._read(lambda tx: self._search(tx, parsed, session_id, role, limit, hits))
        return hits

    def _search(
        self,
        tx: Transaction,
        query: searching.Query,
        session_id: str | None,
        role: str | None,
        limit: int | None,
        hits: SearchHits,
    ) -> None:
        uid = None if session_id is None else self._find(tx, session_id, payload=False).uid
        asked = IndexQuery(tuple((term.words, term.prefix) for term in query.terms), uid)
        indexed = None if self._codec is not None else tx.candidates(asked)
        found = self._matching(
            indexed if indexed is not None else self._walk(tx, uid, hits), query, role
        )
        wanted = None if limit is None else limit + 1
        if indexed is not None:
            best = (
                [hit for _, hit in zip(range(wanted), found, strict=False)]
                if wanted
                else list(found)
            )
        elif wanted is None:
            best = sorted(found, key=_newest, reverse=True)
        else:
            best = heapq.nlargest(wanted, found, key=_newest)
        hits.complete = limit is None or len(best) <= limit
        titles: dict[str, str] = {}
        for header, message in best[:limit]:
            hits.append(self._hit(query, header, message, titles))

    def _matching(
        self, rows: Iterable[tuple[HeaderRow, MessageRow]], query: searching.Query, role: str | None
    ) -> Iterator[tuple[HeaderRow, Message]]:
        for header, row in rows:
            if role is None or row.role == role:
                (message,) = self._to_messages(header, [row])
                if searching.matches(query, content_text(message.content)):
                    yield header, message

    def _walk(
        self, tx: Transaction, uid: str | None, hits: SearchHits
    ) -> Iterator[tuple[HeaderRow, MessageRow]]:
        """Yield every message there is to search, counting them."""
        for header in (
            [tx.find_uid(uid)]
            if uid
            else self._walk_headers(tx, ListQuery(now=format_time(tx.now())))
        ):
            if header is not None:
                for row in tx.rows(header.uid):
                    hits.scanned += 1
                    yield header, row

    def _walk_headers(self, tx: Transaction, query: ListQuery) -> Iterator[HeaderRow]:
        """Yield all headers of a query, a page at a time."""
        after: Cursor | None = query.after
        while True:
            page = tx.headers(replace(query, after=after, limit=CHUNK))
            yield from page
            if len(page) < CHUNK:
                return
            after = query.cursor(page[-1])

    def _hit(
        self, query: searching.Query, header: HeaderRow, message: Message, titles: dict[str, str]
    ) -> SearchHit:
        if header.uid not in titles:
            titles[header.uid] = self._data(header).get("title", "")
        text, match = searching.snippet(query, content_text(message.content))
        return SearchHit(
            session_id=header.id,
            title=titles[header.uid],
            message_id=message.id or "",
            position=message.position or 0,
            role=message.role,
            created_at=parse_time(message.record["created_at"]),
            snippet=text,
            match=match,
        )

    def count(
        self,
        *,
        agent_id: str | None = None,
        archived: bool | None = False,
        prefix: str = "",
    ) -> int:
        """Count sessions without reading them; `archived` None counts both kinds."""
        if not is_storable(prefix + (agent_id or "")):
            return 0

        def work(tx: Transaction) -> int:
            now = format_time(tx.now())
            return tx.count(ListQuery(agent_id=agent_id, archived=archived, prefix=prefix, now=now))

        return self._read(work)

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: Cursor | None = None,
        sort: str = "updated",
        agent_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        prefix: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        archived: bool | None = False,
    ) -> SessionPage:
        """Return summaries without reading messages, pinned sessions first.

        Args:
            limit: at most that many; None for all.
            cursor: `next_cursor` of the page before.
            sort: ``updated`` (last activity, newest first), ``created``, ``messages`` or ``id``.
            agent_id: only sessions of this agent.
            metadata: only sessions that have all these values.
            tags: only sessions that have all these tags.
            prefix: only ids that begin so.
            since: only sessions active at or after this.
            until: only sessions active before this.
            archived: whether archived sessions are listed alone; None lists both kinds.

        Raises:
            UsageError: an unknown sort, or a negative limit.
        """
        if sort not in SORTS:
            raise UsageError(f"cannot sort by {sort!r}; choose one of {', '.join(SORTS)}")
        if limit is not None and limit < 0:
            raise UsageError(f"cannot list {limit} sessions; the number must not be negative")
        if not is_storable(prefix + (agent_id or "")):
            return SessionPage()  # nothing can be called so
        wanted = {**(metadata or {})}

        def work(tx: Transaction) -> SessionPage:
            query = ListQuery(
                sort=sort,
                limit=CHUNK if limit is None or wanted or tags else bounded(limit + 1),
                after=cursor,
                archived=archived,
                prefix=prefix,
                agent_id=agent_id,
                updated_from=format_time(since) if since else None,
                updated_before=format_time(until) if until else None,
                now=format_time(tx.now()),
            )
            return self._page(tx, query, limit, wanted, tags)

        return self._read(work)

    def _page(
        self,
        tx: Transaction,
        query: ListQuery,
        limit: int | None,
        metadata: dict[str, Any],
        tags: Sequence[str],
    ) -> SessionPage:
        page = SessionPage()
        after = query.after
        last: HeaderRow | None = None
        while limit != 0:
            headers = tx.headers(replace(query, after=after))
            for header in headers:
                summary = self._to_summary(header)
                if not _has(summary, metadata, tags):
                    continue
                if limit is not None and len(page) == limit:
                    page.next_cursor = None if last is None else query.cursor(last)
                    return page
                page.append(summary)
                last = header
            if len(headers) < query.limit:
                break
            after = query.cursor(headers[-1])
        return page


def bounded(number: int) -> int:
    """Bring a position or a limit into the range of every backend's whole numbers."""
    return max(-LARGEST, min(number, LARGEST))


def _newest(found: tuple[HeaderRow, Message]) -> tuple[str, int]:
    return found[1].record["created_at"], found[1].position or 0


def _has(summary: SessionSummary, metadata: dict[str, Any], tags: Sequence[str]) -> bool:
    missing = object()
    return all(
        summary.metadata.get(key, missing) == value for key, value in metadata.items()
    ) and set(tags) <= set(summary.tags)
