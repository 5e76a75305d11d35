"""The SQLite store in trouble: each kind is told as what it is, and nothing that was acknowledged is lost."""

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from omniagent_cli.errors import (
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
)
from omniagent_cli.models import Message
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
from omniagent_cli.stores.backends.sqlite import file as sqlite_file
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
from tests.servers.guardian import GUARDIAN

from .place import finish, run_with_less_rights, snapshot, start


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@pytest.fixture
def open_place():
    """Return a directory that every user of the machine can reach."""
    place = GUARDIAN.make_directory("omniagent-test-")
    place.chmod(0o755)
    yield place
    for directory in [place, *[p for p in place.rglob("*") if p.is_dir()]]:
        directory.chmod(0o755)
    shutil.rmtree(place)


READS_BUT_DOES_NOT_WRITE = """
with SqliteStore(path) as store:
    print([m.text for m in store.messages("s")], len(store.search("apple")))
    try:
        store.append("s", {"role": "user", "content": "no"})
    except StoreReadOnly as error:
        print("refused", "cannot be written" in str(error))
    print([m.text for m in store.messages("s")])
"""


class TestReadOnlyPlaces:
    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_a_place_that_cannot_be_written_is_read(self, open_place, what):
        """A read-only file, or one in a read-only directory, is read; a write says what is wrong."""
        path = open_place / "sessions.db"
        with SqliteStore(path) as store:
            store.append("s", Message("user", "apple"))
        path.chmod(0o444 if what == "file" else 0o666)
        open_place.chmod(0o755 if what == "file" else 0o555)
        before = snapshot(open_place)
        out = run_with_less_rights(READS_BUT_DOES_NOT_WRITE, path)
        assert out.splitlines() == ["['apple'] 1", "refused True", "['apple']"]
        assert snapshot(open_place) == before

    def test_a_wal_beside_it_is_read_too(self, open_place):
        """What stands only in the WAL is read, from a private copy that goes with the store."""
        path = open_place / "sessions.db"
        live = SqliteStore(path)
        try:
            live.append("s", Message("user", "apple"))
            for file in open_place.iterdir():
                file.chmod(0o444)
            open_place.chmod(0o555)
            before = snapshot(open_place)
            code = "tempfile.tempdir = sys.argv[2]\n" + READS_BUT_DOES_NOT_WRITE
            with tempfile.TemporaryDirectory(dir=GUARDIAN.outside) as scratch:
                Path(scratch).chmod(0o777)
                out = run_with_less_rights(code.replace("sys.argv[2]", repr(scratch)), path)
                assert list(Path(scratch).iterdir()) == []
            assert out.splitlines() == ["['apple'] 1", "refused True", "['apple']"]
            assert snapshot(open_place) == before
        finally:
            live.close()

    def test_a_reader_sees_what_the_owner_adds(self, open_place):
        """A store that is open for reading only notices what is written by others."""
        path = open_place / "sessions.db"
        code = """
with SqliteStore(path) as store:
    for _ in range(3):
        print(len(store.messages("s")), flush=True)
        sys.stdin.readline()
"""
        with SqliteStore(path) as store:
            store.append("s", Message("user", "one"))
        path.chmod(0o644)
        from . import place

        reader = start(place._BECOME + code, path, stdin=subprocess.PIPE)
        seen = [reader.stdout.readline()]
        for text in ("two", "three"):
            with SqliteStore(path) as store:
                store.append("s", Message("user", text))
            for side in open_place.iterdir():
                side.chmod(0o644)
            reader.stdin.write("\n")
            reader.stdin.flush()
            seen.append(reader.stdout.readline())
        reader.stdin.write("\n")
        finish(reader)
        assert seen == ["1\n", "2\n", "3\n"]

    def test_a_store_on_a_read_only_disk_can_be_backed_up(self, open_place):
        """A copy needs nothing of the place it is made from, and not to be remembered there."""
        path = open_place / "sessions.db"
        with SqliteStore(path) as store:
            store.append("s", Message("user", "one"))
        path.chmod(0o444)
        open_place.chmod(0o555)
        out = run_with_less_rights(
            """
with tempfile.TemporaryDirectory() as place, SqliteStore(path) as store:
    store.backup(f"{place}/copy.db")
    with SqliteStore(f"{place}/copy.db") as copy:
        print(copy.count_messages("s"))
""",
            path,
        )
        assert out == "1\n"

    def test_a_place_where_nothing_can_be_made(self, open_place):
        """A missing store in a read-only directory reads as empty, and a write says why it cannot be."""
        open_place.chmod(0o555)
        out = run_with_less_rights(
            """
with SqliteStore(path) as store:
    print(store.list())
    try:
        store.append("s", {"role": "user", "content": "no"})
    except StoreReadOnly as error:
        print("refused", path in str(error))
""",
            open_place / "deep" / "sessions.db",
        )
        assert out.splitlines() == ["[]", "refused True"]

    def test_a_file_that_cannot_be_read(self, open_place):
        """A store of somebody else is unreachable, not empty."""
        path = open_place / "sessions.db"
        with SqliteStore(path) as store:
            store.append("s", Message("user", "apple"))
        path.chmod(0)
        out = run_with_less_rights(
            """
try:
    SqliteStore(path).list()
except StoreUnreachable as error:
    print("refused", "Permission denied" in str(error))
""",
            path,
        )
        assert out == "refused True\n"

    def test_opened_for_reading_only(self, path):
        """`read_only` reads a store as it is and never makes or changes one, and leaves no file beside it."""
        with SqliteStore(path, read_only=True) as store, pytest.raises(StoreReadOnly):
            store.append("s", Message("user", "no"))
        assert not path.exists()
        with SqliteStore(path) as store, SqliteStore(path, read_only=True) as reader:
            store.append("s", Message("user", "apple"))
            assert reader.messages("s")[0].text == "apple"
            store.append("s", Message("user", "pear"))
            assert reader.count_messages("s") == 2
            for write in (lambda: reader.append("s", Message("user", "no")), reader.compact):
                with pytest.raises(StoreReadOnly):
                    write()
            assert store.count_messages("s") == 2
        before = sorted(path.parent.iterdir())
        with SqliteStore(path, read_only=True) as reader:
            assert reader.count() == 1
        assert sorted(path.parent.iterdir()) == before == [path]


class TestFilesThatMove:
    def test_deleted_while_open(self, path):
        """A write into a file that was deleted meanwhile is an error once, and works afterwards."""
        with SqliteStore(path) as store:
            store.append("s", Message("user", "lost"))
            for side in path.parent.iterdir():
                side.unlink()
            with pytest.raises(StoreUnreachable, match="deleted"):
                store.append("s", Message("user", "a"))
            store.append("s", Message("user", "b"))
            assert [m.text for m in store.messages("s")] == ["b"]

    def test_replaced_while_open(self, path, tmp_path):
        """A file put in the place of another is noticed, and used from then on."""
        other = tmp_path / "other.db"
        with SqliteStore(other) as store:
            store.append("s", Message("user", "other"))
        with SqliteStore(path) as store:
            store.append("s", Message("user", "first"))
            for side in ("-wal", "-shm"):
                Path(f"{path}{side}").unlink()
            other.replace(path)
            with pytest.raises(StoreUnreachable, match="replaced"):
                store.messages("s")
            assert [m.text for m in store.messages("s")] == ["other"]

    def test_made_by_somebody_else_while_open(self, path):
        """A reader that found no store sees the one that is made later."""
        with SqliteStore(path) as reader:
            assert reader.list() == []
            with SqliteStore(path) as store:
                store.append("s", Message("user", "a"))
            assert [m.text for m in reader.messages("s")] == ["a"]
            reader.append("s", Message("user", "b"))
            assert reader.count_messages("s") == 2


class TestLocks:
    def test_a_held_lock_is_told(self, path, monkeypatch):
        """A store that another process holds for long is told as locked; reading goes on."""
        monkeypatch.setattr(sqlite_file, "WAIT_SECONDS", 0.3)
        with SqliteStore(path) as store:
            store.append("s", Message("user", "a"))
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreLocked, match="another process"):
                    store.append("s", Message("user", "b"))
                assert store.count_messages("s") == 1
            store.append("s", Message("user", "c"))
            assert store.count_messages("s") == 2

    def test_a_short_wait_is_waited(self, path):
        """A write waits until another process is done."""
        with SqliteStore(path) as store:
            store.append("s", Message("user", "a"))
            other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            other.execute("BEGIN IMMEDIATE")
            release = threading.Timer(0.4, lambda: (other.execute("COMMIT"), other.close()))
            release.start()
            store.append("s", Message("user", "b"))
            release.join()
            assert store.count_messages("s") == 2

    def test_ctrl_c_ends_the_wait(self, path):
        """Somebody who presses Ctrl-C while a write waits does not wait on."""
        code = """
import sys
from omniagent_cli.stores.backends.sqlite import file
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
file.WAIT_SECONDS = 1000
with SqliteStore(sys.argv[1]) as store:
    store.list()
    try:
        print("ready", flush=True)
        store.append("s", {"role": "user", "content": "b"})
    except KeyboardInterrupt:
        print("stopped", flush=True)
    sys.stdin.readline()
    print(store.count_messages("s"))
"""
        with SqliteStore(path) as store:
            store.append("s", Message("user", "a"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = start(code, path, stdin=subprocess.PIPE)
            assert waiting.stdout.readline() == "ready\n"
            waiting.send_signal(signal.SIGINT)
            assert waiting.stdout.readline() == "stopped\n"
        waiting.stdin.write("\n")
        assert finish(waiting) == "1\n"

    def test_a_reader_that_stays_keeps_no_purge_secret(self, path):
        """Where a reader blocks it, a purge fails and says where a copy still stands."""
        with SqliteStore(path) as store:
            store.append("s", Message("user", "xylophone"))
            with closing(sqlite3.connect(path, isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM messages").fetchone()
                with pytest.raises(StoreLocked, match="-wal"):
                    store.delete("s", purge=True)
            assert not store.exists("s")
            store.compact()
        assert b"xylophone" not in path.read_bytes()


PURGE = """
import os, resource, sys
from omniagent_cli.errors import StoreFull
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
with SqliteStore(sys.argv[1]) as store:
    store.append("big", {"role": "user", "content": "x" * 500_000})
    store.append("s", {"role": "user", "content": "xylophone"})
with SqliteStore(sys.argv[1]) as store:
    store.count_messages("s")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        store.delete("s", purge=True)
    except StoreFull as error:
        print("still in" in str(error), store.exists("s"))
"""


def test_a_purge_without_room_says_where_the_text_still_is(path):
    """What is gone from the store and not from its bytes is told as that."""
    assert finish(start(PURGE, path)) == "True False\n"


FILL = """
import sys
from omniagent_cli.errors import StoreFull
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
{limit}
store = SqliteStore(sys.argv[1])
done = 0
try:
    while done < 3000:
        store.append("s", {{"role": "user", "content": f"message {{done}} " + "x" * 2000}})
        done += 1
except StoreFull as error:
    print("full", "is full" in str(error))
print(done, store.count_messages("s"))
"""

LIMIT = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
"""


def check_full(path, out):
    told, counts = out.splitlines()
    assert told == "full True"
    done, kept = map(int, counts.split())
    assert done == kept > 10
    with SqliteStore(path) as store:
        texts = [m.text.split(" x")[0] for m in store.messages("s")]
        assert texts == [f"message {n}" for n in range(done)]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


READ = """
import sys
from omniagent_cli.errors import StoreFull
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
{limit}
with SqliteStore(sys.argv[1]) as store, SqliteStore(sys.argv[1]) as second:
    print(len(store.messages("s")), second.list()[0].message_count, store.info()["messages"])
    try:
        store.append("s", {{"role": "user", "content": "x" * 100_000}})
    except StoreFull:
        print(second.count_messages("s"))
"""

WRITE = """
import os, sys
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
store = SqliteStore(sys.argv[1])
store.append("s", {"role": "user", "content": "acknowledged"})
if sys.argv[2] == "closed":
    store.close()
os._exit(0)
"""


@pytest.fixture
def disk(tmp_path):
    """Mount a small disk, and return its directory."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


class TestFullDisk:
    @pytest.mark.parametrize("end", ["closed", "killed"])
    def test_reading_needs_no_room(self, path, end):
        """A store is read where no file may grow, also with the WAL that a killed process has left."""
        finish(start(WRITE, path, end))
        Path(f"{path}-shm").unlink(missing_ok=True)
        assert Path(f"{path}-wal").exists() == (end == "killed")
        limit = LIMIT.replace("1_000_000", "1000")
        assert finish(start(READ.format(limit=limit), path)).split() == ["1"] * 4
        with SqliteStore(path) as store:
            assert [message.text for message in store.messages("s")] == ["acknowledged"]

    def test_a_file_that_may_not_grow(self, path):
        """When the file may not grow further that is told, and every acknowledged message is there."""
        out = finish(start(FILL.format(limit=LIMIT), path))
        check_full(path, out)

    def test_a_disk_without_room(self, disk):
        """On a disk that fills up the same holds, and the store goes on when there is room again."""
        path = disk / "sessions.db"
        check_full(path, finish(start(FILL.format(limit=""), path)))
        with SqliteStore(path) as store:
            before = store.count_messages("s")
            with pytest.raises(StoreFull):
                store.append("s", Message("user", "y" * 3_000_000))
            assert store.count_messages("s") == before
            subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
            store.append("s", Message("user", "on"))
            assert store.count_messages("s") == before + 1
        with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        assert finish(start(READ.format(limit=""), path)).split() == [str(before + 1)] * 4
        with SqliteStore(path, read_only=True) as store:
            assert store.count_messages("s") == before + 1

    @pytest.mark.parametrize("end", ["closed", "killed"])
    def test_a_read_only_disk(self, disk, end):
        """Stores on a read-only disk are read, with the WAL that a killed process left; a write names the reason."""
        path = disk / "sessions.db"
        finish(start(WRITE, path, end))
        with JsonlFilesStore(disk / "files") as store:
            store.append("s", Message("user", "acknowledged"))
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for store, reason in (
            (SqliteStore(path), "its disk is read-only"),
            (JsonlFilesStore(disk / "files"), "Read-only file system"),
        ):
            with store:
                assert [hit.position for hit in store.search("acknowledged")] == [0]
                with pytest.raises(StoreReadOnly, match=reason):
                    store.append("s", Message("user", "no"))
                assert [message.text for message in store.messages("s")] == ["acknowledged"]
