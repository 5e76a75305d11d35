"""The schema of a SQLite store, and the migrations that lead to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

ENCRYPTED_FLAG = 1 << 16
"""Flag in ``user_version`` of an encrypted store. Every write reads ``user_version`` anyway, and an omniagent without
encryption refuses the store because of its newer version.
"""

_SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    key INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    id TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    model TEXT NOT NULL,
    ttl_seconds REAL,
    expires_at TEXT,
    message_count INTEGER NOT NULL,
    next_position INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    pinned INTEGER NOT NULL,
    archived INTEGER NOT NULL,
    hidden INTEGER NOT NULL,
    preview BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX sessions_updated ON sessions (hidden, archived, pinned, updated_at, id);
CREATE INDEX sessions_created ON sessions (hidden, archived, pinned, created_at, id);
CREATE TABLE messages (
    key INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    id TEXT NOT NULL,
    turn_id TEXT,
    role TEXT NOT NULL,
    created_at TEXT NOT NULL,
    status TEXT,
    indexed INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_place ON messages (session, position);
CREATE INDEX messages_unindexed ON messages (session, key) WHERE indexed = 0;
CREATE TABLE records (
    session INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (session, kind, key)
) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(text, columnsize=0, tokenize='ascii');
CREATE TRIGGER messages_removed AFTER DELETE ON messages WHEN old.indexed = 1 BEGIN
    DELETE FROM words WHERE rowid = old.key;
END;
"""


def _create(connection: sqlite3.Connection) -> None:
    for statement in _statements(_SCHEMA_1):
        connection.execute(statement)


def _add_modified_at(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE sessions ADD COLUMN modified_at TEXT")


_SCHEMA_3 = """
ALTER TABLE sessions ADD COLUMN unindexed INTEGER;
UPDATE sessions SET unindexed =
    (SELECT min(position) FROM messages WHERE session = sessions.key AND indexed = 0);
DROP INDEX messages_unindexed;
CREATE INDEX sessions_unindexed ON sessions (key) WHERE unindexed IS NOT NULL;
"""
# An index of the messages would be one more page to write with each append.


def _track_unindexed(connection: sqlite3.Connection) -> None:
    for statement in _statements(_SCHEMA_3):
        connection.execute(statement)


def _statements(script: str) -> Iterator[str]:
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


Migration = Callable[[sqlite3.Connection], None]

MIGRATIONS: tuple[Migration, ...] = (_create, _add_modified_at, _track_unindexed)
"""Step n migrates a store from version n to n + 1; released steps are never changed."""
