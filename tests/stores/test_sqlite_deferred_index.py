"""The search index of a SQLite store, which follows the commit of short messages."""

import os
import signal
import sqlite3
from contextlib import closing

import pytest

from omniagent_cli.models import Message
from omniagent_cli.stores import with_compression
from omniagent_cli.stores.backends.sqlite.deferred_index import READ_UNINDEXED
from omniagent_cli.stores.backends.sqlite.store import SqliteStore

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


def indexed(path):
    """Return the texts of the index and the number of messages that are not in it."""
    with closing(sqlite3.connect(path)) as connection:
        texts = [text for (text,) in connection.execute("SELECT text FROM words ORDER BY rowid")]
        query = "SELECT count(*) FROM messages WHERE indexed = 0"
        return texts, connection.execute(query).fetchone()[0]


def fill(store, session_id="filler"):
    """Append so many messages that the next search, or the end of the store, indexes all."""
    for number in range(READ_UNINDEXED + 1):
        store.append(session_id, Message("user", f"filler{number}"))


def found(store, query):
    return [(hit.session_id, hit.position) for hit in store.search(query, limit=None)]


def test_a_short_message_is_found_before_it_is_indexed(path):
    """A search sees every commit, of any handle, whether it is indexed or not."""
    with SqliteStore(path) as store, SqliteStore(path) as other:
        store.append("s", [Message("user", "Äpfel"), Message("assistant", "pears")])
        assert found(store, "apfel") == found(other, "apfel") == [("s", 0)]
        assert store.check() == []
    assert indexed(path) == ([], 2)
    with SqliteStore(path) as store:
        assert found(store, "pea*") == [("s", 1)]
        fill(store)
    texts, left = indexed(path)
    assert (texts[:2], left) == (["apfel", "pears"], 0)
    with SqliteStore(path) as store:
        assert found(store, "pea*") == [("s", 1)]
        assert store.check() == []


def test_many_messages_are_indexed_before_a_search(path):
    """A search indexes a long backlog first, and finds the same as without an index."""
    with with_compression(SqliteStore(path)) as store:
        for number in range(150):
            store.append("s", Message("user", f"word{number} " + "common " * 40))
        assert indexed(path)[1] == 150
        assert found(store, "word77") == [("s", 77)]
        assert indexed(path)[1] == 0
        assert found(store, "common") == [("s", n) for n in reversed(range(150))]
        assert store.check() == []


def test_large_messages_are_indexed_before_a_search(path):
    """A search indexes a few large messages first, of any script, rather than read them each time."""
    with SqliteStore(path) as store:
        for number in range(5):
            store.append("s", Message("user", f"word{number} \udcff " + "中文" * 100_000))
        store.fork("s", "copy")
        assert indexed(path)[1] == 10
        assert sorted(found(store, "word3")) == [("copy", 3), ("s", 3)]
        assert indexed(path)[1] == 0
        assert store.check() == []


def test_a_killed_process_leaves_nothing_unindexed(path):
    """What a killed process appended is found immediately, and indexed with the messages of other writers."""
    child = os.fork()
    if child == 0:
        SqliteStore(path).append("s", Message("user", "quokka"))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with SqliteStore(path, read_only=True) as store:
        assert found(store, "quokka") == [("s", 0)]
    assert indexed(path) == ([], 1)
    with SqliteStore(path) as store:
        fill(store)
    texts, left = indexed(path)
    assert ("quokka" in texts, left) == (True, 0)


def test_a_purge_leaves_no_word(path):
    """Purged messages leave no byte in the file, indexed or not."""
    with SqliteStore(path) as store:
        store.append("s", Message("user", "quokka"))
        fill(store, "s")
    with SqliteStore(path) as store:
        assert "quokka" in indexed(path)[0]
        store.append("s", Message("user", "wombat"))
        store.delete("s", purge=True)
        assert indexed(path) == ([], 0)
    for file in path.parent.iterdir():
        assert b"quokka" not in file.read_bytes(), file
        assert b"wombat" not in file.read_bytes(), file


def test_a_replaced_message_is_indexed_again(path):
    """A growing answer is indexed in its last version, also if it was indexed while it grew."""
    with SqliteStore(path) as store:
        uid = store.get_or_create("s").uid
        (answer,) = store.checkpoint("s", Message("assistant", "first"), uid=uid).messages
        fill(store)
        assert found(store, "first") == [("s", 0)]
        assert "first" in indexed(path)[0]
        answer.content = "second"
        store.checkpoint("s", answer, uid=uid, final=True)
        assert found(store, "first") == []
        assert found(store, "second") == [("s", 0)]
        fill(store)
    texts, left = indexed(path)
    assert ("first" in texts, "second" in texts, left) == (False, True, 0)


def test_an_encrypted_store_gets_no_words(path):
    """A handle that appended plain text before another one encrypted the store writes none at its end."""
    store = SqliteStore(path)
    store.append("s", Message("user", "quokka"))
    fill(store)
    with SqliteStore(path) as other:
        other.encrypt(KEY)
    store.close()
    assert indexed(path)[0] == []
    for file in path.parent.iterdir():
        assert b"quokka" not in file.read_bytes(), file


def test_a_writer_is_not_waited_for(path):
    """Closing a store does not wait for another writer; the messages are indexed later."""
    store = SqliteStore(path)
    fill(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        store.close()
        blocker.execute("ROLLBACK")
    assert indexed(path) == ([], READ_UNINDEXED + 1)
    with SqliteStore(path) as store:
        assert found(store, "filler7") == [("filler", 7)]
    assert indexed(path)[1] == 0


def test_restored_messages_are_found(path):
    """Messages that were trimmed or deleted before they were indexed are found after they are restored."""
    with SqliteStore(path) as store:
        store.append("s", [Message("user", "quokka"), Message("assistant", "wombat")])
        store.trim("s", 1)
        assert found(store, "quokka") == []
        store.restore("s")
        assert found(store, "quokka") == [("s", 0)]
        store.fork("s", "copy")
        store.delete("s")
        assert found(store, "wombat") == [("copy", 1)]
        store.restore("s")
        assert sorted(found(store, "wombat")) == [("copy", 1), ("s", 1)]
        assert store.check() == []


def test_a_session_that_searches_would_skip(path):
    """The check reports a session whose unindexed messages are not recorded; the repair makes them found."""
    with SqliteStore(path) as store:
        store.append("s", Message("user", "quokka"))
        with closing(sqlite3.connect(path)) as meddler:
            meddler.execute("UPDATE sessions SET unindexed = NULL")
            meddler.commit()
        assert found(store, "quokka") == []
        assert [problem.what for problem in store.check()] == [
            "1 sessions have messages that a search skips"
        ]
        assert [problem.repaired for problem in store.check(repair=True)] == [True]
        assert (store.check(), found(store, "quokka")) == ([], [("s", 0)])
