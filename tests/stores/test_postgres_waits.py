"""The PostgreSQL store on a bad connection: silent servers, lost answers, and the number of round trips."""

import signal
import subprocess
import threading
from contextlib import closing

import psycopg
import pytest

from omniagent_cli.errors import StoreUnreachable
from omniagent_cli.stores import open_store
from omniagent_cli.stores.backends.postgres.store import PostgresStore
from tests.servers.counting_proxy import CountingProxy

from .place import start
from .postgres_server import PostgresServer, place_schema

COMMIT = b"COMMIT\0"
"""The statement in the protocol; the name of an isolation level begins like it."""


@pytest.fixture(scope="module")
def server():
    server = PostgresServer("fsync = off")
    yield server
    server.remove()


@pytest.fixture
def proxy(server):
    with closing(CountingProxy(server.port)) as proxy:
        yield proxy


@pytest.fixture
def url(server, proxy, tmp_path):
    """Return the URL of a store behind the proxy; statements are sent as text, so that the proxy can read them."""
    schema = place_schema(tmp_path)
    return server.tcp_url(
        port=proxy.port, schema=schema, sslmode="disable", connect_timeout=2, prepare_threshold=0
    )


def message(text):
    return {"role": "user", "content": text}


def texts(server, tmp_path):
    with open_store(server.url(schema=place_schema(tmp_path))) as store:
        return [m.text for m in store.messages("s")]


class TestSilence:
    def test_a_silent_server_is_given_up(self, proxy, url):
        """A server that acknowledges and says nothing ends each call after the timeout, and is usable afterwards."""
        with open_store(url, answer_timeout=0.2) as store:
            store.append("s", message("before"))
            proxy.silent = True
            with pytest.raises(StoreUnreachable, match="does not answer"):
                store.append("s", message("lost"))
            proxy.silent = False
            store.append("s", message("after"))
            assert [m.text for m in store.messages("s")] == ["before", "after"]

    def test_one_silent_connection_is_replaced(self, proxy, url, server, tmp_path):
        """A call whose connection hangs while the server still answers others is done on another one, once."""
        with open_store(url, answer_timeout=0.2, statement_timeout=1) as store:
            store.append("s", message("before"))
            proxy.trap = (b"FOR UPDATE", "silence")
            store.append("s", message("after"))
        assert texts(server, tmp_path) == ["before", "after"]

    def test_a_busy_server_is_waited_for(self, proxy, url):
        """A statement may take longer than the timeout, as long as the server accepts connections."""
        with open_store(url, answer_timeout=0.1) as store:
            sleep = "SELECT pg_sleep(0.5)"
            store.append("s", message("a"))
            assert store.transact(lambda tx: tx.execute(sleep).fetchone(), write=False) == (b"",)

    def test_maintenance_takes_its_time(self, server, tmp_path):
        """A purge that waits for a lock longer than both timeouts ends well: vacuum has no limit of its own."""
        url = server.url(schema=place_schema(tmp_path))
        with (
            open_store(url, answer_timeout=0.1, statement_timeout=0.5) as store,
            closing(psycopg.connect(server.url())) as other,
        ):
            store.append("s", message("a"))
            other.execute(f'LOCK TABLE "{store.schema}".records IN ACCESS SHARE MODE')

            def hold():
                other.execute("SELECT pg_sleep(1.2)")
                other.rollback()

            holder = threading.Thread(target=hold)
            holder.start()
            assert store.delete("s", purge=True)
            holder.join()

    def test_a_migration_takes_its_time(self, server, tmp_path):
        """A migration may take longer than both timeouts."""
        url = server.url(schema=place_schema(tmp_path))

        class Next(PostgresStore):
            migrations = (
                *PostgresStore.migrations,
                lambda connection, _: connection.execute("SELECT pg_sleep(1.2)"),
            )

        with open_store(url) as store:
            store.append("s", message("a"))
        with Next(url, answer_timeout=0.1, statement_timeout=0.5) as store:
            assert store.count_messages("s") == 1
            assert store.info()["schema_version"] == len(Next.migrations)

    def test_ctrl_c_gets_through(self, proxy, url):
        """Ctrl-C ends the wait for a silent server."""
        code = """
import sys
from omniagent_cli.stores import open_store
store = open_store(sys.argv[1])
store.append("s", {"role": "user", "content": "a"})
print("ready", flush=True)
sys.stdin.readline()
try:
    store.append("s", {"role": "user", "content": "b"})
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
        process = start(code, url, stdin=subprocess.PIPE)
        assert process.stdout.readline() == "ready\n"
        sent = threading.Event()
        proxy.on_withheld = sent.set
        proxy.silent = True
        process.stdin.write("\n")
        process.stdin.flush()
        assert sent.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == "stopped\n"


class TestLostAnswers:
    def test_a_stored_commit_is_found(self, proxy, url, server, tmp_path):
        """A commit whose answer was lost is looked up: what was stored is a success, and stored once."""
        with open_store(url) as store:
            store.append("s", message("before"))
            proxy.trap = (COMMIT, "cut")
            (stored,) = store.append("s", message("lost"))
            assert stored.position == 1
            proxy.trap = (COMMIT, "cut")
            store.set_metadata("s", "k", 1)
            assert store.get_metadata("s", "k") == 1
        assert texts(server, tmp_path) == ["before", "lost"]

    def test_a_commit_that_never_arrived_is_repeated(self, proxy, url, server, tmp_path):
        """A commit that did not reach the server is done again, once."""
        with open_store(url) as store:
            store.append("s", message("before"))
            proxy.trap = (COMMIT, "drop")
            store.append("s", message("again"))
        assert texts(server, tmp_path) == ["before", "again"]

    def test_what_cannot_be_looked_up_is_unknown(self, proxy, url, server, tmp_path):
        """While the server is out of reach the error says that the outcome is unknown."""
        with open_store(url, answer_timeout=0.2, lock_timeout=0.1) as store:
            store.append("s", message("before"))
            proxy.trap = (COMMIT, "silence all")
            with pytest.raises(StoreUnreachable, match="check if the change was stored"):
                store.append("s", message("perhaps"))
            proxy.silent = False
        assert texts(server, tmp_path)[0] == "before"

    def test_an_unknown_id_is_no_proof(self, proxy, url, server, tmp_path):
        """A committed transaction without the message, as after a failover, is reported as unknown."""
        with open_store(url) as store, closing(psycopg.connect(server.url())) as other:
            store.append("s", message("before"))
            other.execute("BEGIN")

            def remove():
                schema = place_schema(tmp_path)
                other.execute(f'DELETE FROM "{schema}".messages WHERE position = 1')
                other.commit()

            proxy.trap = (COMMIT, "cut")
            proxy.on_cut = remove
            with pytest.raises(StoreUnreachable, match="check if the change was stored"):
                store.append("s", message("lost"))


class TestRoundTrips:
    def test_operations_of_the_library(self, server, tmp_path):
        """Each call on an open store waits for at most two answers; opening it adds that of the connection."""
        with closing(CountingProxy(server.port, delay=0.03)) as proxy:
            url = server.tcp_url(port=proxy.port, schema=place_schema(tmp_path), sslmode="disable")

            def open_and_append():
                with open_store(url) as store:
                    store.append("s", message("a"))

            open_and_append()
            with open_store(url) as store:
                store.set_metadata("s", "k", 1)
                for expected, call in (
                    (2, lambda: store.append("s", message("a"))),
                    (2, lambda: store.list(limit=20)),
                    (2, store.count),
                    (2, lambda: store.messages("s", last=50)),
                    (1, lambda: store.get_metadata("s", "k")),
                    (2, lambda: store.set_metadata("s", "k", 2)),
                    (1, lambda: store.exists("s")),
                    (3, open_and_append),
                ):
                    assert _round_trips(proxy, call, expected) == expected


def _round_trips(proxy, call, expected):
    """Return the number of answers that a call waits for.

    On a busy machine an answer that nobody waits for may be delivered before the call has ended, so the smallest of some
    counts is right; none can be too small.
    """
    counts = []
    while len(counts) < 20 and expected not in counts:
        proxy.settle()
        before = proxy.round_trips
        call()
        counts.append(proxy.round_trips - before)
    return min(counts)
