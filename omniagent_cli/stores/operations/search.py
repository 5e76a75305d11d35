"""The search operation: over one session or all, by the backend's index or by reading every message."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from omniagent_cli.errors import UsageError
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import Message, content_text
from omniagent_cli.stores.backend import HeaderRow, IndexQuery, ListQuery, MessageRow, clamp
from omniagent_cli.stores.operations.read import PayloadFilter
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
        since: datetime | None = None,
        until: datetime | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        model: str | None = None,
        cwd: str | None = None,
        limit: int | None = 20,
    ) -> SearchHits:
        """Return the messages that match, newest first; see `stores.query` for the syntax.

        Args:
            query: words, ``"phrases"`` and ``prefix*``; never a syntax error.
            session_id: only messages of this session.
            role: only messages of this role.
            since: only messages created at or after this time.
            until: only messages created before this time.
            tags: only sessions that have all these tags.
            metadata: only sessions that have all these values.
            model: only answers of this model, and other messages of its sessions; with or without the provider.
            cwd: only sessions that began in this directory, see `Session.origin`.
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
            wanted = _Filter(
                role,
                format_time(since) if since else None,
                format_time(until) if until else None,
                model,
                PayloadFilter({**(metadata or {})}, frozenset(tags), cwd),
            )
            self.read_unit(lambda unit: _search(unit, parsed, session_id, wanted, limit, hits))
        return hits


@dataclass(frozen=True, slots=True)
class _Filter:
    """Conditions on a message and its session besides the query; times are RFC 3339 text."""

    role: str | None
    since: str | None
    until: str | None
    model: str | None
    session: PayloadFilter

    def accepts(self, row: MessageRow) -> bool:
        return (
            (self.role is None or row.role == self.role)
            and (self.since is None or row.created_at >= self.since)
            and (self.until is None or row.created_at < self.until)
        )

    def accepts_model(self, header: HeaderRow, message: Message) -> bool:
        if self.model is None:
            return True
        model = message.model or header.model
        return model == self.model or model.partition(":")[2] == self.model


def _search(
    unit: UnitOfWork,
    query: Query,
    session_id: str | None,
    wanted: _Filter,
    limit: int | None,
    hits: SearchHits,
) -> None:
    hits.clear()  # a unit of work may be run again
    hits.scanned = 0
    uid = None if session_id is None else unit.find(session_id, payload=False).uid
    terms = tuple((term.words, term.prefix) for term in query.terms)
    encrypted = unit.access.has_key and not unit.access.reads_plain
    indexed = (
        None
        if encrypted
        else unit.tx.candidates(IndexQuery(terms, uid, wanted.since, wanted.until))
    )
    most = None if limit is None else clamp(limit) + 1
    if indexed is not None:
        best = list(islice(_matching(unit, indexed, query, wanted), most))
    else:
        best = _newest(unit, _scanned(unit, uid, wanted.since, hits), query, wanted, most)
    hits.complete = limit is None or len(best) <= limit
    titles: dict[str, str] = {}
    for header, message in best[:limit]:
        hits.append(_hit(unit, query, header, message, titles))


def _matching(
    unit: UnitOfWork, rows: _Rows, query: Query, wanted: _Filter
) -> Iterator[tuple[HeaderRow, Message]]:
    accepted: dict[str, bool] = {}
    for header, row in rows:
        if not wanted.accepts(row):
            continue
        if wanted.session:
            if header.uid not in accepted:
                accepted[header.uid] = wanted.session.matches(unit.to_summary(header))
            if not accepted[header.uid]:
                continue
        (message,) = unit.to_messages(header, [row])
        if wanted.accepts_model(header, message) and matches(query, content_text(message.content)):
            yield header, message


def _newest(
    unit: UnitOfWork, rows: _Rows, query: Query, wanted: _Filter, most: int | None
) -> list[_Found]:
    """Return the newest matches, newest first.

    The scan ends when every session that is left was last active before the oldest match that is returned.
    """
    best: list[tuple[str, int, int, _Found]] = []  # a heap, oldest first

    def until_older() -> _Rows:
        for header, row in rows:
            if len(best) == most and best[0][0] > header.updated_at:
                return
            yield header, row

    for number, found in enumerate(_matching(unit, until_older(), query, wanted)):
        message = found[1]
        item = (message.record["created_at"], message.position or 0, -number, found)
        if most is None or len(best) < most:
            heapq.heappush(best, item)
        else:
            heapq.heappushpop(best, item)
    return [item[-1] for item in sorted(best, reverse=True)]


def _scanned(unit: UnitOfWork, uid: str | None, since: str | None, hits: SearchHits) -> _Rows:
    """Yield every message of a session, or of all that were active since a time, and count them."""
    rows: _Rows
    if uid is None:
        rows = unit.tx.scan(ListQuery(now=format_time(unit.now()), updated_from=since))
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
