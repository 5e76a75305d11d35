"""Check of a SQLite store file: pages, indexes, rows without a session, and the search index."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from omniagent_cli.json_format import format_time
from omniagent_cli.models import new_uid
from omniagent_cli.stores.backend import Problem
from omniagent_cli.stores.backends.sqlite.deferred_index import text_of
from omniagent_cli.stores.backends.sqlite.schema import Migration
from omniagent_cli.text.tokenize import words

_ADOPT = (
    "INSERT INTO sessions (key, uid, id, created_at, updated_at, agent_id, model, message_count, next_position,"
    " revision, pinned, archived, hidden, preview, payload, unindexed)"
    " VALUES (?, ?, ?, ?, ?, '', '', 0, 0, 1, 0, 0, 0, x'', x'7b7d', 0)"
)


class FileCheck:
    """The check of one SQLite file, in one transaction."""

    def __init__(
        self, connection: sqlite3.Connection, migrations: Sequence[Migration], *, repair: bool
    ) -> None:
        self._connection = connection
        self._migrations = migrations
        self._repair = repair
        self._found: list[Problem] = []

    def problems(self, now: datetime, *, encrypted: bool) -> list[Problem]:
        """Return the problems, repaired if requested."""
        self._check_schema()
        self._check_pages()
        self._check_owners(now)
        if not encrypted:
            self._check_words()
        return self._found

    def _report(self, what: str, repair: Callable[[], object]) -> None:
        if self._repair:
            repair()
        self._found.append(Problem(what, repaired=self._repair))

    def _all(self, query: str) -> list[tuple[object, ...]]:
        return self._connection.execute(query).fetchall()

    def _check_schema(self) -> None:
        """Compare indexes and triggers with those of a new store."""
        query = "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
        fresh = sqlite3.connect(":memory:", isolation_level=None)
        try:
            for step in self._migrations:
                step(fresh)
            wanted = fresh.execute(query).fetchall()
        finally:
            fresh.close()
        there = {name for name, _ in self._all(query)}
        for name, sql in wanted:
            if name not in there:
                repair = partial(self._connection.execute, sql)
                self._report(f"{name} of the schema is missing", repair)

    def _check_pages(self) -> None:
        lines = [str(line) for (line,) in self._all("PRAGMA integrity_check(20)")]
        if lines == ["ok"]:
            return
        repaired = False
        if self._repair:
            self._connection.execute("REINDEX")
            self._connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
            repaired = self._all("PRAGMA integrity_check(1)") == [("ok",)]
        self._found += [Problem(f"SQLite: {line}", repaired=repaired) for line in lines]

    def _check_owners(self, now: datetime) -> None:
        """Give rows without a session a session of their own; its counts are repaired later."""
        for table in ("messages", "records"):
            orphans = self._all(
                f"SELECT session, count(*) FROM {table}"  # noqa: S608  # constants
                " WHERE session NOT IN (SELECT key FROM sessions) GROUP BY session"
            )
            for session, count in orphans:
                repair = partial(self._adopt, session, now)
                self._report(f"{count} {table} without a session", repair)

    def _adopt(self, key: object, now: datetime) -> None:
        uid, moment = new_uid(), format_time(now)
        self._connection.execute(_ADOPT, (key, uid, f"recovered-{uid}", moment, moment))

    def _check_words(self) -> None:
        extra = self._all(
            "SELECT count(*) FROM words WHERE rowid NOT IN (SELECT key FROM messages WHERE indexed = 1)"
        )[0][0]
        if extra:
            self._report(
                f"the search index has {extra} messages that do not exist", self._drop_extra
            )
        wrong = 0
        rows = self._connection.execute(
            "SELECT m.key, m.payload, words.text FROM messages m LEFT JOIN words ON words.rowid = m.key"
            " WHERE m.indexed = 1"
        )
        for key, payload, indexed in rows:
            text = text_of(payload)
            if text is None or text == indexed:
                continue
            # Earlier versions also stored what separates the words.
            if indexed is None or words(indexed) != text.split():
                wrong += 1
                if self._repair:
                    self._index(key, text)
        if wrong:
            self._report(f"the search index is wrong for {wrong} messages", lambda: None)

        lost = "FROM messages WHERE session = sessions.key AND indexed = 0 AND position < coalesce(unindexed, 1 << 62)"
        hidden = self._all(f"SELECT count(*) FROM sessions WHERE EXISTS (SELECT 1 {lost})")[0][0]  # noqa: S608
        if hidden:
            self._report(
                f"{hidden} sessions have messages that a search skips",
                lambda: self._all(
                    f"UPDATE sessions SET unindexed = 0 WHERE EXISTS (SELECT 1 {lost})"  # noqa: S608
                ),
            )

    def _drop_extra(self) -> None:
        self._connection.execute(
            "DELETE FROM words WHERE rowid NOT IN (SELECT key FROM messages WHERE indexed = 1)"
        )

    def _index(self, key: int, text: str) -> None:
        self._connection.execute("DELETE FROM words WHERE rowid = ?", (key,))
        self._connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (key, text))
