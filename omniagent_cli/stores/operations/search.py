"""Finding: search over one session or all, by the backend's index or by reading everything."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from omniagent_cli.errors import UsageError
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import Message, content_text
from omniagent_cli.stores import query as searching
from omniagent_cli.stores.backend import (
    Cursor,
    HeaderRow,
    IndexQuery,
    ListQuery,
    MessageRow,
    RowRange,
    Transaction,
)
from omniagent_cli.stores.query import SearchHit, SearchHits
from omniagent_cli.stores.unit_of_work import StoreCore

CHUNK = 500
"""Messages and headers read at a time where everything is walked."""

LARGEST = 2**62
"""No position and no count comes near it, and 64-bit columns hold it."""


class Finding(StoreCore):
    """Search, and what walks over everything."""

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
        hits.clear()  # a unit of work may be run again
        hits.scanned = 0
        uid = None if session_id is None else self._find(tx, session_id, payload=False).uid
        asked = IndexQuery(tuple((term.words, term.prefix) for term in query.terms), uid)
        indexed = None if self._secret else tx.candidates(asked)
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


def bounded(number: int) -> int:
    """Bring a position or a limit into the range of every backend's whole numbers."""
    return max(-LARGEST, min(number, LARGEST))


def _newest(found: tuple[HeaderRow, Message]) -> tuple[str, int]:
    return found[1].record["created_at"], found[1].position or 0


def runs(positions: Sequence[int]) -> list[RowRange]:
    """Group ascending positions into spans without gaps."""
    runs = []
    for _, group in groupby(enumerate(positions), key=lambda pair: pair[1] - pair[0]):
        members = [position for _, position in group]
        runs.append(RowRange(first=members[0], last=members[-1]))
    return runs


def chunks(rows: Iterable[MessageRow]) -> Iterator[list[MessageRow]]:
    """Group rows so that no more than `CHUNK` are held."""
    chunk: list[MessageRow] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
