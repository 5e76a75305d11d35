"""The PostgreSQL store behind PgBouncer, which gives each transaction another session of the server."""

import threading

import psycopg
import pytest

from omniagent_cli.errors import ConfigError, SessionNotFound, StoreUnreachable
from omniagent_cli.stores import open_store
from omniagent_cli.stores.backends.postgres.store import PostgresStore

from .postgres_server import Bouncer, PostgresServer, needs_pgbouncer, place_schema, place_url

pytestmark = needs_pgbouncer


@pytest.fixture(scope="module")
def server():
    server = PostgresServer("fsync = off")
    yield server
    server.remove()


@pytest.fixture(scope="module", params=["transaction", "statement"])
def bouncer(server, request):
    """Return a pooler in either mode, with fewer sessions than the tests have writers."""
    bouncer = Bouncer(server, request.param, "default_pool_size = 3")
    yield bouncer
    bouncer.remove()


@pytest.fixture
def url(server, bouncer, tmp_path):
    return server.tcp_url(port=bouncer.port, schema=place_schema(tmp_path))


def message(text):
    return {"role": "user", "content": text}


def in_threads(work, count):
    failed = []

    def run(number):
        try:
            work(number)
        except Exception as error:  # noqa: BLE001  # each one is reported
            failed.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


class TestPooler:
    def test_eight_writers_lose_and_double_nothing(self, url):
        """Eight clients that find no store create one, write and read it: no call fails, each message is stored once."""

        def write(number):
            with open_store(url) as store:
                for turn in range(15):
                    store.append("s", [message(f"{number}.{turn}.{part}") for part in (0, 1)])
                    assert len(store.messages("s", last=2)) == 2
                    assert store.search(f"{number}", limit=1)
                    assert [summary.id for summary in store.list()] == ["s"]

        in_threads(write, 8)
        with open_store(url) as store:
            texts = [m.text for m in store.messages("s")]
            assert store.check() == []
        batches = [text.removesuffix(".0") for text in texts[::2]]
        assert texts == [f"{batch}.{part}" for batch in batches for part in (0, 1)]
        assert sorted(batches) == sorted(f"{n}.{turn}" for n in range(8) for turn in range(15))

    def test_no_setting_reaches_other_clients(self, server, bouncer, url):
        """No setting outlives the transaction, since the session is another client's next."""
        with open_store(url, lock_timeout=7, statement_timeout=33) as store:
            for number in range(10):
                store.append("s", message(f"{number}"))
            store.list()
            store.compact()
            settings = "statement_timeout", "lock_timeout", "jit", "synchronous_commit", "timezone"
            with (
                psycopg.connect(server.tcp_url(port=bouncer.port), autocommit=True) as there,
                psycopg.connect(server.tcp_url(), autocommit=True) as fresh,
            ):
                there.prepare_threshold = None
                for name in settings:
                    expected = fresh.execute(f"SHOW {name}").fetchone()
                    assert there.execute(f"SHOW {name}").fetchone() == expected
                statements = "SELECT count(*) FROM pg_prepared_statements"
                assert there.execute(statements).fetchone() == (0,)

    def test_the_settings_count_in_each_transaction(self, url):
        """Timeouts apply although the session belongs to nobody."""
        with open_store(url, statement_timeout=33, lock_timeout=7) as store:
            query = (
                "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
                " current_setting('jit')"
            )
            for _ in range(2):
                shown = store.transact(lambda tx: tx.execute(query).fetchone(), write=True)
                assert shown == ("33s", "7s", "off")

    def test_a_parameter_it_rejects(self, url):
        """A parameter of the URL that a pooler does not accept is named with the remedy."""
        with open_store(f"{url}&options=-c%20work_mem%3D1MB") as store:
            with pytest.raises(StoreUnreachable, match=r"rejects.*options.*; remove it"):
                store.list()

    def test_every_kind_of_operation(self, server, url):
        """Deletion, restoring, purge, encryption, repair and information work as on a direct connection."""
        with open_store(url) as store:
            store.append("s", [message("xylophone"), message("pear")])
            store.append("t", message("xylophone"))
            uid = store.header("s").uid
            store.delete("t")
            store.restore("t")
            store.delete("t", purge=True)
            store.trim("s", 1, purge=True)
            assert not server.files_with(b"xylophone")
            with pytest.raises(SessionNotFound):
                store.set_title("t", "title")
            with pytest.raises(ZeroDivisionError):
                store.transact(
                    lambda tx: tx.put_record(uid, "summary", "1", b"") or 1 / 0, write=True
                )
            assert list(store.iter_records("s", "summary")) == []
            store.encrypt(bytes(range(32)))
            assert [hit.position for hit in store.search("pear")] == [1]
            assert store.check(repair=True) == []
            assert store.info()["pooler"] is True
        with open_store(place_url(url)) as direct:
            assert direct.info()["pooler"] is False


def prepared(store):
    """Return the number of prepared statements in the session of a store, after enough transactions."""
    for _ in range(6):
        store.append("s", message("a"))
    query = "SELECT count(*) FROM pg_prepared_statements"
    return store.transact(lambda tx: tx.execute(query).fetchone(), write=False)[0]


class TestPreparedStatements:
    def test_they_can_be_switched_off(self, server, tmp_path):
        """The URL or the option switches prepared statements off; a direct connection has them otherwise."""
        url = server.url(schema=place_schema(tmp_path))
        with open_store(url, pool_size=1) as store:
            assert prepared(store) > 3
        for off in ("&prepare_threshold=0", "&prepare_threshold=none", "&pgbouncer=true"):
            with PostgresStore(url + off, pool_size=1) as store:
                assert prepared(store) == 0
        for threshold in (None, 0):
            with open_store(url, prepare_threshold=threshold, pool_size=1) as store:
                assert prepared(store) == 0

    def test_a_pooler_that_hides_itself(self, server, tmp_path):
        """A statement that the session does not have makes the store continue without prepared ones, and store once."""
        with open_store(server.url(schema=place_schema(tmp_path)), pool_size=1) as store:
            assert prepared(store)
            store.transact(
                lambda tx: tx.execute("DO 'BEGIN EXECUTE ''DEALLOCATE ALL''; END'"), write=False
            )
            store.append("s", message("after"))
            assert [m.text for m in store.messages("s")] == ["a"] * 6 + ["after"]
            assert prepared(store) == 0

    @pytest.mark.parametrize("wrong", ["answer_timeout=soon", "pool_size=-1", "lock_timeout=inf"])
    def test_a_wrong_value_is_named(self, wrong):
        """A parameter of the URL that is not a number is a setting that is wrong."""
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            PostgresStore(f"postgresql://h/db?{wrong}")
