"""The SQLite store under many processes at once: none fails, and nothing that was acknowledged is lost."""

import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from omniagent_cli.errors import NewerVersion
from omniagent_cli.models import Message
from omniagent_cli.stores.backends.sqlite.store import SqliteStore

from .place import finish, run, start, together


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


def sound(path):
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        (messages,) = connection.execute("SELECT count(*) FROM messages WHERE indexed").fetchone()
        (words,) = connection.execute("SELECT count(*) FROM words").fetchone()
        (counted,) = connection.execute("SELECT sum(message_count) FROM sessions").fetchone()
        (stored,) = connection.execute("SELECT count(*) FROM messages").fetchone()
    assert (messages, counted) == (words, stored)


APPENDS = """
import sys
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
path, turns, number = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with SqliteStore(path) as store:
    for turn in range(turns):
        store.append("s", [{"role": "user", "content": f"{number}.{turn}.{n}"} for n in range(2)])
"""


def check_turns(store, processes, turns):
    texts = [m.text for m in store.iter_messages("s")]
    expected = {f"{p}.{t}.{n}" for p in range(processes) for t in range(turns) for n in range(2)}
    assert len(texts) == len(expected)
    assert set(texts) == expected
    assert [m.position for m in store.messages("s")] == list(range(len(texts)))
    for first, second in zip(texts[::2], texts[1::2], strict=True):
        assert first[:-1] == second[:-1], "a batch was torn apart"
    for process in range(processes):
        own = [t for t in texts if t.startswith(f"{process}.")]
        assert own == sorted(own, key=lambda t: [*map(int, t.split("."))])


class TestManyProcesses:
    def test_sixteen_processes_on_one_session(self, path):
        """Sixteen processes append to one session: every batch is there, whole and in order."""
        with SqliteStore(path) as store:
            store.get_or_create("s")
            together(APPENDS, 16, path, 20)
            check_turns(store, 16, 20)
        sound(path)

    @pytest.mark.parametrize("attempt", range(3))
    def test_sixteen_first_starts(self, tmp_path, attempt):
        """Sixteen processes that find nothing make one store, and none of them fails."""
        path = tmp_path / "deep" / "er" / "sessions.db"
        together(APPENDS, 16, path, 1)
        with SqliteStore(path) as store:
            check_turns(store, 16, 1)
        sound(path)
        assert [p.name for p in path.parent.iterdir()] == ["sessions.db"]

    def test_readers_beside_first_starts(self, path):
        """Those who only look while a store is being made see an empty or a whole one, never an error."""
        look = """
import sys
from omniagent_cli.stores import open_store
for _ in range(40):
    with open_store(sys.argv[1], read_only=sys.argv[2] == "1") as store:
        store.list()
        store.search("1")
"""
        readers = [start(look, path, n % 2) for n in range(4)]
        writers = [start(APPENDS, path, 3, n) for n in range(4)]
        for process in readers + writers:
            finish(process)
        with SqliteStore(path) as store:
            check_turns(store, 4, 3)


class TestKilled:
    def test_kill_at_any_moment(self, path):
        """A process killed at any moment loses no acknowledged batch and leaves none in pieces."""
        code = """
import sys
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
store = SqliteStore(sys.argv[1])
number = store.count_messages("s") // 2 if store.exists("s") else 0
uid = store.get_or_create("t").uid
answer = {"role": "assistant", "content": ""}
from omniagent_cli.models import Message
answer = Message("assistant", "so far")
while True:
    store.append("s", [{"role": "user", "content": f"{number}.{n} " + "x" * 500} for n in range(2)])
    print(number, flush=True)
    answer = store.checkpoint("t", answer, uid=uid).messages[0]
    if number % 7 == 6:
        store.trim("t", 1)
    number += 1
"""
        acknowledged = -1
        for attempt in range(12):
            process = start(code, path, stderr=subprocess.DEVNULL)
            for _ in range(1 + attempt * 3):
                acknowledged = int(process.stdout.readline())
            process.kill()
            told = process.stdout.read().split()
            process.communicate()
            acknowledged = int(told[-1]) if told else acknowledged
            with SqliteStore(path) as store:
                texts = [m.text.split()[0] for m in store.messages("s")]
                assert len(texts) % 2 == 0
                assert len(texts) // 2 - 1 - acknowledged in (0, 1)
                assert texts == [f"{n}.{half}" for n in range(len(texts) // 2) for half in (0, 1)]
        sound(path)


class TestForks:
    def test_a_store_crosses_a_fork(self, path):
        """A process that forks and its child both go on with their store object."""
        code = """
import os, sys
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
store = SqliteStore(sys.argv[1])
store.append("s", {"role": "user", "content": "before"})
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        for turn in range(10):
            store.append("s", {"role": "user", "content": f"child {number}"})
        store.close()
        os._exit(0)
    children.append(pid)
for turn in range(10):
    store.append("s", {"role": "user", "content": "parent"})
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
store.append("s", {"role": "user", "content": "after"})
print(codes, store.count_messages("s"), len(store.search("parent", limit=None)))
"""
        assert run(code, path) == "[0, 0, 0] 42 10\n"
        sound(path)

    def test_a_fork_while_a_thread_holds_the_store(self, path):
        """A child is not stopped by a lock that a thread of its parent held."""
        code = """
import os, sys, threading, time
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
store = SqliteStore(sys.argv[1])
store.append("s", {"role": "user", "content": "before"})
held, done = threading.Event(), threading.Event()
def hold(tx):
    held.set()
    done.wait(20)
thread = threading.Thread(target=store.transact, args=(hold,), kwargs={'write': False})
thread.start()
held.wait()
pid = os.fork()
if pid == 0:
    store.append("s", {"role": "user", "content": "child"})
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
done.set()
thread.join()
print(code, store.count_messages("s"))
"""
        assert run(code, path) == "0 2\n"


NEXT_VERSION = """
import sys
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
def add_column(connection):
    connection.execute("ALTER TABLE sessions ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'")
class Next(SqliteStore):
    migrations = (*SqliteStore.migrations, add_column)
"""

MIGRATES = (
    NEXT_VERSION
    + """
with Next(sys.argv[1]) as store:
    store.append("s", {"role": "user", "content": f"{sys.argv[2]}"})
    print(store.count_messages("s"))
"""
)


class TestMigrations:
    def old(self, path):
        with SqliteStore(path) as store:
            store.append("s", [Message("user", "apple"), Message("user", "pear")])

    def test_sixteen_processes_migrate_at_once(self, path):
        """Sixteen processes of a newer version take the store over once, after a backup, and all go on."""
        self.old(path)
        together(MIGRATES, 16, path)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (4,)
            assert connection.execute("SELECT colour FROM sessions").fetchall() == [("blue",)]
            assert connection.execute("SELECT count(*) FROM messages").fetchone() == (18,)
        backup = path.with_name("sessions.db.v3.bak")
        assert backup.stat().st_mode & 0o777 == 0o600
        with SqliteStore(backup) as store:
            assert [m.text for m in store.messages("s")] == ["apple", "pear"]
        with SqliteStore(path) as store, pytest.raises(NewerVersion):
            store.list()

    def test_a_copy_in_another_journal_mode_migrates(self, path, tmp_path):
        """A backup that was put in the place of the store is taken over like the store."""
        self.old(path)
        with SqliteStore(path) as store:
            store.backup(tmp_path / "copy.db")
        assert run(MIGRATES, tmp_path / "copy.db", "x") == "3\n"
        assert (tmp_path / "copy.db.v3.bak").exists()

    def test_a_migration_that_fails_changes_nothing(self, path):
        """A step that breaks half way is taken back, and the store is as it was."""
        self.old(path)
        code = (
            NEXT_VERSION.replace("'blue'\")", "'blue'\"); raise RuntimeError('broken step')")
            + """
try:
    Next(sys.argv[1]).list()
except RuntimeError as error:
    print(error)
"""
        )
        assert run(code, path) == "broken step\n"
        with SqliteStore(path) as store:
            assert store.count_messages("s") == 2
            store.append("s", Message("user", "on"))

    def test_a_migration_without_room_for_a_backup_does_not_begin(self, path):
        """Where the backup cannot be made, the store stays at its version."""
        self.old(path)
        blocked = path.with_name("sessions.db.v3.bak")
        blocked.mkdir()
        (blocked / "x").touch()
        code = (
            NEXT_VERSION
            + """
from omniagent_cli.errors import StoreUnavailable
try:
    Next(sys.argv[1]).list()
except StoreUnavailable as error:
    print("refused")
"""
        )
        assert run(code, path) == "refused\n"
        shutil.rmtree(blocked)
        with SqliteStore(path) as store:
            assert store.count_messages("s") == 2
