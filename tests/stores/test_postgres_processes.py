"""The PostgreSQL store under many processes at once: none fails, and nothing that was acknowledged is lost."""

import os
import subprocess
import sys
from contextlib import closing

import psycopg
import pytest

from omniagent_cli.errors import NewerVersion
from omniagent_cli.stores import open_store

from .place import run, together
from .postgres_server import place_schema, place_url, shared_url
from .test_sqlite_processes import check_turns


@pytest.fixture
def url(tmp_path):
    return place_url(tmp_path)


@pytest.fixture
def sql(tmp_path):
    """Return a function that runs a query in which ``$name`` is a table of the test's store."""
    with closing(psycopg.connect(shared_url(), autocommit=True)) as connection:
        schema = f'"{place_schema(tmp_path)}".'
        yield lambda query: connection.execute(query.replace("$", schema)).fetchall()


@pytest.fixture
def store(url):
    with open_store(url) as store:
        yield store


def messages_of(*texts):
    return [{"role": "user", "content": text} for text in texts]


APPENDS = """
import sys
from omniagent_cli.stores import open_store
url, turns, key, number = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3]), sys.argv[4]
with open_store(url, encrypt=key or None) as store:
    for turn in range(turns):
        store.append("s", [{"role": "user", "content": f"{number}.{turn}.{n}"} for n in range(2)])
"""
NEXT = """
import sys
from omniagent_cli.stores.backends.postgres.store import PostgresStore
def add_column(connection, schema):
    connection.execute(f'ALTER TABLE "{schema}".sessions ADD COLUMN colour text NOT NULL DEFAULT \\'blue\\'')
    BROKEN
class Next(PostgresStore):
    migrations = (*PostgresStore.migrations, add_column)
try:
    with Next(sys.argv[1]) as store:
        store.append("s", {"role": "user", "content": sys.argv[2]})
except ZeroDivisionError:
    print("broken")
"""


class TestManyProcesses:
    @pytest.mark.parametrize("key", ["", "00" * 32], ids=["plain", "encrypted"])
    def test_sixteen_first_starts(self, url, key):
        """Sixteen processes that find nothing make one store and one session, and none of them fails."""
        together(APPENDS, 16, url, 2, key)
        with open_store(url, encrypt=bytes.fromhex(key) or None) as store:
            check_turns(store, 16, 2)
            assert store.check() == []

    def test_sixteen_processes_on_one_session(self, url):
        """Sixteen processes append to one session: every batch is there, whole and in order."""
        with open_store(url) as store:
            store.get_or_create("s")
            together(APPENDS, 16, url, 20, "")
            check_turns(store, 16, 20)
            assert store.check() == []

    def test_sixteen_processes_migrate_at_once(self, url, sql):
        """A newer version takes the store over once, and all go on."""
        with open_store(url) as store:
            store.append("s", messages_of("a"))
            together(NEXT.replace("BROKEN", ""), 16, url)
            assert sql("SELECT version FROM $omniagent_store") == [(3,)]
            assert sql("SELECT colour, message_count FROM $sessions") == [("blue", 17)]
            with pytest.raises(NewerVersion):
                store.list()

    def test_a_migration_that_fails_changes_nothing(self, url, store):
        """A step that breaks half way is taken back, and the store is as it was."""
        store.append("s", messages_of("a"))
        assert run(NEXT.replace("BROKEN", "1 / 0"), url, "x") == "broken\n"
        store.append("s", messages_of("b"))
        assert store.count_messages("s") == 2

    def test_a_store_crosses_a_fork(self, url):
        """A process that forks and its child both go on with their store object."""
        code = """
import os, sys
from omniagent_cli.stores import open_store
store = open_store(sys.argv[1])
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
        assert run(code, url) == "[0, 0, 0] 42 10\n"

    def test_a_store_that_nobody_closes_ends_quietly(self, url):
        """A program that just ends prints nothing of the pool's threads."""
        code = "import sys; from omniagent_cli.stores import open_store; s = open_store(sys.argv[1]); s.get_or_create('s')"
        done = subprocess.run(
            [sys.executable, "-c", code, url],
            capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "PYTHONWARNINGS": "error"},
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("", "")
