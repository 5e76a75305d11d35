"""Candidates of a search: messages that the full-text index of PostgreSQL preselects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from omniagent_cli.json_format import format_time
from omniagent_cli.stores.backend import HeaderRow, IndexQuery, MessageRow
from omniagent_cli.stores.backends.postgres.full_text import as_tsquery
from omniagent_cli.stores.backends.postgres.statements import HEADER, KEY, ROW
from omniagent_cli.stores.backends.postgres.unit_base import UnitBase

_NEW = 1000
"""Messages that a search of all sessions reads before it uses the index."""

_ROW_OF_M = ", ".join(f"m.{column}" for column in ROW.split(", "))


def candidates(unit: UnitBase, query: IndexQuery) -> Iterator[tuple[HeaderRow, MessageRow]]:
    """Yield possible hits, newest message first."""
    tsquery = as_tsquery(query.phrases)
    if query.uid is not None:
        return _visible(unit, _found(unit, tsquery, f"session = {KEY}", query.uid))
    if query.since is not None or query.until is not None:
        return _visible(unit, _between(unit, tsquery, query.since, query.until))
    return _visible(unit, _newest(unit, tsquery))


def _between(
    unit: UnitBase, tsquery: str, since: str | None, until: str | None
) -> Iterator[list[tuple[Any, ...]]]:
    conditions = {"created_at >= %s": since, "created_at < %s": until}
    given = {text: value for text, value in conditions.items() if value is not None}
    return _found(unit, tsquery, " AND ".join(given), *given.values())


def _newest(unit: UnitBase, tsquery: str) -> Iterator[list[tuple[Any, ...]]]:
    """Search the newest messages first, which is enough for frequent words."""
    row = unit.execute(
        "SELECT created_at FROM $messages ORDER BY created_at DESC OFFSET %s LIMIT 1", (_NEW,)
    ).fetchone()
    if row is None:
        yield from _found(unit, tsquery, "created_at > %s", "")
    else:
        yield from _found(unit, tsquery, "created_at > %s", row[0])
        yield from _found(unit, tsquery, "created_at <= %s", row[0])


def _found(
    unit: UnitBase, tsquery: str, condition: str, *values: str
) -> Iterator[list[tuple[Any, ...]]]:
    # Sorted without the texts, which are read one by one as they are fetched.
    return unit.stream(
        f"SELECT m.session, {_ROW_OF_M} FROM (SELECT session, position, created_at FROM $messages"
        f" WHERE (words @@ %s::tsquery OR words IS NULL) AND {condition}"
        " ORDER BY created_at DESC, position DESC) found"
        " JOIN $messages m ON m.session = found.session AND m.position = found.position"
        " ORDER BY found.created_at DESC, found.position DESC",
        (tsquery, *values),
    )


def _visible(
    unit: UnitBase, pages: Iterable[list[tuple[Any, ...]]]
) -> Iterator[tuple[HeaderRow, MessageRow]]:
    """Join candidates with their headers; skip hidden and expired sessions."""
    known: dict[int, HeaderRow] = {}
    seen: set[int] = set()
    now = format_time(unit.now())
    for page in pages:
        if len(seen) > _NEW:
            known.clear()
            seen.clear()
        unseen = {row[0] for row in page} - seen
        if unseen:
            seen |= unseen
            headers = unit.execute(
                f"SELECT key, {HEADER} FROM $sessions WHERE key = ANY(%s) AND NOT hidden"
                " AND (expires_at IS NULL OR expires_at > %s)",
                (list(unseen), now),
            )
            known.update((row[0], HeaderRow(*row[1:])) for row in headers)
        for row in page:
            header = known.get(row[0])
            if header is not None:
                yield header, MessageRow._make(row[1:])
