"""The PostgreSQL store in trouble: each kind is told as what it is, and nothing that was acknowledged is lost."""

import os
import signal
import subprocess
import threading
from contextlib import closing

import psycopg
import pytest

from omniagent_cli.errors import (
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
)
from omniagent_cli.stores import open_store
from omniagent_cli.stores.backends.postgres.store import PostgresStore

from .place import start
from .postgres_server import PostgresServer, place_schema, place_url, shared_url


def messages_of(*texts):
    return [{"role": "user", "content": text} for text in texts]


@pytest.fixture(scope="module")
def server():
    """Return a server that these tests may stop, crash and fill."""
    server = PostgresServer("max_connections = 20", "deadlock_timeout = '100ms'")
    yield server
    server.remove()


@pytest.fixture
def place(server, tmp_path):
    """Return the URL of this test's store on that server."""
    return server.url(schema=place_schema(tmp_path))


@pytest.fixture
def blocker(tmp_path):
    """Return a connection that gets in the way of the shared server's store."""
    with closing(psycopg.connect(shared_url())) as connection:
        yield connection


class TestRestarts:
    def test_a_server_that_was_restarted_is_not_noticed(self, server, place):
        """Connections that died while nobody used them are replaced by the next call."""
        with open_store(place) as store:
            store.append("s", messages_of("before"))
            threads = [threading.Thread(target=store.list) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            server.stop()
            server.start()
            store.append("s", messages_of("after"))
            assert [m.text for m in store.messages("s")] == ["before", "after"]

    def test_a_server_that_is_down_is_told(self, server, place):
        """While the server is down each call says so at once; when it is back, the next one works."""
        with open_store(place) as store:
            store.append("s", messages_of("before"))
            server.stop()
            try:
                for _ in range(2):
                    with pytest.raises(StoreUnreachable, match="cannot reach a server"):
                        store.append("s", messages_of("lost"))
                    with pytest.raises(StoreUnreachable):
                        store.list()
            finally:
                server.start()
            store.append("s", messages_of("after"))
            assert [m.text for m in store.messages("s")] == ["before", "after"]

    @pytest.mark.parametrize("mode", ["fast", "immediate"])
    def test_nothing_acknowledged_is_lost(self, server, place, mode):
        """A server stopped or crashed under a writer keeps all that was acknowledged, whole and in order."""
        code = """
import sys
from omniagent_cli.errors import StoreUnavailable
from omniagent_cli.stores import open_store
store = open_store(sys.argv[1])
number = 0
while True:
    try:
        store.append("s", [{"role": "user", "content": f"{number}.{half}"} for half in (0, 1)])
        print("kept", number, flush=True)
    except StoreUnavailable as error:
        print("told", number, flush=True)
    number += 1
"""
        writer = start(code, place, stderr=subprocess.DEVNULL)
        lines = []
        try:
            for _ in range(2):
                lines += [writer.stdout.readline() for _ in range(30)]
                server.stop(mode)
                while not lines[-1].startswith("told"):
                    lines.append(writer.stdout.readline())
                server.start()
                while not lines[-1].startswith("kept"):
                    lines.append(writer.stdout.readline())
        finally:
            writer.kill()
            lines += writer.communicate()[0].splitlines()
        with open_store(place) as store:
            texts = [m.text for m in store.messages("s")]
            assert store.check() == []
        batches = [text.removesuffix(".0") for text in texts[::2]]
        assert texts == [f"{batch}.{half}" for batch in batches for half in (0, 1)]
        acknowledged = [line.split()[1] for line in lines if line.startswith("kept")]
        told = {line.split()[1] for line in lines if line.startswith("told")}
        assert [b for b in batches if b not in told][: len(acknowledged)] == acknowledged
        assert (
            len(batches) <= len(acknowledged) + 4
        )  # one a stop may have been stored unheard, and the last

    def test_a_connection_that_is_ended_in_the_middle(self, place):
        """A unit of work whose connection an administrator ends is done again from the start."""
        with open_store(place) as store:
            store.append("s", messages_of("a"))
            ended = []

            def work(tx):
                header = tx.find("s")
                if not ended:
                    ended.append(tx.execute("SELECT pg_backend_pid()").fetchone()[0])
                    with closing(psycopg.connect(place.partition("&schema")[0])) as other:
                        other.execute("SELECT pg_terminate_backend(%s, 5000)", (ended[0],))
                header.model = "m"
                header.revision += 1
                tx.put(header)

            store.transact(work, write=True)
            assert store.get("s").model == "m"


class TestLocks:
    def test_a_session_that_somebody_holds(self, tmp_path, blocker):
        """A writer waits for another one for as long as it was told, then says that the store is locked."""
        with open_store(place_url(tmp_path), lock_timeout=0.2) as store:
            store.append("s", messages_of("a"))
            store.append("t", messages_of("a"))
            blocker.execute(
                f"SELECT FROM {place_schema(tmp_path)}.sessions WHERE id = 's' FOR UPDATE"
            )
            with pytest.raises(StoreLocked):
                store.append("s", messages_of("b"))
            store.append("t", messages_of("b"))
            assert [m.text for m in store.messages("s")] == ["a"]
            blocker.rollback()
            store.append("s", messages_of("b"))

    def test_ctrl_c_gets_through(self, tmp_path, blocker):
        """Somebody who waits for a lock can stop waiting, and nothing is stored."""
        code = """
import sys
from omniagent_cli.stores import open_store
store = open_store(sys.argv[1])
store.list()
print("ready", flush=True)
try:
    store.append("s", {"role": "user", "content": "b"})
except KeyboardInterrupt:
    print("stopped", store.count_messages("s"), flush=True)
store.close()
"""
        with open_store(place_url(tmp_path)) as store:
            store.append("s", messages_of("a"))
            blocker.execute(f"SELECT FROM {place_schema(tmp_path)}.sessions FOR UPDATE")
            process = start(code, place_url(tmp_path))
            assert process.stdout.readline() == "ready\n"
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            with closing(psycopg.connect(shared_url(), autocommit=True)) as other:
                while other.execute(waiting).fetchone() == (0,):
                    pass
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            assert (out, err) == ("stopped 1\n", "")

    def test_two_that_wait_for_each_other(self, place):
        """Units of work that lock the same sessions in another order are done one after the other."""
        with open_store(place) as store:
            for name in "ab":
                store.append(name, messages_of("x"))
            met = threading.Barrier(2)

            def cross(first, second):
                tried = []

                def work(tx):
                    headers = [tx.find(first)]
                    if not tried:
                        tried.append(1)
                        met.wait(10)
                    headers.append(tx.find(second))
                    for header in headers:
                        header.revision += 1
                        tx.put(header)

                store.transact(work, write=True)

            threads = [threading.Thread(target=cross, args=pair) for pair in ("ab", "ba")]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert store.get("a").revision == store.get("b").revision == 3

    def test_what_takes_too_long(self, tmp_path):
        """A statement that takes longer than allowed is told as that, and the next call works."""
        with open_store(place_url(tmp_path), statement_timeout=0.1) as store:
            store.append("s", messages_of("a"))
            with pytest.raises(StoreUnreachable, match="timed out"):
                store.transact(lambda tx: tx.execute("SELECT pg_sleep(5)").fetchone(), write=False)
            assert store.count_messages("s") == 1

    def test_more_threads_than_connections(self, tmp_path):
        """Threads share few connections, and wait for each other."""
        with open_store(place_url(tmp_path), pool_size=2) as store:
            store.get_or_create("s")
            threads = [
                threading.Thread(
                    target=lambda n=n: [store.append("s", messages_of(f"{n}")) for _ in range(5)]
                )
                for n in range(12)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [m.position for m in store.messages("s")] == list(range(60))
            query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s"
            like = f"%{place_schema(tmp_path)}%"
            assert (
                store.transact(lambda tx: tx.execute(query, (like,)).fetchone(), write=False)[0]
                <= 3
            )


class TestRefusals:
    def test_a_wrong_password_and_a_right_one(self, server, tmp_path):
        """A refused password is told as that at once; with the right one the store opens."""
        server.run("CREATE ROLE guarded LOGIN PASSWORD 's3cret'")
        server.run("GRANT CREATE ON DATABASE postgres TO guarded")
        server.let_in("local all guarded scram-sha-256")
        schema = place_schema(tmp_path)
        for password in ("wr0ng", ""):
            with open_store(server.url("guarded", password, schema=schema)) as store:
                with pytest.raises(StoreUnreachable, match="rejected the user or password") as told:
                    store.list()
                assert "wr0ng" not in str(told.value)
        with open_store(server.url("guarded", "s3cret", schema=schema)) as store:
            store.append("s", messages_of("a"))
            assert store.count() == 1

    def test_no_database_no_user_no_server(self, server):
        """What is not there is named: database, user, host, port."""
        for url, named in (
            (server.url(database="nowhere"), "no such database.*nowhere"),
            (server.url(user="nobody_at_all"), "user or password.*nobody_at_all"),
            ("postgresql://127.0.0.1:1/x", "cannot reach a server.*port 1 "),
            ("postgresql:///x?host=/nowhere/at/all", "cannot reach a server.*nowhere"),
        ):
            with open_store(url, connect_timeout=3) as store:
                with pytest.raises(StoreUnreachable, match=named) as told:
                    store.list()
                assert "\n" not in str(told.value)

    def test_a_user_without_rights(self, server, place, tmp_path):
        """Who may only read reads, and is told so when writing; who may not even read is told that."""
        schema = place_schema(tmp_path)
        server.run("CREATE ROLE reader LOGIN")
        with open_store(place) as store:
            store.append("s", messages_of("a"))
        with open_store(server.url("reader", schema=schema)) as store:
            with pytest.raises(StoreUnreachable, match="GRANT"):
                store.list()
            server.run(f'GRANT USAGE ON SCHEMA "{schema}" TO reader')
            server.run(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO reader')
            assert [m.text for m in store.messages("s")] == ["a"]
            assert [h.position for h in store.search("a")] == [0]
            with pytest.raises(StoreReadOnly, match="GRANT"):
                store.append("s", messages_of("b"))
        with open_store(server.url("reader", schema=f"{schema}_new")) as store:
            assert store.list() == []
            with pytest.raises(StoreReadOnly):
                store.append("s", messages_of("b"))

    def test_a_server_set_to_read_only(self, server, place):
        """A standby, or a role that may only read, serves reads; a write says what to do."""
        with open_store(place) as store:
            store.append("s", messages_of("a"))
        server.run("CREATE ROLE standby SUPERUSER LOGIN")
        server.run("ALTER ROLE standby SET default_transaction_read_only = on")
        with open_store(place.replace("postgres:@", "standby:@")) as store:
            assert [m.text for m in store.messages("s")] == ["a"]
            with pytest.raises(StoreReadOnly, match="primary"):
                store.append("s", messages_of("b"))

    def test_too_many_connections(self, server, place):
        """A server without a free connection is told as that."""
        with open_store(place) as store, open_store(place) as other:
            store.append("s", messages_of("a"))
            held = []
            try:
                with pytest.raises(psycopg.OperationalError):
                    held.extend(psycopg.connect(server.url()) for _ in range(100))
                with pytest.raises(StoreUnreachable, match="max_connections"):
                    other.list()
                assert store.count() == 1
            finally:
                for connection in held:
                    connection.close()
            assert other.count() == 1

    def test_a_database_in_another_encoding(self, server):
        """A database that cannot hold every text is refused before anything is made in it."""
        server.run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        with open_store(server.url(database="latin")) as store:
            with pytest.raises(StoreUnreachable, match="UTF8"):
                store.append("s", messages_of("a"))


class TestPurge:
    def test_what_was_purged_is_in_no_table_file(self, server, place):
        """After a purge the words are in no file of the database, and the rest is there."""
        with open_store(place) as store:
            store.append("s", messages_of("keep this", "xylophone quagmire"))
            store.append("t", messages_of("xylophone once more"))
            store.compact()  # which has the server look at what is frequent
            assert server.files_with(b"xylophone")
            store.delete("t", purge=True)
            store.trim("s", 0, purge=True)
            assert not server.files_with(b"xylophone")
            store.append("s", messages_of("on"))
            assert store.check() == []

    def test_what_was_encrypted_is_in_no_table_file(self, server, place):
        """After a store was encrypted where it is, no file of the database holds what it said before."""
        with open_store(place) as store:
            store.append("s", messages_of("xylophone quagmire"))
            store.set_metadata("s", "secret", "xylophone")
            store.delete("s")
            store.append("t", messages_of("xylophone once more"))
            store.compact()
            store.encrypt(bytes(range(32)))
            assert not server.files_with(b"xylophone")
            assert [h.position for h in store.search("xylophone")] == [0]
            store.restore("s")
            assert store.get_metadata("s", "secret") == "xylophone"

    def test_a_reader_that_blocks_a_purge_is_told(self, server, place):
        """Where an older transaction may still see what was purged, the purge says where a copy still is."""
        with PostgresStore(place) as store, closing(psycopg.connect(server.url())) as reader:
            store.append("s", messages_of("xylophone"))
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT count(*) FROM pg_class")
            with pytest.raises(StoreLocked, match="VACUUM FULL"):
                store.delete("s", purge=True)
            assert not store.exists("s")
            reader.rollback()
            store.append("t", messages_of("x"))
            store.delete("t", purge=True)
            assert not server.files_with(b"xylophone")


def test_the_server_is_given_or_started():
    """These tests run on a real server, the one named by POSTGRES_URL or one of their own."""
    assert shared_url().startswith(os.environ.get("POSTGRES_URL", "postgresql://"))
