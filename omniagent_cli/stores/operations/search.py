"""The search operation: over one session or all, by the backend's index or by reading every message."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice

from omniagent_cli.errors import UsageError
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import Message, content_text
from omniagent_cli.stores.backend import HeaderRow, IndexQuery, ListQuery, MessageRow, clamp
from omniagent_cli.stores.query import Query, SearchHit, SearchHits, matches, parse, snippet
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork

_Rows = Iterable[tuple[HeaderRow, MessageRow]]
_Found = tuple[HeaderRow, Message]


class SearchOperations(StoreBase):
    """The operation that searches messages."""

    def search(
        self,
        query: str,
        *,
        session_id: str | None = None,
        role: str | None = None,
        limit: int | None = 20,
    ) -> SearchHits:
        """Return the messages that match, newest first; see `stores.query` for the syntax.

        Args:
            query: words, ``"phrases"`` and ``prefix*``; never a syntax error.
            session_id: only messages of this session.
            role: only messages of this role.
            limit: maximum number of hits; None for all.

        Raises:
            SessionNotFound: the session does not exist.
            UsageError: a negative limit.
        """
        if limit is not None and limit < 0:
            raise UsageError(f"cannot find {limit} messages; the number must not be negative")
        self._check_open()
        parsed = parse(query)
        hits = SearchHits()
        if parsed.terms and limit != 0:
            self.prepare_search()
            self.read_unit(lambda unit: _search(unit, parsed, session_id, role, limit, hits))
        return hits


def _search(
    unit: UnitOfWork,
    query: Query,
    session_id: str | None,
    role: str | None,
    limit: int | None,
    hits: SearchHits,
) -> None:
    hits.clear()  # a unit of work may be run again
    hits.scanned = 0
    uid = None if session_id is None else unit.find(session_id, payload=False).uid
    terms = tuple((term.words, term.prefix) for term in query.terms)
    encrypted = unit.access.has_key and not unit.access.reads_plain
    indexed = None if encrypted else unit.tx.candidates(IndexQuery(terms, uid))
    wanted = None if limit is None else clamp(limit) + 1
    if indexed is not None:
        best = list(islice(_matching(unit, indexed, query, role), wanted))
    else:
        best = _newest(unit, _scanned(unit, uid, hits), query, role, wanted)
    hits.complete = limit is None or len(best) <= limit
    titles: dict[str, str] = {}
    for header, message in best[:limit]:
        hits.append(_hit(unit, query, header, message, titles))


def _matching(
    unit: UnitOfWork, rows: _Rows, query: Query, role: str | None
) -> Iterator[tuple[HeaderRow, Message]]:
    for header, row in rows:
        if role is None or row.role == role:
            (message,) = unit.to_messages(header, [row])
            if matches(query, content_text(message.content)):
                yield header, message


def _newest(
    unit: UnitOfWork, rows: _Rows, query: Query, role: str | None, wanted: int | None
) -> list[_Found]:
    """Return the newest matches, newest first.

    The scan ends when every session that is left was last active before the oldest match that is wanted.
    """
    best: list[tuple[str, int, int, _Found]] = []  # a heap, oldest first

    def until_older() -> _Rows:
        for header, row in rows:
            if len(best) == wanted and best[0][0] > header.updated_at:
                return
            yield header, row

    for number, found in enumerate(_matching(unit, until_older(), query, role)):
        message = found[1]
        item = (message.record["created_at"], message.position or 0, -number, found)
        if wanted is None or len(best) < wanted:
            heapq.heappush(best, item)
        else:
            heapq.heappushpop(best, item)
    return [item[-1] for item in sorted(best, reverse=True)]


def _scanned(unit: UnitOfWork, uid: str | None, hits: SearchHits) -> _Rows:
    """Yield every message of a session or of all, and count them."""
    rows: _Rows
    if uid is None:
        rows = unit.tx.scan(ListQuery(now=format_time(unit.now())))
    else:
        header = unit.tx.find_uid(uid)
        rows = () if header is None else ((header, row) for row in unit.tx.rows(uid))
    for found in rows:
        hits.scanned += 1
        yield found


def _hit(
    unit: UnitOfWork, query: Query, header: HeaderRow, message: Message, titles: dict[str, str]
) -> SearchHit:
    if header.uid not in titles:
        titles[header.uid] = unit.data(header).get("title", "")
    text, ranges = snippet(query, content_text(message.content))
    return SearchHit(
        session_id=header.id,
        title=titles[header.uid],
        message_id=message.id or "",
        position=message.position or 0,
        role=message.role,
        created_at=parse_time(message.record["created_at"]),
        snippet=text,
        matches=ranges,
    )
