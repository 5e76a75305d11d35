"""Sessions, trash and search results as tables for terminals, fields for pipes and records for JSON. Pure functions.

Untrusted text is sanitized here: `sanitize.one_line` for terminals, the lossless `sanitize.plain_field` for pipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from omniagent_cli.durations import describe_age
from omniagent_cli.json_format import format_time
from omniagent_cli.models import SessionSummary
from omniagent_cli.stores.operations.trash import TrashEntry
from omniagent_cli.stores.query import SearchHit
from omniagent_cli.text.sanitize import one_line, plain_field
from omniagent_cli.ui.cells import Column, Table


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 session``, ``1,200 messages``."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def file_size(count: int) -> str:
    """Return a number of bytes for display: ``512 B``, ``3.9 MB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def quoted(session_id: str) -> str:
    """Return a session id in quotes, for a sentence."""
    return f"'{one_line(session_id)}'"


def marks(summary: SessionSummary) -> list[str]:
    """Return ``pinned`` and ``archived``, as far as they apply."""
    return [mark for mark in ("pinned", "archived") if getattr(summary, mark)]


_NARROW, _WIDE = 100, 150
"""Widths below which a list is abbreviated, and from which it has more columns."""


def session_table(summaries: Sequence[SessionSummary], now: datetime, width: int) -> Table:
    """Return a list of sessions; a session without a title shows the start of its last message.

    Where it does not fit, ids are shortened before titles, because the beginning of an id is enough to name a session.
    """
    narrow = width < _NARROW
    rows = []
    for summary in summaries:
        notes = [*marks(summary), *(f"#{tag}" for tag in summary.tags)]
        rows.append(
            [
                one_line(summary.id),
                one_line(summary.title or summary.preview),
                f"{summary.message_count:,}",
                describe_age(summary.updated_at, now, short=narrow),
                one_line(" ".join(notes)),
                one_line(summary.model),
                describe_age(summary.created_at, now),
            ]
        )
    columns = [
        Column("ID", "cyan", shrink=2, minimum=_unique_width([row[0] for row in rows])),
        Column("TITLE", shrink=1),
        Column("MSGS" if narrow else "MESSAGES", right=True),
        Column("USED" if narrow else "UPDATED", "dim"),
        Column("MARKS", "yellow"),
        Column("MODEL", "dim"),
        Column("CREATED", "dim"),
    ]
    shown = [n for n in range(len(columns)) if n < 4 or any(row[n] for row in rows)]
    shown = [n for n in shown if n < 5 or width >= _WIDE]
    return Table([columns[n] for n in shown], [[row[n] for n in shown] for row in rows])


def _unique_width(ids: Sequence[str]) -> int:
    """Return the width at which shortened ids, with their ellipsis, are still different."""
    ordered = sorted(set(ids))
    shared = [_shared_length(*pair) for pair in pairwise(ordered)]
    return max([8, *(number + 2 for number in shared)])


def _shared_length(first: str, second: str) -> int:
    places = zip(first, second, strict=False)
    same = (n for n, (a, b) in enumerate(places) if a != b)
    return next(same, min(len(first), len(second)))


def session_fields(summary: SessionSummary) -> list[str]:
    """Return id, title, message count, update time, model, marks and tags."""
    return [
        plain_field(summary.id),
        plain_field(summary.title),
        str(summary.message_count),
        format_time(summary.updated_at),
        plain_field(summary.model),
        ",".join(marks(summary)),
        plain_field(",".join(summary.tags)),
    ]


def trash_table(entries: Sequence[TrashEntry], now: datetime, width: int) -> Table:
    """Return the entries that can be restored; a narrow list has no entry ids."""
    narrow = width < _NARROW
    rows = [
        [
            one_line(entry.session_id),
            entry.kind,
            f"{entry.message_count:,}",
            describe_age(entry.removed_at, now, short=narrow),
            describe_age(entry.expires_at, now, short=narrow) if entry.expires_at else "never",
            one_line(entry.title),
            entry.uid,
        ]
        for entry in entries
    ]
    columns = [
        Column("ID", "cyan", shrink=2, minimum=_unique_width([row[0] for row in rows])),
        Column("WHAT"),
        Column("MSGS" if narrow else "MESSAGES", right=True),
        Column("REMOVED", "dim"),
        Column("EXPIRES", "dim"),
        Column("TITLE", shrink=1),
        Column("ENTRY", "dim"),
    ]
    return Table(columns[:6], [row[:6] for row in rows]) if narrow else Table(columns, rows)


def trash_fields(entry: TrashEntry) -> list[str]:
    """Return id, kind, message count, removal time, expiry, title and entry id."""
    return [
        plain_field(entry.session_id),
        entry.kind,
        str(entry.message_count),
        format_time(entry.removed_at),
        format_time(entry.expires_at) if entry.expires_at else "",
        plain_field(entry.title),
        entry.uid,
    ]


def trash_record(entry: TrashEntry) -> dict[str, Any]:
    """Return the JSON form of a trash entry."""
    return {
        "entry": entry.uid,
        "id": entry.session_id,
        "kind": entry.kind,
        "title": entry.title,
        "message_count": entry.message_count,
        "removed_at": format_time(entry.removed_at),
        "expires_at": format_time(entry.expires_at) if entry.expires_at else None,
    }


def hit_fields(hit: SearchHit) -> list[str]:
    """Return id, position, creation time, role and snippet."""
    return [
        plain_field(hit.session_id),
        str(hit.position),
        format_time(hit.created_at),
        hit.role,
        plain_field(hit.snippet),
    ]


def hit_record(hit: SearchHit) -> dict[str, Any]:
    """Return the JSON form of a search hit; `matches` are the ranges of the matches in the snippet."""
    return {
        "session_id": hit.session_id,
        "title": hit.title,
        "message_id": hit.message_id,
        "position": hit.position,
        "role": hit.role,
        "created_at": format_time(hit.created_at),
        "snippet": hit.snippet,
        "matches": [list(pair) for pair in hit.matches],
    }


def pairs_table(title: str, pairs: Sequence[tuple[str, str]]) -> Table:
    """Return a table of names and values."""
    rows = [[one_line(name), one_line(value)] for name, value in pairs]
    return Table([Column(title, "cyan"), Column("VALUE", shrink=True)], rows)
