"""Deferred search indexing: short messages, and copies of others, are indexed after their commit, in batches.

Indexing a short message takes as long as storing it, and text read in a transaction would prolong it. Rows with
``indexed = 0`` are candidates of every search, so a message is found before it is indexed, also after a crash. As soon
as there are many, they are indexed before the next search, or when a writer closes the store. ``unindexed`` of their
session is the lowest position they can have.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence

from omniagent_cli.errors import OmniAgentError
from omniagent_cli.json_format import load
from omniagent_cli.models import Message, content_text
from omniagent_cli.stores.backends.sqlite.rows import UNINDEXED
from omniagent_cli.stores.encryption.codec import PayloadCodec
from omniagent_cli.text.tokenize import index_text

MOST_MESSAGES = 8
"""Messages of one append up to which indexing is deferred; a larger batch is cheaper to index with its commit."""

MOST_BYTES = 1 << 20
"""Bytes of UTF-8 of one append up to which indexing is deferred."""

AT_CLOSE = 1000
"""Maximum number of messages that are indexed when a store is closed."""

AT_CLOSE_BYTES = 1 << 23
"""Bytes of messages after which no more are indexed when a store is closed."""

READ_UNINDEXED = 100
"""Number of messages that a search reads; more are indexed first."""

READ_BYTES = 1 << 20
"""Bytes of messages that a search reads; more are indexed first."""

_BATCH = 200
"""Messages per transaction, because other writers wait for it."""

_BATCH_BYTES = 1 << 20
"""Bytes of messages after which a transaction ends."""

Row = tuple[int, int, int, bytes]
"""Session, position, key and payload of a message."""


_NEXT_UNINDEXED = (
    "UPDATE sessions SET unindexed = (SELECT position FROM messages WHERE session = sessions.key"
    " AND position >= sessions.unindexed AND indexed = 0 ORDER BY position LIMIT 1) WHERE key = ?"
)


def is_deferred(messages: Sequence[Message]) -> bool:
    """Return True if messages that are appended in one step are indexed later."""
    size = 0
    for message in messages:
        content = message.record["content"]
        size += len(
            (content if type(content) is str else content_text(content)).encode(
                "utf-8", "surrogatepass"
            )
        )
    return size <= MOST_BYTES and len(messages) <= MOST_MESSAGES


def text_of(payload: bytes) -> str | None:
    """Return the text to index of a message, or None if it cannot be read, which is reported elsewhere."""
    try:
        data = PayloadCodec().decode("message", (), payload)
        return index_text(content_text(load(data)["content"]))
    except (OmniAgentError, ValueError, TypeError, KeyError):
        return None


def has_many_unindexed(connection: sqlite3.Connection) -> bool:
    """Return True if there are so many that a search should not read them all."""
    query = f"SELECT length(m.payload) {UNINDEXED} LIMIT ?"
    sizes = [size for (size,) in connection.execute(query, (READ_UNINDEXED + 1,))]
    return len(sizes) > READ_UNINDEXED or sum(sizes) > READ_BYTES


def catch_up(connection: sqlite3.Connection, version: int, *, at_close: bool = False) -> None:
    """Index messages that are not indexed, in short transactions.

    Args:
        connection: a connection outside of any transaction.
        version: the ``user_version`` of a plain store with the known schema; any other store is left alone.
        at_close: index no more than a store does when it is closed.

    Raises:
        sqlite3.Error: another process holds the lock, or the disk is full; the rest is still to be indexed.
    """
    session, position, count, size = 0, 0, 0, 0
    while not at_close or (count < AT_CLOSE and size < AT_CLOSE_BYTES):
        rows = _batch(connection, session, position)
        if not rows or not _index(connection, version, rows):
            return
        session, position, _, _ = rows[-1]
        count += len(rows)
        size += sum(len(payload) for *_, payload in rows)


def _batch(connection: sqlite3.Connection, session: int, position: int) -> list[Row]:
    """Return the messages after a position that are indexed in the next transaction."""
    query = (
        f"SELECT s.key, m.position, m.key, m.payload {UNINDEXED} AND (s.key > ? OR s.key = ? AND m.position > ?)"
        " ORDER BY s.key, m.position LIMIT ?"
    )
    rows: list[Row] = []
    size = 0
    with contextlib.closing(
        connection.execute(query, (session, session, position, _BATCH))
    ) as found:
        for row in found:
            rows.append(row)
            size += len(row[3])
            if size >= _BATCH_BYTES:
                break
    return rows


def _index(connection: sqlite3.Connection, version: int, rows: Sequence[Row]) -> bool:
    """Index messages that were not changed since they were read; return False if the store was changed."""
    texts = [text_of(payload) for *_, payload in rows]  # before the transaction
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone() != (version,):
            connection.execute("ROLLBACK")
            return False
        for (_, _, key, payload), text in zip(rows, texts, strict=True):
            if text is None:
                continue
            changed = connection.execute(
                "UPDATE messages SET indexed = 1 WHERE key = ? AND indexed = 0 AND payload = ?",
                (key, payload),
            )
            if changed.rowcount:
                connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (key, text))
        sessions = {(session,) for session, *_ in rows}
        connection.executemany(_NEXT_UNINDEXED, sessions)
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return True
