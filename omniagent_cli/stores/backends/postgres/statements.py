"""SQL statements of a PostgreSQL unit of work, and their parameters."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from omniagent_cli.stores.backend import HEADER_COLUMNS, ListQuery, RowRange
from omniagent_cli.stores.backends.postgres.connection import Limits

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


@lru_cache(maxsize=16)
def first_query(limits: Limits, *, write: bool, durable: bool) -> str:
    """Return the first query of a transaction: facts about the store, and the settings of this transaction only.

    A session may be shared with other programs, by a pooler, so nothing outlives the transaction. Columns: time (UTC),
    version of the tables, encryption manifest, process of the session, transaction id of a writer.
    """
    settings = {"statement_timeout": f"{limits.statement * 1000:.0f}", "jit": "off"}
    identifier = "NULL::bigint"
    if write:
        settings["lock_timeout"] = f"{limits.lock * 1000:.0f}"
        identifier = "CASE WHEN pg_is_in_recovery() THEN NULL ELSE txid_current() END"
        if not durable:
            settings["synchronous_commit"] = "off"
    columns = [f"set_config('{name}', '{value}', true)" for name, value in settings.items()]
    if write and durable:
        columns.append(
            "CASE WHEN current_setting('synchronous_commit') = 'off'"
            " THEN set_config('synchronous_commit', 'on', true) END"
        )
    return (
        "SELECT now() AT TIME ZONE 'UTC', max(version), (SELECT value FROM $meta WHERE key = 'encryption'),"  # noqa: S608  # numbers
        f" pg_backend_pid(), {identifier}, {', '.join(columns)} FROM $omniagent_store"
    )


COMMITTED = (
    "SELECT txid_status(%s), %s::text IS NULL OR EXISTS"  # noqa: S608  # constants
    f" (SELECT FROM $messages WHERE session = {KEY} AND position = %s AND id = %s)"
)
"""State of a transaction, and whether its last message is stored: a failover can give its id to another transaction."""


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
