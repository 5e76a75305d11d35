"""SQL statements of a PostgreSQL unit of work, and their parameters."""

from __future__ import annotations

from typing import Any

from omniagent_cli.stores.backend import HeaderRow, ListQuery, RowRange

COUNTED = (
    "uid, id, created_at, updated_at, agent_id, model, ttl_seconds, expires_at, message_count, next_position,"
    " revision, pinned, archived, hidden, preview"
)
HEADER = f"{COUNTED}, payload"
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
_COLUMNS = [column.strip() for column in HEADER.split(",")]
_MARKS = ", ".join("%b" if column in ("preview", "payload") else "%s" for column in _COLUMNS)
INSERT = f"INSERT INTO $sessions ({HEADER}) VALUES ({_MARKS})"  # noqa: S608  # constants
_SETS = ", ".join(
    f"{column} = {'%b' if column in ('preview', 'payload') else '%s'}" for column in _COLUMNS[1:]
)
UPDATE = f"UPDATE $sessions SET {_SETS} WHERE uid = %s"  # noqa: S608  # constants
BUMP = (
    "UPDATE $sessions SET updated_at = %s, model = %s, expires_at = %s, message_count = %s, next_position = %s,"
    " revision = %s, preview = %b WHERE uid = %s"
)
SPAN = f"session = {KEY} AND position >= %s AND position <= %s"


def header_values(header: HeaderRow) -> tuple[Any, ...]:
    """Return the parameters of `HEADER`."""
    return (
        header.uid,
        header.id,
        header.created_at,
        header.updated_at,
        header.agent_id,
        header.model,
        header.ttl_seconds,
        header.expires_at,
        header.message_count,
        header.next_position,
        header.revision,
        header.pinned,
        header.archived,
        header.hidden,
        header.preview,
        header.payload or b"",
    )


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
