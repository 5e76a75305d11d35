"""Columns of a SQLite store, and conditions for queries and ranges."""

from __future__ import annotations

from typing import Any

from omniagent_cli.stores.backend import HEADER_COLUMNS, HeaderRow, ListQuery, RowRange

COUNTED = ", ".join(HEADER_COLUMNS[:-1])
HEADER = ", ".join(HEADER_COLUMNS)
ROW = "position, id, turn_id, role, created_at, status, payload"
UPDATE = f"UPDATE sessions SET {', '.join(f'{column} = ?' for column in HEADER_COLUMNS[1:])} WHERE key = ?"  # noqa: S608  # constants
# The columns an append changes. With more, SQLite would rewrite every index of the table.
# The index of a session's column `unindexed` has an entry only while the session has messages to index.
UNINDEXED = (
    "FROM sessions s INDEXED BY sessions_unindexed CROSS JOIN messages m INDEXED BY messages_place"
    " ON m.session = s.key AND m.position >= s.unindexed WHERE s.unindexed IS NOT NULL AND m.indexed = 0"
)
BUMP = (
    "UPDATE sessions SET updated_at = ?, modified_at = ?, model = ?, expires_at = ?, message_count = ?,"
    " next_position = ?, revision = ?, preview = ? WHERE key = ?"
)


def read_header(row: tuple[Any, ...]) -> HeaderRow:
    """Return the header of the columns in `HEADER`."""
    header = HeaderRow(*row)
    header.pinned, header.archived, header.hidden = bool(row[11]), bool(row[12]), bool(row[13])
    return header


def span_condition(session: int | None, span: RowRange) -> tuple[str, list[Any]]:
    """Return the condition that selects messages of a session, and its parameters."""
    where, values = "session = ?", [session]
    if span.first is not None:
        where += " AND position >= ?"
        values.append(span.first)
    if span.last is not None:
        where += " AND position <= ?"
        values.append(span.last)
    return where, values


def list_condition(query: ListQuery) -> tuple[str, list[Any]]:
    """Return the condition that selects the headers of a query without its cursor, and its parameters."""
    conditions: list[str] = ["1 = 1"]
    values: list[Any] = []
    for condition, value in (
        ("hidden = ?", query.hidden),
        ("archived = ?", query.archived),
        ("pinned = ?", query.pinned),
        ("agent_id = ?", query.agent_id),
        ("updated_at >= ?", query.updated_from),
        ("updated_at < ?", query.updated_before),
        ("(expires_at IS NULL OR expires_at > ?)", query.now),
        ("expires_at <= ?", query.expired_by),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if query.prefix:
        conditions.append("id >= ? AND substr(id, 1, ?) = ?")
        values += [query.prefix, len(query.prefix), query.prefix]
    return " AND ".join(conditions), values
