"""The PostgreSQL store where it is not like the others: places, schemas, many processes, its index and its care."""

import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from omniagent_cli.errors import (
    ConfigError,
    InvalidRecord,
    NewerVersion,
    NotOurStore,
    OmniAgentError,
    StoreReadOnly,
    StoreUnreachable,
    UnsupportedOperation,
)
from omniagent_cli.models import Message
from omniagent_cli.stores import open_store
from omniagent_cli.stores.backends.postgres.full_text import WORD_LENGTH
from omniagent_cli.stores.backends.postgres.store import PostgresStore
from omniagent_cli.testing import FakeClock
from omniagent_cli.testing.contract_listing import ODD_IDS

from .postgres_server import place_schema, place_url, shared_url


@pytest.fixture
def url(tmp_path):
    return place_url(tmp_path)


@pytest.fixture
def schema(tmp_path):
    return place_schema(tmp_path)


@pytest.fixture
def sql(schema):
    """Return a function that runs a statement in which ``$name`` is a table of the test's store."""
    with closing(psycopg.connect(shared_url(), autocommit=True)) as connection:

        def run(statement, *values):
            cursor = connection.execute(statement.replace("$", f'"{schema}".'), values or None)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def store(url):
    with open_store(url) as store:
        yield store


def messages_of(*texts):
    return [{"role": "user", "content": text} for text in texts]


def url_and_list(opened, url):
    """Open a store, check that its URL has nothing of the password, and list its sessions."""
    with opened(url, connect_timeout=2) as store:
        assert "hun" not in store.url
        assert "ter2" not in store.url
        store.list()


class TestPlaces:
    def test_a_url_and_its_parts_are_one_place(self):
        """Host, port, user, password and database can stand in the URL or beside it; beside counts more."""
        whole = PostgresStore("postgresql://me:secret@db.example:5433/chats?sslmode=require")
        parts = PostgresStore(
            "postgres://db.example/other?sslmode=require",
            port=5433, user="me", password="secret", database="chats",
        )  # fmt: skip
        assert whole.url == parts.url == "postgresql://me@db.example:5433/chats?sslmode=require"
        assert whole._place.parameters == parts._place.parameters
        assert whole._place.parameters["sslmode"] == "require"

    def test_a_password_is_never_shown(self):
        """Neither url, repr nor any error holds a password, wherever it was written."""
        for url in (
            "postgresql://me:s3cret@127.0.0.1:1/x",
            "postgresql://127.0.0.1:1/x?user=me&password=s3cret",
            "postgresql://me:s3cret@127.0.0.1:1/x?schema=other&sslpassword=s3cret",
        ):
            with open_store(url, connect_timeout=2) as store:
                assert "s3cret" not in store.url + repr(store) + repr(store._link.__dict__)
                with pytest.raises(StoreUnreachable) as caught:
                    store.list()
            assert "s3cret" not in f"{caught.value!r} {caught.value}"
        for url in ("postgresql://me:s3%zzret@h/x", "postgresql://me:s3cret@h/x?what=1"):
            with pytest.raises(ConfigError) as caught:
                open_store(url)
            assert "s3" not in str(caught.value)
            assert caught.value.__suppress_context__

    @pytest.mark.parametrize("mark", ["/", "@", "[", "]", "#", "?", ":", "%", "12/", "a@b/"])
    @pytest.mark.parametrize("opened", [open_store, PostgresStore])
    def test_a_password_that_is_not_encoded(self, mark, opened):
        """A special character in a password reaches the server or is refused with a hint; nothing of it is printed."""
        for form in (
            "postgresql://me:hun{}ter2@127.0.0.1:1/x",
            "postgresql:me:hun{}ter2@127.0.0.1:1/x",
        ):
            with pytest.raises((ConfigError, StoreUnreachable)) as caught:
                url_and_list(opened, form.format(mark))
            text = str(caught.value)
            assert "hun" not in text
            assert "ter2" not in text
            assert "percent-encode" in text or "127.0.0.1:1/x" in text

    @pytest.mark.parametrize("name", ["", "pg_mine", "a b", 'a"b', "a;b", "x" * 64, "1a", "ä"])
    def test_what_is_no_schema_is_refused(self, name):
        """A schema is a plain name; anything else is a setting that is wrong."""
        if name:
            with pytest.raises(ConfigError, match="schema"):
                PostgresStore(schema=name)
        else:
            assert PostgresStore(schema=name).schema == "omniagent"

    def test_the_driver_is_loaded_by_the_first_such_store(self):
        """Opening any other store does not pay for the PostgreSQL driver."""
        code = """
import sys
from omniagent_cli.stores import open_store
with open_store("memory:") as store:
    store.append("s", {"role": "user", "content": "x"})
print([name for name in sys.modules if name.startswith("psycopg")])
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout == "[]\n"

    def test_a_backup_is_the_servers(self, store, tmp_path):
        """`backup` names the command that does it, without the password."""
        with pytest.raises(UnsupportedOperation, match=r"pg_dump .*--schema"):
            store.backup(tmp_path / "x")


class TestSchemas:
    def test_reading_makes_nothing(self, url, sql, schema):
        """A store that is not there reads as an empty one, and is made by the first write."""
        with open_store(url) as store:
            assert store.list() == store.search("x") == store.trash() == store.check() == []
            assert store.info()["messages"] == store.count() == 0
            assert not sql("SELECT FROM pg_namespace WHERE nspname = %s", schema)
            store.append("s", messages_of("a"))
            assert store.info()["messages"] == 1
        with open_store(url, read_only=True) as store:
            assert [m.text for m in store.messages("s")] == ["a"]
            with pytest.raises(StoreReadOnly):
                store.append("s", messages_of("b"))
            with pytest.raises(StoreReadOnly):
                store.compact()

    def test_two_schemas_never_see_each_other(self, store, tmp_path):
        """Two stores on one database have nothing in common, whatever is done in one of them."""
        with open_store(place_url(tmp_path / "other")) as other:
            store.append("s", messages_of("apple"))
            other.append("s", messages_of("pear"))
            assert store.search("pear") == other.search("apple") == []
            other.delete("s", purge=True)
            other.compact()
            assert [m.text for m in store.messages("s")] == ["apple"]
            assert other.list() == other.trash() == []
            assert store.trash() == []

    def test_another_programs_schema_is_left_alone(self, url, sql, schema):
        """A schema that holds tables and is no store is told apart, and nothing is made in it."""
        sql(f'CREATE SCHEMA "{schema}"')
        sql("CREATE TABLE $theirs (x int)")
        with open_store(url) as store:
            for operation in (store.list, lambda: store.append("s", messages_of("a"))):
                with pytest.raises(NotOurStore, match="another program"):
                    operation()
        assert sql("SELECT count(*) FROM pg_tables WHERE schemaname = %s", schema) == [(1,)]

    def test_an_empty_schema_is_filled(self, url, sql, schema):
        """Who may not make schemas can be given an empty one."""
        sql(f'CREATE SCHEMA "{schema}"')
        with open_store(url) as store:
            assert store.list() == []
            store.append("s", messages_of("a"))
            assert store.count() == 1

    def test_a_newer_store_is_refused(self, store, url, sql):
        """A store that a newer omniagent migrated is neither read nor written, not even by who has it open."""
        store.append("s", messages_of("a"))
        sql("UPDATE $omniagent_store SET version = 99")
        with open_store(url) as other:
            for handle in (store, other):
                with pytest.raises(NewerVersion, match="99"):
                    handle.list()
                with pytest.raises(NewerVersion):
                    handle.append("s", messages_of("b"))
        sql("UPDATE $omniagent_store SET version = %s", len(PostgresStore.migrations))
        assert store.count_messages("s") == 1

    def test_a_schema_that_is_dropped_while_open(self, store, sql, schema):
        """One call says that the tables are gone; the next one uses what is there now."""
        store.append("s", messages_of("a"))
        sql(f'DROP SCHEMA "{schema}" CASCADE')
        with pytest.raises(StoreUnreachable, match="removed"):
            store.append("s", messages_of("b"))
        assert store.list() == []
        store.append("s", messages_of("c"))
        assert [m.text for m in store.messages("s")] == ["c"]


EVIL = [
    *ODD_IDS,
    "'); DROP SCHEMA public CASCADE; --",
    '"; DROP TABLE sessions; --',
    "%s %b %(x)s %% $1 $sessions ${x} {} {0}",
    "\\'; SELECT pg_sleep(9); --",
    "E'\\x00'",
    "$$; DROP TABLE x; $$",
]


class TestTexts:
    def test_no_text_is_a_statement(self, store, sql):
        """Ids, names, titles, keys, roles of a search, prefixes and queries are data everywhere."""
        for evil in EVIL:
            store.write(evil, messages_of(f"text {evil}"), agent_id=evil, model=evil)
            store.set_title(evil, evil)
            store.set_metadata(evil, evil, evil)
            store.set_state(evil, evil, evil)
            record = {"role": "assistant", "content": evil, "id": evil, "turn_id": evil}
            store.append(evil, record)
            assert store.get(evil).messages[1].turn_id == evil
            assert [s.id for s in store.list(agent_id=evil, metadata={evil: evil})] == [evil]
            assert evil in [s.id for s in store.list(prefix=evil)]
            store.search(evil, session_id=evil, role=evil)
        assert store.count() == len(EVIL)
        assert store.count(prefix="%") == sum(evil.startswith("%") for evil in EVIL)
        assert sql("SELECT count(*) FROM $sessions") == [(len(EVIL),)]
        for evil in EVIL:
            store.delete(evil)
        assert len(store.trash()) == len(EVIL)

    @pytest.mark.parametrize("bad", ["a\x00b", "half \ud800"])
    def test_what_a_column_cannot_hold(self, store, bad):
        """NUL and half characters are kept in content, and refused by our own error where a column would hold them."""
        store.append("s", messages_of(bad))
        store.set_metadata("s", "k", {bad: [bad]})
        assert store.messages("s")[0].text == bad
        assert store.get_metadata("s", "k") == {bad: [bad]}
        for field in ("id", "turn_id", "role"):
            with pytest.raises(OmniAgentError):
                store.append("s", {"role": "user", "content": "x", field: bad})
        with pytest.raises(InvalidRecord):
            store.write("t", messages_of("x"), agent_id=bad)
        assert store.count_messages("s") == 1

    def test_more_than_a_socket_holds(self, store):
        """Messages larger than all buffers between client and server are stored and read."""
        large = [f"{number} {'x' * 3_000_000}" for number in range(3)]
        store.append("s", messages_of(*large))
        assert [m.text for m in store.messages("s")] == large

    def test_the_bytes_are_pinned(self, url, sql):
        """What stands in the tables is what other versions will read."""
        moment = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
        with open_store(url, clock=lambda: moment, ttl="1h") as store:
            record = {"role": "user", "content": "Äpfel, apples; APPLES", "id": "m"}
            store.append("s", record)
        time = "2026-11-21T09:30:00.000000Z"
        assert sql("SELECT * FROM $messages") == [
            (1, 0, "m", "m", "user", time, None, "'apfel' 'apples'",
             '{"content":"Äpfel, apples; APPLES"}'.encode()),
        ]  # fmt: skip
        (header,) = sql("SELECT * FROM $sessions")
        assert header[2:] == (
            "s", time, time, "", "", 3600.0, "2026-11-21T10:30:00.000000Z", 1, 1, 1,
            False, False, False, '"Äpfel, apples; APPLES"'.encode(),
            '{"title":"Äpfel, apples; APPLES","title_source":"auto"}'.encode(), None,
        )  # fmt: skip

    def test_a_store_of_version_1(self, url, sql):
        """A store of version 1 is migrated with its sessions, whose last change was their last activity."""
        clock = FakeClock()
        with open_store(url, clock=clock) as store:
            store.append("s", messages_of("a"))
        sql("ALTER TABLE $sessions DROP COLUMN modified_at")
        sql("UPDATE $omniagent_store SET version = 1")
        with open_store(url, clock=clock) as store:
            assert store.summary("s").modified_at == clock.now
            clock.advance("1h")
            store.tag("s", ["work"])
            summary = store.summary("s")
            assert summary.modified_at - summary.updated_at == timedelta(hours=1)


class TestSearch:
    def test_words_of_any_length_are_found(self, store):
        """Words longer than the index holds are found, whole and by their beginning."""
        long = "x" * (WORD_LENGTH * 50)
        store.append("s", messages_of(f"a {long}a b", f"a {long}b b", "日" * 5000 + "本"))
        assert [h.position for h in store.search(long + "a")] == [0]
        assert [h.position for h in store.search(long[:-1] + "*")] == [1, 0]
        assert [h.position for h in store.search('"日本"')] == [2]
        assert store.search("*").scanned == 0

    def test_a_message_with_too_many_words_is_found(self, store, sql):
        """A message whose words no index entry can hold is searched all the same."""
        words = " ".join(f"word{n:x}" for n in range(120_000))
        store.append("s", messages_of("short", words))
        assert sql("SELECT position, words IS NULL FROM $messages ORDER BY 1") == [
            (0, False),
            (1, True),
        ]
        assert [h.position for h in store.search("word1d4bf")] == [1]
        assert store.check() == []

    def test_the_index_can_answer(self, store):
        """What is asked for words is a question that the index answers, unindexed messages included."""
        store.append("s", messages_of(*(f"message {n} of many" for n in range(300)), "needle"))

        def plan(tx):
            tx.execute("SET LOCAL enable_seqscan = off")
            asked = "EXPLAIN SELECT FROM $messages WHERE (words @@ %s::tsquery OR words IS NULL)"
            return str(tx.execute(asked, ("'needle'",)).fetchall())

        told = store.transact(plan, write=False)
        assert "messages_words" in told
        assert "messages_unindexed" in told
        assert [h.position for h in store.search("needle")] == [300]


class TestClock:
    def test_the_server_decides_about_time(self, url):
        """Without a clock of its own a store goes by the server's, whatever this machine thinks the time is."""
        with open_store(url, ttl="1h") as store:
            store._clock = lambda: datetime(1999, 1, 1, tzinfo=UTC)
            (message,) = store.append("s", messages_of("a"))
            created = datetime.fromisoformat(message.record["created_at"])
            assert abs((created - datetime.now(UTC)).total_seconds()) < 60
            assert store.exists("s")
            store._clock = lambda: datetime(2999, 1, 1, tzinfo=UTC)
            assert store.exists("s")
            assert store.count_expired() == 0

    def test_only_what_is_final_waits_for_the_disk(self, store):
        """Streaming checkpoints do not wait for the server's disk; everything else does."""
        told = []
        for durable in (True, False):
            store._run(
                lambda tx: told.extend(tx.execute("SHOW synchronous_commit").fetchone()),
                write=True,
                durable=durable,
            )
        assert told == ["on", "off"]


class TestCare:
    def test_rows_that_belong_to_nobody(self, store, sql, schema):
        """Messages whose session is gone become a session of their own; the store is copied before."""
        store.append("s", messages_of("apple", "pear"))
        store.put_attachment("s", "a" * 64, {"name": "f"})
        sql("ALTER TABLE $messages DROP CONSTRAINT messages_session")
        sql("ALTER TABLE $records DROP CONSTRAINT records_session")
        sql("DELETE FROM $sessions")
        assert [p.repaired for p in store.check()] == [False, False]
        findings = store.check(repair=True)
        assert findings.copied_to.startswith(f"schema {schema[:38]}")
        copy = findings.copied_to.split()[1]
        assert sql(f'SELECT count(*) FROM "{copy}".messages') == [(2,)]
        sql(f'DROP SCHEMA "{copy}" CASCADE')
        (summary,) = store.list()
        assert summary.id.startswith("recovered-")
        assert [m.text for m in store.messages(summary.id)] == ["apple", "pear"]
        assert store.attachments(summary.id) == ["a" * 64]
        assert store.check() == []

    def test_an_index_out_of_step(self, store, sql, schema):
        """Wrong words and missing indexes are found, told, and mended."""
        store.append("s", messages_of("apple", "pear"))
        sql("UPDATE $messages SET words = '''wrong''' WHERE position = 1")
        sql("DROP INDEX $sessions_updated")
        sql("DROP INDEX $messages_words")
        told = [problem.what for problem in store.check()]
        assert len(told) == 3
        assert "wrong for 1 messages" in told[2]
        findings = store.check(repair=True)
        assert all(problem.repaired for problem in findings)
        sql(f'DROP SCHEMA "{findings.copied_to.split()[1]}" CASCADE')
        assert store.check() == []
        assert [h.position for h in store.search("pear")] == [1]

    def test_a_count_that_is_wrong_is_mended(self, store, sql):
        """A next position that is taken says so instead of repeating for ever, and is mended."""
        store.append("s", messages_of("apple", "pear"))
        sql("UPDATE $sessions SET next_position = 1")
        with pytest.raises(OmniAgentError, match="store check --repair"):
            store.append("s", messages_of("plum"))
        store.copy_before_repair = lambda: None
        store.check(repair=True)
        store.append("s", messages_of("plum"))
        assert [m.position for m in store.messages("s")] == [0, 1, 2]

    def test_info_tells_of_the_server(self, store):
        """`info` tells version, schema, size and whether the connection is encrypted."""
        store.append("s", [Message("user", "a"), Message("user", "b")])
        facts = store.info()
        assert (facts["backend"], facts["messages"], facts["schema_version"]) == ("postgres", 2, 2)
        assert facts["bytes"] > 0
        assert facts["server_version"][:2].isdigit()
        assert facts["ssl"] in (True, False)
