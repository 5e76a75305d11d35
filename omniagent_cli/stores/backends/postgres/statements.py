"""SQL statements of a PostgreSQL unit of work, and their parameters."""

from __future__ import annotations

from typing import Any

from omniagent_cli.stores.backend import HEADER_COLUMNS, ListQuery, RowRange

COUNTED = ", ".join(HEADER_COLUMNS[:-1])
HEADER = ", ".join(HEADER_COLUMNS)
ROW = "position, id, turn_id, role, created_at, status, payload"
KEY = "(SELECT key FROM $sessions WHERE uid = %s)"

LAST = 2**62
"""Position beyond every real one."""

WORDS = "array_to_tsvector(string_to_array(%s, ' '))"
_ONE = f"({KEY}, {WORDS}, %s, %s, %s, %s, %s, %s, %b)"
BATCHES = {
    size: f"INSERT INTO $messages (session, words, {ROW}) VALUES {', '.join([_ONE] * size)}"  # noqa: S608  # constants
    for size in (4, 2, 1)  # the driver caches how to read statements of up to 50 values
}
_MARKS = ", ".join("%b" if column in ("preview", "payload") else "%s" for column in HEADER_COLUMNS)
INSERT = f"INSERT INTO $sessions ({HEADER}) VALUES ({_MARKS})"  # noqa: S608  # constants
_SETS = ", ".join(
    f"{column} = {'%b' if column in ('preview', 'payload') else '%s'}"
    for column in HEADER_COLUMNS[1:]
)
UPDATE = f"UPDATE $sessions SET {_SETS} WHERE uid = %s"  # noqa: S608  # constants
BUMP = (
    "UPDATE $sessions SET updated_at = %s, modified_at = %s, model = %s, expires_at = %s, message_count = %s,"
    " next_position = %s, revision = %s, preview = %b WHERE uid = %s"
)
SPAN = f"session = {KEY} AND position >= %s AND position <= %s"


def span_values(uid: str, span: RowRange) -> tuple[str, int, int]:
    """Return the parameters of `SPAN`."""
    first = 0 if span.first is None else span.first
    return uid, first, LAST if span.last is None else span.last


def conditions(query: ListQuery) -> tuple[str, list[Any]]:
    """Return the conditions of `ListQuery.accepts` in SQL, and their parameters."""
    wanted: list[str] = ["true"]
    values: list[Any] = []
    for condition, value in (
        ("hidden = %s", query.hidden),
        ("archived = %s", query.archived),
        ("pinned = %s", query.pinned),
        ("agent_id = %s", query.agent_id),
        ("updated_at >= %s", query.updated_from),
        ("updated_at < %s", query.updated_before),
        ("(expires_at IS NULL OR expires_at > %s)", query.now),
        ("expires_at <= %s", query.expired_by),
    ):
        if value is not None:
            wanted.append(condition)
            values.append(value)
    if query.prefix:
        wanted.append("id >= %s AND starts_with(id, %s)")
        values += [query.prefix, query.prefix]
    return " AND ".join(wanted), values
