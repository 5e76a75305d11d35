"""The SQLite store: what stands in the file, who may read it, and what is not ours is left alone."""

import os
import sqlite3
from contextlib import closing, suppress
from datetime import timedelta

import pytest

from omniagent_cli.errors import (
    NewerVersion,
    NotOurStore,
    StoreClosed,
    StoreCorrupt,
    StoreUnavailable,
    StoreUnreachable,
    UsageError,
)
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message
from omniagent_cli.stores import open_store
from omniagent_cli.stores.backends.sqlite.file_header import APPLICATION_ID
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
from omniagent_cli.testing import FakeClock

from .place import modes, snapshot

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID
CREATE TABLE sessions ( key INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, id TEXT NOT NULL UNIQUE, \
created_at TEXT NOT NULL, updated_at TEXT NOT NULL, agent_id TEXT NOT NULL, model TEXT NOT NULL, \
ttl_seconds REAL, expires_at TEXT, message_count INTEGER NOT NULL, next_position INTEGER NOT NULL, \
revision INTEGER NOT NULL, pinned INTEGER NOT NULL, archived INTEGER NOT NULL, hidden INTEGER NOT NULL, \
preview BLOB NOT NULL, payload BLOB NOT NULL ) STRICT
CREATE INDEX sessions_updated ON sessions (hidden, archived, pinned, updated_at, id)
CREATE INDEX sessions_created ON sessions (hidden, archived, pinned, created_at, id)
CREATE TABLE messages ( key INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions (key) \
ON DELETE CASCADE, position INTEGER NOT NULL, id TEXT NOT NULL, turn_id TEXT, role TEXT NOT NULL, \
created_at TEXT NOT NULL, status TEXT, indexed INTEGER NOT NULL, payload BLOB NOT NULL ) STRICT
CREATE UNIQUE INDEX messages_place ON messages (session, position)
CREATE INDEX messages_unindexed ON messages (session, key) WHERE indexed = 0
CREATE TABLE records ( session INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE, \
kind TEXT NOT NULL, key TEXT NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (session, kind, key) ) \
STRICT, WITHOUT ROWID
CREATE VIRTUAL TABLE words USING fts5(text, columnsize=0, tokenize='ascii')
CREATE TRIGGER messages_removed AFTER DELETE ON messages WHEN old.indexed = 1 BEGIN \
DELETE FROM words WHERE rowid = old.key; END
""".strip().split("\n")
"""The schema of version 1, which is never changed; each migration has its own effect below."""

SCHEMA_2 = [line.replace("payload BLOB NOT NULL ) STRICT", "payload BLOB NOT NULL , modified_at TEXT) STRICT")
            if line.startswith("CREATE TABLE sessions") else line for line in SCHEMA]  # fmt: skip
"""The schema of version 2: sessions have the time of their last change."""

SCHEMA_3 = [line.replace(", modified_at TEXT)", ", modified_at TEXT, unindexed INTEGER)")
            for line in SCHEMA_2 if "messages_unindexed" not in line]  # fmt: skip
SCHEMA_3 += ["CREATE INDEX sessions_unindexed ON sessions (key) WHERE unindexed IS NOT NULL"]
"""The schema of version 3: sessions have the position from which messages are not in the search index."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "sessions.db"


@pytest.fixture
def store(path):
    with SqliteStore(path, clock=FakeClock()) as opened:
        yield opened


def rows(path, query):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def change(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def old_store(path):
    """Make a store of version 1 with one session and return its clock."""
    clock = FakeClock()
    noon, payload = format_time(clock.now), b'{"content":"hello"}'
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        for statement in SCHEMA:
            connection.execute(statement)
        values = (1, "u", "s", noon, noon, "", "", None, None, 1, 1, 1, 0, 0, 0, b'"hello"', b"{}")
        connection.execute(f"INSERT INTO sessions VALUES ({', '.join('?' * 17)})", values)
        values = (64, 1, 0, "m", "m", "user", noon, None, 0, payload)
        connection.execute(f"INSERT INTO messages VALUES ({', '.join('?' * 10)})", values)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    return clock


def fill(path):
    with SqliteStore(path) as store:
        store.append("s", Message("user", "hello"))
    return path


class TestStoredBytes:
    def test_the_schema(self, store, path):
        """Tables, indexes and triggers are those of the current version."""
        store.append("s", Message("user", "hello"))
        found = rows(
            path,
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'words_%' ORDER BY rowid",
        )
        assert [" ".join(sql.split()) for (sql,) in found] == SCHEMA_3

    def test_the_file_says_whose_it_is(self, store, path):
        """Application id, schema version and WAL mode stand in the first bytes of the file itself."""
        store.append("s", Message("user", "hello"))
        head = path.read_bytes()[:100]
        assert int.from_bytes(head[68:72], "big") == APPLICATION_ID == 0x6F6D6E69
        assert int.from_bytes(head[60:64], "big") == 3
        assert head[18] == head[19] == 2
        assert rows(path, "PRAGMA journal_mode") == [("wal",)]

    def test_the_rows(self, store, path):
        """One append is these rows, byte for byte; payloads are canonical JSON in blobs."""
        told = [
            Message("user", "Grüß\ud800 dich\x00", id="m1", x_odd=None, extra={"k": [1.5]}),
            Message("assistant", "", id="m2", model="a:b", status="interrupted"),
        ]
        written = store.write("s", told, agent_id="helper", model="a:b")
        store.set_metadata("s", "pinned", True)
        store.put_summary("s", 1, {"text": "t"})
        noon = "2026-01-01T12:00:00.000000Z"
        assert rows(path, "SELECT * FROM sessions") == [
            (
                *(1, written.uid, "s", noon, noon, "helper", "a:b"),
                *(604800.0, "2026-01-08T12:00:00.000000Z", 2, 2, 3, 1, 0, 0, b""),
                '{"title":"Grüß\\ud800 dich\x00","title_source":"auto","metadata":{"pinned":true},"stamps":{"metadata/pinned":"2026-01-01T12:00:00.000000Z"}}'.replace(
                    "\x00", "\\u0000"
                ).encode(),
                *(None, 0),
            )
        ]
        key = 1767268800000 << 6
        assert rows(path, "SELECT * FROM messages") == [
            (
                *(key, 1, 0, "m1", "m1", "user", noon, None, 0),
                '{"content":"Grüß\\ud800 dich\\u0000","extra":{"k":[1.5]}}'.encode(),
            ),
            (
                *(key + 1, 1, 1, "m2", "m1", "assistant", noon, "interrupted", 0),
                b'{"content":"","model":"a:b"}',
            ),
        ]
        assert rows(path, "SELECT * FROM records") == [
            (1, "summary", "000000000001", b'{"text":"t","up_to":1}')
        ]
        assert rows(path, "SELECT rowid, text FROM words") == []

    def test_a_commit_is_on_disk(self, store):
        """What is acknowledged was synchronised; only the pieces of a running answer are not."""
        uid = store.write("s", Message("user", "q")).uid
        level = lambda: store._connection.execute("PRAGMA synchronous").fetchone()[0]  # noqa: E731
        assert level() == 2
        (answer,) = store.checkpoint("s", Message("assistant", "a"), uid=uid).messages
        assert level() == 1
        store.checkpoint("s", answer, uid=uid, final=True)
        assert level() == 2

    def test_the_index_is_cleaned_by_the_database_itself(self, store, path):
        """Removing a session by cascade removes its words: the trigger fires on every way out."""
        for name in "abc":
            store.append(name, [Message("user", "Grüß\ud800 dich\x00")] * 9)
        indexed = set(rows(path, "SELECT text FROM words"))
        assert (len(rows(path, "SELECT 1 FROM words")), indexed) == (27, {("gruss  dich ",)})
        store.delete("a", purge=True)
        store.trim("b", 0, purge=True)
        change(path, "PRAGMA foreign_keys = ON", "DELETE FROM sessions WHERE id = 'c'")
        assert rows(path, "SELECT count(*) FROM words") == [(0,)]
        assert rows(path, "SELECT count(*) FROM messages") == [(0,)]

    def test_the_index_holds_what_the_messages_hold(self, store, path):
        """After all kinds of changes every indexed message has its words, and no words are left over."""
        for number in range(4):
            store.append(f"s{number}", [Message("user", f"apple {n}") for n in range(9)])
        assert rows(path, "SELECT count(*) FROM messages WHERE indexed = 1") == [(36,)]
        session = store.get("s0")
        session.messages[2].content = "edited"
        store.save(session)
        store.trim("s1", 2)
        store.restore("s1")
        store.delete("s2")
        store.fork("s3", "fork", at=2)
        store.clear("s3")
        uid = store.header("s1").uid
        store.checkpoint("s1", Message("assistant", "so far"), uid=uid)
        store.purge_expired()
        assert (
            rows(path, "SELECT key FROM messages WHERE indexed = 1 EXCEPT SELECT rowid FROM words")
            == []
        )
        assert (
            rows(path, "SELECT rowid FROM words EXCEPT SELECT key FROM messages WHERE indexed = 1")
            == []
        )
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
        assert rows(path, "PRAGMA foreign_key_check") == []
        change(path, "INSERT INTO words (words) VALUES ('integrity-check')")

    def test_purge_leaves_no_trace(self, store, path):
        """Purged text stands neither in the file nor in its WAL, nor do its words."""
        store.append("s", [Message("user", "xylophone quartz")] * 9)
        store.append("t", Message("user", "stays"))
        assert any(b"xylophone" in p.read_bytes() for p in path.parent.iterdir())
        store.delete("s", purge=True)
        assert not any(b"xylophone" in p.read_bytes() for p in path.parent.iterdir())
        assert store.search("stays")

    def test_what_has_expired_leaves_no_trace(self, path):
        """Removed for good is removed from the file too."""
        clock = FakeClock()
        with SqliteStore(path, clock=clock) as store:
            store.append("s", [Message("user", "xylophone quartz")] * 9)
            clock.advance("8d")
            assert store.purge_expired() == 1
        assert not any(b"xylophone" in p.read_bytes() for p in path.parent.iterdir())


class TestPrivacy:
    @pytest.mark.parametrize("umask", [0, 0o777, 0o022])
    def test_files_are_for_one_person(self, tmp_path, umask):
        """The file, its WAL and shared memory are 0600 and new directories 0700, whatever the umask."""
        place = tmp_path / "a" / "b"
        before = os.umask(umask)
        try:
            with SqliteStore(place / "sessions.db") as store:
                store.append("s", Message("user", "hello"))
                found = modes(tmp_path / "a")
        finally:
            os.umask(before)
        assert found == {
            ".": 0o700,
            "b": 0o700,
            **{f"b/sessions.db{side}": 0o600 for side in ("", "-wal", "-shm")},
        }

    def test_directories_that_were_there_stay_as_they_are(self, tmp_path):
        """A directory somebody made is not closed to others."""
        tmp_path.chmod(0o755)
        fill(tmp_path / "sessions.db")
        assert tmp_path.stat().st_mode & 0o777 == 0o755

    def test_an_empty_file_becomes_private(self, tmp_path):
        """A file that stood open to others, empty, is closed before words go into it."""
        path = tmp_path / "sessions.db"
        path.touch(0o666)
        path.chmod(0o666)
        fill(path)
        assert path.stat().st_mode & 0o777 == 0o600


class TestWhatIsNotOurs:
    @pytest.mark.parametrize(
        ("content", "error"),
        [
            (b"These are my notes.\n" * 20, NotOurStore),
            (b"x", NotOurStore),
            (b"\x00" * 4096, NotOurStore),
            (b"SQLite format 3\x00" + b"\x01" * 20, StoreCorrupt),
            (b"SQLite format 3\x00" + b"\x01" * 4080, NotOurStore),
        ],
    )
    def test_another_kind_of_file(self, tmp_path, content, error):
        """A file that is no store of ours is told as what it is and left as it was."""
        path = tmp_path / "notes.txt"
        path.write_bytes(content)
        before = snapshot(tmp_path)
        with pytest.raises(error, match=r"notes\.txt"):
            SqliteStore(path)
        assert snapshot(tmp_path) == before

    def test_another_programs_database(self, tmp_path):
        """A SQLite database of another program is refused before SQLite opens it."""
        path = tmp_path / "theirs.db"
        with closing(sqlite3.connect(path)) as theirs:
            theirs.execute("PRAGMA journal_mode = WAL")
            theirs.execute("CREATE TABLE sessions (id)")
            theirs.commit()
            before = snapshot(tmp_path)
            with pytest.raises(NotOurStore, match="another program"):
                SqliteStore(path)
            assert snapshot(tmp_path) == before

    def test_a_directory(self, tmp_path):
        """A directory where the file should be is told, with what to write instead."""
        with pytest.raises(StoreUnreachable, match="file://"):
            SqliteStore(tmp_path)

    def test_a_file_in_the_way_of_a_directory(self, tmp_path):
        """A path that goes through a file cannot be reached, and says so."""
        (tmp_path / "file").write_text("x")
        with pytest.raises(StoreUnreachable):
            SqliteStore(tmp_path / "file" / "sessions.db")

    @pytest.mark.parametrize("there", [True, False])
    def test_an_empty_or_missing_file_reads_as_empty(self, tmp_path, there):
        """Reading makes nothing: neither the file nor what stands beside it."""
        path = tmp_path / "deep" / "sessions.db"
        if there:
            path.parent.mkdir()
            path.touch()
        before = snapshot(tmp_path)
        for read_only in (True, False):
            with open_store(path, read_only=read_only) as store:
                assert store.list() == []
                assert store.search("x") == []
                assert store.info()["sessions"] == 0
                assert store.trash() == []
        assert snapshot(tmp_path) == before

    def test_a_truncated_store(self, path):
        """A store that was cut short is damaged, not empty and not somebody else's."""
        with SqliteStore(path) as store:
            store.append("s", [Message("user", "hello " * 100) for _ in range(200)])
        size = path.stat().st_size
        os.truncate(path, size // 2 // 4096 * 4096)
        cut = path.read_bytes()
        with pytest.raises(StoreCorrupt, match="check"), SqliteStore(path) as store:
            store.get("s")
        assert path.read_bytes() == cut

    @pytest.mark.parametrize("place", [16, 21, 100, 107, 4096 + 2])
    def test_flipped_bytes(self, path, place):
        """Bytes flipped in the file's structure are told as damage, never read as an empty store."""
        fill(path)
        data = bytearray(path.read_bytes())
        data[place] ^= 0xFF
        path.write_bytes(data)
        seen = ["s"], "hello"
        with suppress(StoreCorrupt), SqliteStore(path) as store:
            seen = [s.id for s in store.list()], store.messages("s")[0].text
        assert seen == (["s"], "hello")

    def test_a_newer_version(self, path):
        """A store of a newer omniagent is refused by name, and not written."""
        fill(path)
        change(path, "PRAGMA user_version = 9")
        before = path.read_bytes()
        for read_only in (True, False):
            with (
                SqliteStore(path, read_only=read_only) as store,
                pytest.raises(NewerVersion, match="version 9"),
            ):
                store.list()
        assert path.read_bytes() == before

    def test_a_store_of_version_1(self, path):
        """A store of version 1 is migrated with its sessions, whose last change was their last activity."""
        clock = old_store(path)
        with SqliteStore(path, read_only=True) as store:
            assert store.summary("s").modified_at == clock.now
            assert [hit.session_id for hit in store.search("hello")] == ["s"]
        assert rows(path, "PRAGMA user_version") == [(1,)]
        with SqliteStore(path, clock=clock) as store:
            clock.advance("1h")
            store.tag("s", ["work"])
            summary = store.summary("s")
            assert summary.modified_at - summary.updated_at == timedelta(hours=1)
            assert store.check() == []
        assert rows(path, "PRAGMA user_version") == [(3,)]
        assert rows(path, "SELECT unindexed FROM sessions") == [(0,)]
        assert path.with_name("sessions.db.v1.bak").exists()

    def test_a_store_that_became_newer_while_it_was_open(self, path):
        """Every write looks again whether the schema is still the one it knows."""
        with SqliteStore(path) as store:
            store.append("s", Message("user", "a"))
            change(path, "PRAGMA user_version = 9")
            with pytest.raises(NewerVersion):
                store.append("s", Message("user", "b"))
        assert rows(path, "SELECT count(*) FROM messages") == [(1,)]


class TestCopies:
    def test_a_backup_is_a_store(self, store, tmp_path):
        """A backup is one private file that opens as a store with everything in it."""
        store.append("s", Message("user", "apple"))
        target = tmp_path / "backups" / "one.db"
        store.backup(target)
        assert modes(target.parent) == {".": 0o700, "one.db": 0o600}
        with SqliteStore(target, clock=FakeClock()) as copy:
            assert copy.get("s") == store.get("s")
            assert len(copy.search("apple")) == 1
            copy.append("s", Message("user", "on"))
        assert store.known_backups() == [str(target)]
        target.unlink()
        assert store.known_backups() == []

    def test_a_backup_onto_the_store_is_refused(self, store, path):
        """A store is never replaced by its own backup."""
        store.append("s", Message("user", "apple"))
        with pytest.raises(UsageError):
            store.backup(path)
        store.append("s", Message("user", "pear"))
        assert store.count_messages("s") == 2

    def test_a_closed_store_is_not_opened_again(self, store, tmp_path):
        """Looking after a store that was closed is refused like everything else."""
        store.append("s", Message("user", "apple"))
        store.close()
        for work in (
            store.compact,
            store.info,
            store.known_backups,
            lambda: store.backup(tmp_path / "b"),
        ):
            with pytest.raises(StoreClosed):
                work()

    def test_compacting_keeps_everything(self, store):
        """Compacting gives back room and changes nothing that can be seen."""
        for number in range(50):
            store.append(f"s{number}", Message("user", f"apple {number} " * 50))
        for number in range(40):
            store.delete(f"s{number}", purge=False)
        store.empty_trash()
        before = store.list(), store.search("apple", limit=None)
        size = store.info()["bytes"]
        store.compact()
        assert (store.list(), store.search("apple", limit=None)) == before
        assert store.info()["bytes"] <= size

    def test_info_has_the_facts_of_the_file(self, store, path):
        """`info` tells the schema version, messages and sizes."""
        store.append("s", [Message("user", "a"), Message("user", "b")])
        facts = store.info()
        assert (facts["schema_version"], facts["messages"]) == (3, 2)
        assert facts["bytes"] == path.stat().st_size

    def test_an_odd_path_is_only_a_path(self, tmp_path):
        """Characters that mean something in URLs and SQL are part of a file name."""
        for name in ("a b.db", "100%.db", "q?mode=memory.db", "#1.db", "ä😀.db", "x'y\".db"):
            path = tmp_path / name
            fill(path)
            assert path.exists()
            with pytest.raises(StoreUnavailable), SqliteStore(path / "x") as store:
                store.append("s", Message("user", "a"))
        assert len(list(tmp_path.iterdir())) == 6
