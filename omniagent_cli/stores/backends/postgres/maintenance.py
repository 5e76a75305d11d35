"""Maintenance of a PostgreSQL store: vacuum, server facts, and the check of its tables."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from omniagent_cli.errors import StoreLocked, StoreReadOnly
from omniagent_cli.json_format import format_time, load
from omniagent_cli.models import content_text, new_uid
from omniagent_cli.stores.backend import Problem
from omniagent_cli.stores.backends.postgres.errors import message_of, translate_error
from omniagent_cli.stores.backends.postgres.full_text import index_words
from omniagent_cli.stores.backends.postgres.schema import TABLES, indexes, qualified, transaction
from omniagent_cli.stores.backends.postgres.unit import PostgresUnit

if TYPE_CHECKING:
    from omniagent_cli.stores.backends.postgres.connection import StoreConnection
    from omniagent_cli.stores.backends.postgres.location import StoreAddress

_FULL = "sessions", "messages", "records"

_PAUSES_SECONDS = (0.0, 0.2, 1.0, 3.0)
"""Pauses before each attempt to rewrite a table, because the server's autovacuum may be reading it."""


def vacuum(connection: StoreConnection, schema: str, place: str) -> None:
    """Make the space of removed rows reusable, outside of any transaction.

    Raises:
        StoreReadOnly: the user may not vacuum the tables.
    """
    with _warnings(connection) as skipped:
        connection.execute(
            qualified(f"VACUUM (ANALYZE) {', '.join(f'${table}' for table in _FULL)}", schema)
        )
    if skipped:
        raise StoreReadOnly(
            f"the tables of {place} were not compacted ({skipped[0]}); run it as their owner"
        )


def rewrite(connection: StoreConnection, schema: str, place: StoreAddress) -> None:
    """Rewrite the tables that contain text, without removed rows.

    Raises:
        StoreUnavailable: some removed content is still in the files; the subclass and the message say why.
    """
    waiting = list(_FULL)
    # A pooler's session keeps no lock_timeout, so a table in use is skipped there instead of waited for.
    options = "FULL, VERBOSE, SKIP_LOCKED" if connection.pooled else "FULL, VERBOSE"
    why = "an older transaction on the server may read it"
    try:
        for pause in _PAUSES_SECONDS:
            time.sleep(pause)
            for table in tuple(waiting):
                with _warnings(connection) as kept:
                    connection.execute(qualified(f"VACUUM ({options}) ${table}", schema))
                if not kept:
                    waiting.remove(table)
                elif not kept[0].isdigit():
                    why = kept[0]
            if not waiting:
                return
    except psycopg.Error as error:
        if isinstance(error, psycopg.errors.DiskFull):
            # There is no room for a second copy, but the room of the removed rows can be used again.
            with suppress(psycopg.Error):
                tables = ", ".join(f"${name}" for name in _FULL)
                connection.execute(qualified(f"VACUUM {tables}", schema))
        cause = type(translate_error(error, place))
        raise cause(_left_behind(waiting, schema, place, message_of(error, place))) from error
    raise StoreLocked(_left_behind(waiting, schema, place, why))


def _left_behind(tables: Sequence[str], schema: str, place: StoreAddress, why: str) -> str:
    names = ", ".join(f'"{schema}".{table}' for table in tables)
    return (
        f"the content was removed, but it is still in the files of {place.url}: {why}."
        f" When that is over, run as the owner in psql: VACUUM FULL {names}"
    )


@contextmanager
def _warnings(connection: StoreConnection) -> Iterator[list[str]]:
    """Collect the warnings of VACUUM, and the numbers of removed rows that it could not remove."""
    heard: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        # "5 dead row versions cannot be removed yet.", in the server's language
        number = re.match(r"\d+", notice.message_detail or "")
        if notice.severity_nonlocalized == "WARNING":
            heard.append(notice.message_primary or "skipped")
        elif number and int(number.group()):
            heard.append(number.group())

    connection.add_notice_handler(hear)
    try:
        yield heard
    finally:
        connection.remove_notice_handler(hear)


def copy_tables(connection: StoreConnection, schema: str, target: str) -> None:
    """Copy every table, as of one moment, to a new schema."""
    with transaction(connection):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute(f'CREATE SCHEMA "{target}"'.encode())
        for table in TABLES:
            connection.execute(
                qualified(f'CREATE TABLE "{target}".{table} AS TABLE ${table}', schema)
            )


def server_facts(unit: PostgresUnit) -> dict[str, Any]:
    """Return the facts of `info` about the server and the tables."""
    messages, size, server, ssl, commit, fsync = unit.execute(
        "SELECT (SELECT count(*) FROM $messages),"
        " (SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest(%s::text[]) name),"
        " current_setting('server_version'),"
        " coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),"
        " current_setting('synchronous_commit'), current_setting('fsync')",
        [[unit.name_of(table) for table in TABLES]],
    ).fetchone() or (0, 0, "", False, "", "")
    return {
        "schema_version": unit.version(),
        "messages": messages,
        "bytes": size,
        "server_version": server,
        "ssl": ssl,
        "synchronous_commit": commit,
        "fsync": fsync,
    }


class PostgresCheck:
    """The check of one store, in one transaction."""

    def __init__(self, unit: PostgresUnit, *, repair: bool) -> None:
        self._unit = unit
        self._repair = repair
        self._found: list[Problem] = []

    def problems(self, *, encrypted: bool) -> list[Problem]:
        """Return the problems, repaired if requested."""
        self._unit.lift_limits()
        self._check_indexes()
        self._check_owners()
        if not encrypted:
            self._check_words()
        return self._found

    def _report(self, what: str, repair: Callable[[], object]) -> None:
        if self._repair:
            self._unit.wrote = True
            repair()
        self._found.append(Problem(what, repaired=self._repair))

    def _check_indexes(self) -> None:
        there = {
            name
            for (name,) in self._unit.execute(
                "SELECT c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid"
                " JOIN pg_class t ON t.oid = i.indrelid WHERE i.indisvalid AND t.oid IN"
                " (%s::regclass, %s::regclass, %s::regclass)",
                [self._unit.name_of(table) for table in _FULL],
            )
        }
        for name, statement in indexes().items():
            if name not in there:
                self._report(
                    f"the store's {name} is missing", partial(self._unit.execute, statement)
                )

    def _check_owners(self) -> None:
        """Give rows without a session a session of their own; its counts are repaired later."""
        for table in ("messages", "records"):
            orphans = self._unit.execute(
                f"SELECT session, count(*) FROM ${table} r"  # noqa: S608  # constants
                " WHERE NOT EXISTS (SELECT FROM $sessions s WHERE s.key = r.session) GROUP BY session"
            ).fetchall()
            for session, count in orphans:
                self._report(f"{count} {table} without a session", partial(self._adopt, session))

    def _adopt(self, key: int) -> None:
        uid, moment = new_uid(), format_time(self._unit.now())
        self._unit.execute(
            "INSERT INTO $sessions (key, uid, id, created_at, updated_at, agent_id, model, message_count, next_position,"
            " revision, pinned, archived, hidden, preview, payload)"
            " VALUES (%s, %s, %s, %s, %s, '', '', 0, 0, 1, false, false, false, '', '{}')",
            (key, uid, f"recovered-{uid}", moment, moment),
        )

    def _check_words(self) -> None:
        wrong = 0
        pages = self._unit.stream(
            "SELECT session, position, payload, array_to_string(tsvector_to_array(words), ' ') FROM $messages"
            " WHERE words IS NOT NULL"
        )
        for page in pages:
            for session, position, payload, indexed in page:
                text = _text_of(payload)
                words = None if text is None else index_words(text)
                if text is None or _same(words, indexed):
                    continue
                wrong += 1
                if self._repair:
                    self._index(session, position, words)
        if wrong:
            self._report(f"the search index is wrong for {wrong} messages", lambda: None)

    def _index(self, session: int, position: int, words: str | None) -> None:
        self._unit.wrote = True
        self._unit.execute(
            "UPDATE $messages SET words = array_to_tsvector(string_to_array(%s, ' '))"
            " WHERE session = %s AND position = %s",
            (words, session, position),
        )


def _same(words: str | None, indexed: str) -> bool:
    return words is not None and set(words.split(" ")) == set(indexed.split(" "))


def _text_of(payload: bytes) -> str | None:
    """Return the text to index of a message, or None if it cannot be read, which is reported elsewhere."""
    try:
        return content_text(load(payload)["content"])
    except (ValueError, TypeError, KeyError):
        return None
