"""The search operation: over one session or all, by the backend's index or by reading every message."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from omniagent_cli.errors import UsageError
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import Message, content_text
from omniagent_cli.stores.backend import HeaderRow, IndexQuery, ListQuery, MessageRow
from omniagent_cli.stores.query import Query, SearchHit, SearchHits, matches, parse, snippet
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork

_Rows = Iterable[tuple[HeaderRow, MessageRow]]


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
    rows = indexed if indexed is not None else _all_rows(unit, uid, hits)
    found = _matching(unit, rows, query, role)
    wanted = None if limit is None else limit + 1
    if indexed is not None:
        best = (
            [hit for _, hit in zip(range(wanted), found, strict=False)] if wanted else list(found)
        )
    elif wanted is None:
        best = sorted(found, key=_age, reverse=True)
    else:
        best = heapq.nlargest(wanted, found, key=_age)
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


def _all_rows(
    unit: UnitOfWork, uid: str | None, hits: SearchHits
) -> Iterator[tuple[HeaderRow, MessageRow]]:
    """Yield every message of a session or of all, and count them."""
    headers: Iterable[HeaderRow | None] = (
        [unit.tx.find_uid(uid)] if uid else unit.headers(ListQuery(now=format_time(unit.now())))
    )
    for header in headers:
        if header is not None:
            for row in unit.tx.rows(header.uid):
                hits.scanned += 1
                yield header, row


def _hit(
    unit: UnitOfWork, query: Query, header: HeaderRow, message: Message, titles: dict[str, str]
) -> SearchHit:
    if header.uid not in titles:
        titles[header.uid] = unit.data(header).get("title", "")
    text, match = snippet(query, content_text(message.content))
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


def _age(found: tuple[HeaderRow, Message]) -> tuple[str, int]:
    return found[1].record["created_at"], found[1].position or 0
