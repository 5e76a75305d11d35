"""Looking for damage and mending it: real damage, done behind the store's back, and nothing lost by the repair."""

import sqlite3
from contextlib import closing

import pytest

from omniagent_cli.errors import CorruptSession, StoreClosed
from omniagent_cli.models import Message
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
from omniagent_cli.stores.backends.memory import MemoryStore
from omniagent_cli.stores.backends.sqlite.store import SqliteStore


def fill(store):
    store.append(
        "s", [Message("user", "apple"), Message("assistant", "pear"), Message("user", "plum")]
    )
    store.set_metadata("s", "k", 1)
    store.put_attachment("s", "a" * 64, {"name": "f"})
    store.put_summary("s", 1, {"text": "x"})
    store.append("t", Message("user", "grape"))
    store.trim("t", 0)
    store.append("gone", Message("user", "melon"))
    store.delete("gone")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "sessions.db"
    with SqliteStore(path) as store:
        fill(store)
        store.append("indexed", [Message("user", "kiwi")] * 9)  # fewer are indexed later
    return path


def damage(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def told(problems):
    return sorted({(p.session_id, p.repaired) for p in problems}, key=str)


SESSION = "(SELECT key FROM sessions WHERE id = 's')"
BROKEN = f"UPDATE messages SET payload = x'7b22636f6e74656e74223a2270656172' WHERE session = {SESSION} AND position = 1"


@pytest.mark.parametrize("backend", ["memory", "sqlite", "file"])
def test_a_sound_store_has_no_problems(tmp_path, backend):
    """A store in which everything was done once is found sound, and a repair changes nothing."""
    opened = {
        "memory": MemoryStore,
        "sqlite": lambda: SqliteStore(tmp_path / "sessions.db"),
        "file": lambda: JsonlFilesStore(tmp_path / "sessions"),
    }[backend]()
    with opened as store:
        assert store.check() == []
        fill(store)
        before = store.list(), store.trash(), store.get("s")
        uid = store.header("s").uid
        store.checkpoint("s", Message("assistant", "so far"), uid=uid)
        store.truncate_from("s", 3)
        assert store.check() == store.check(repair=True) == []
        assert store.get("s").messages == before[2].messages
    with pytest.raises(StoreClosed):
        store.check()


MENDS = {
    "count": ("UPDATE sessions SET message_count = 7 WHERE id = 's'", "s"),
    "next position": ("UPDATE sessions SET next_position = 1 WHERE id = 's'", "s"),
    "preview": ("UPDATE sessions SET preview = x'227822' WHERE id = 's'", "s"),
    "unreadable preview": ("UPDATE sessions SET preview = x'22' WHERE id = 's'", "s"),
    "pinned": ("UPDATE sessions SET pinned = 1 WHERE id = 's'", "s"),
    "time": ("UPDATE sessions SET expires_at = 'tomorrow' WHERE id = 's'", "s"),
    "header": ("UPDATE sessions SET payload = x'7b' WHERE id = 's'", "s"),
    "hidden header": (
        "UPDATE sessions SET payload = x'7b' WHERE hidden AND message_count = 1",
        None,
    ),
    "message": (BROKEN, "s"),
    "message beginning with zero": (BROKEN.replace("x'7b", "x'00"), "s"),
    "record": ("UPDATE records SET payload = x'7b'", "s"),
    "words missing": ("DELETE FROM words", None),
    "words too many": ("INSERT INTO words (rowid, text) VALUES (5, 'ghost')", None),
    "words wrong": ("UPDATE words SET text = 'ghost'", None),
    "index": ("DROP INDEX messages_place", None),
    "trigger": ("DROP TRIGGER messages_removed", None),
    "orphan messages": (f"UPDATE messages SET session = 77 WHERE session = {SESSION}", None),
    "orphan records": (f"UPDATE records SET session = 78 WHERE session = {SESSION}", None),
}


@pytest.mark.parametrize("kind", MENDS)
def test_damage_is_found_and_mended(path, kind):
    """Each kind of damage is found, mended after the store was copied, and gone afterwards."""
    statement, session_id = MENDS[kind]
    damage(path, statement)
    with SqliteStore(path) as store:
        problems = store.check()
        assert problems
        assert all(not p.repaired for p in problems)
        if session_id:
            assert session_id in {p.session_id for p in problems}
        assert store.check() == problems, "looking alone changes nothing"
        mended = store.check(repair=True)
        assert all(p.repaired for p in mended)
        assert store.check() == []
        assert sorted(p.name for p in path.parent.glob("*before-repair*")) == [
            mended.copied_to.rpartition("/")[2]
        ]
        for summary in store.list():
            store.get(summary.id)
            assert store.count_messages(summary.id) == len(store.messages(summary.id))
    with SqliteStore(mended.copied_to) as copy:
        assert copy.check() != []


def test_an_unreadable_message_keeps_its_place_and_its_bytes(path):
    """What can be read of a broken message is shown where it stood, and its bytes are kept with it."""
    damage(path, BROKEN)
    with SqliteStore(path) as store:
        with pytest.raises(CorruptSession):
            store.get("s")
        (problem,) = store.check(repair=True)
        assert "position 1" in problem.what
        one, broken, three = store.messages("s")
        assert (one.text, three.text) == ("apple", "plum")
        assert broken.position == 1
        assert "pear" in broken.text
        assert broken.status == "failed"
        assert broken.record["extra"]["damaged"] == "eyJjb250ZW50IjoicGVhcg=="
        assert [hit.position for hit in store.search("pear")] == [1]


def test_messages_of_nobody_become_a_session(path):
    """Rows whose session is gone are given one, and every word is found there."""
    damage(path, f"UPDATE messages SET session = 77 WHERE session = {SESSION}")
    with SqliteStore(path) as store:
        store.check(repair=True)
        (recovered,) = [s.id for s in store.list() if s.id.startswith("recovered-")]
        assert [m.text for m in store.messages(recovered)] == ["apple", "pear", "plum"]
        assert store.summary(recovered).preview == "plum"
        assert store.messages("s") == []
        store.append(recovered, Message("user", "on"))
        assert store.messages(recovered)[-1].position == 3


def test_a_broken_header_keeps_its_messages_and_its_bytes(path):
    """A session whose title and metadata cannot be read is listed again, with all messages."""
    damage(path, "UPDATE sessions SET payload = x'7b' WHERE id = 's'")
    with SqliteStore(path) as store:
        store.check(repair=True)
        session = store.get("s")
        assert [m.text for m in session.messages] == ["apple", "pear", "plum"]
        assert session.metadata == {"damaged": "ew=="}


def test_broken_trash_can_be_restored(path):
    """What was deleted and then damaged comes back under a name of its own."""
    damage(
        path,
        "UPDATE sessions SET payload = x'7b' WHERE hidden AND message_count = 1 AND uid = substr(id, 2)",
    )
    with SqliteStore(path) as store:
        store.check(repair=True)
        names = [entry.session_id for entry in store.trash()]
        assert any(name.startswith("damaged-") for name in names)
        for entry in store.trash():
            store.restore(uid=entry.uid, as_id=f"back-{entry.uid}")
        assert len(store.search("melon")) == 1


def test_pages_beyond_repair_are_told(path):
    """Damage that cannot be mended stays told as such, and the check does not break."""
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'messages'"
        ).fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[(root - 1) * 4096 : (root - 1) * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)
    with SqliteStore(path) as store:
        problems = store.check()
        assert problems
        assert not any(p.repaired for p in problems)


def test_a_damaged_line_of_a_file_is_told(tmp_path):
    """A broken line in the middle of a session file is told with the session it belongs to."""
    with JsonlFilesStore(tmp_path / "sessions") as store:
        fill(store)
    (log,) = [p for p in (tmp_path / "sessions").glob("*.jsonl") if p.name.startswith("s.")]
    data = log.read_bytes()
    log.write_bytes(data.replace(b'"pear"', b'"pe\x00r"', 1))
    with JsonlFilesStore(tmp_path / "sessions") as store:
        problems = store.check()
        assert "s" in {p.session_id for p in problems}
        assert store.messages("t") == []
