"""The PostgreSQL store for users with few rights, on standbys, over TLS, and on a full disk: each is reported as what it is."""

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from omniagent_cli.errors import StoreFull, StoreLocked, StoreReadOnly, StoreUnreachable
from omniagent_cli.stores import open_store
from tests.cli.conftest import db, run

from .postgres_server import PostgresServer, as_user, give, place_schema

__all__ = ["db", "run"]


@pytest.fixture(scope="module")
def server():
    server = PostgresServer("fsync = off", "wal_level = replica", "max_wal_senders = 2")
    server.run("CREATE ROLE app LOGIN")
    yield server
    server.remove()


@pytest.fixture
def schema(tmp_path):
    return place_schema(tmp_path)


@pytest.fixture
def url(server, schema):
    """Return the URL of the owner of a store that has one session."""
    url = server.url(schema=schema)
    with open_store(url) as store:
        store.append("s", message("pear"))
    return url


@pytest.fixture
def app(server, url, schema):
    """Return the URL of a user who has the rights that the manual lists, and not more."""
    manual = (Path(__file__).parents[2] / "omniagent_cli/manual/stores.md").read_text()
    grants = manual.partition("```sql\n")[2].partition("```")[0].splitlines()
    assert len(grants) == 2
    for grant in grants:
        server.run(grant.replace("omniagent", schema))
    return server.url("app", schema=schema)


def message(text):
    return {"role": "user", "content": text}


@pytest.fixture
def doctor(run, monkeypatch):
    """Return a function that runs `doctor` and returns what it finds wrong with a store."""
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")

    def doctor(url):
        return [
            row[2:]
            for row in run("doctor", store=url).cells
            if row[0] == "store" and row[1] == "problem"
        ]

    return doctor


class TestRights:
    def test_the_rights_in_the_manual_suffice(self, app, url, doctor):
        """With the rights that the manual lists everything works except what needs the owner of the tables."""
        with open_store(app) as store:
            store.append("s", message("apple"))
            store.set_title("s", "title")
            store.append("t", message("plum"))
            store.rename("t", "u")
            store.delete("u")
            store.restore("u")
            store.trim("s", 1)
            assert [hit.session_id for hit in store.search("apple")] == ["s"]
            assert store.check() == []
            assert "not_writable" not in store.info()
        assert doctor(app) == []

    def test_who_may_not_vacuum_purges_nothing(self, app, server):
        """A purge or an encryption that would leave the words in the files fails before it changes anything."""
        with open_store(app) as store:
            store.append("t", message("xylophone"))
            before = store.list()
            for operation in (
                lambda: store.delete("t", purge=True),
                lambda: store.trim("t", 0, purge=True),
                lambda: store.clear("t", purge=True),
                lambda: store.encrypt(bytes(range(32))),
                store.empty_trash,
                store.purge_expired,
            ):
                with pytest.raises(
                    StoreReadOnly, match=r"may not vacuum.*nothing was changed.*postgres"
                ):
                    operation()
            with pytest.raises(StoreReadOnly, match="not compacted"):
                store.compact()
            assert store.list() == before
            assert store.encryption() is None

    def test_the_command_line_says_so(self, app, run):
        """`--purge` and `store encrypt` end with exit 3 and the reason."""
        ran = run("sessions", "delete", "s", "--purge", "--yes", store=app)
        assert (ran.code, ran.out) == (3, "")
        assert "may not vacuum" in ran.err
        assert run("sessions", "show", "s", store=app).code == 0

    def test_all_missing_rights_at_once(self, server, url, schema, doctor):
        """Who lacks rights is given every statement that grants them, by each command and by doctor."""
        app = server.url("app", schema=schema)
        grants = (
            f'GRANT USAGE ON SCHEMA "{schema}" TO "app"',
            f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO "app"',
        )
        with open_store(app) as store:
            for operation in (store.list, lambda: store.append("s", message("a"))):
                with pytest.raises((StoreUnreachable, StoreReadOnly)) as caught:
                    operation()
                assert all(grant in str(caught.value) for grant in grants)
        server.run(f'GRANT USAGE ON SCHEMA "{schema}" TO app')
        server.run(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO app')
        (problem,) = doctor(app)
        assert "cannot be saved" in problem[0]
        assert grants[1] in problem[1]
        for grant in grants:
            server.run(grant)
        with open_store(app) as store:
            store.append("s", message("a"))

    def test_a_schema_that_cannot_be_made(self, server, schema, doctor):
        """The error for a missing right to create the schema names the grant, and doctor reports it before the first message."""
        app = server.url("app", schema=f"{schema}_new")
        grant = 'GRANT CREATE ON DATABASE "postgres" TO "app"'
        with open_store(app) as store:
            assert store.list() == []
            with pytest.raises(StoreReadOnly, match=grant):
                store.append("s", message("a"))
        assert grant in doctor(app)[0][1]
        server.run(f'CREATE SCHEMA "{schema}_new"')
        with open_store(app) as store, pytest.raises(StoreReadOnly, match="GRANT USAGE, CREATE ON"):
            store.append("s", message("a"))

    def test_a_user_who_may_only_read(self, server, url, schema, doctor):
        """A server or user set to read only serves reads; a write and doctor name the reason."""
        server.run("CREATE ROLE frozen SUPERUSER LOGIN")
        server.run("ALTER ROLE frozen SET default_transaction_read_only = on")
        frozen = server.url("frozen", schema=schema)
        with open_store(frozen) as store:
            assert [m.text for m in store.messages("s")] == ["pear"]
            with pytest.raises(StoreReadOnly, match="primary"):
                store.append("s", message("a"))
        assert "set to read only" in doctor(frozen)[0][0]


def test_a_standby(server, url, schema, doctor):
    """A standby serves reads; a write and doctor say that it is one."""
    standby = PostgresServer(primary=server)
    try:
        there = standby.url(schema=schema)
        with open_store(there) as store:
            assert [m.text for m in store.messages("s")] == ["pear"]
            with pytest.raises(StoreReadOnly, match="standby"):
                store.append("s", message("a"))
            with pytest.raises(StoreReadOnly):
                store.compact()
        assert "standby" in doctor(there)[0][0]
    finally:
        standby.remove()


@pytest.fixture(scope="module")
def certified(server):
    """Turn on TLS with a certificate that nobody signed, and return its file."""
    certificate, key = server.data / "server.crt", server.data / "server.key"
    openssl = shutil.which("openssl")
    subprocess.run(
        as_user(
            openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=db.example",
            "-keyout", key, "-out", certificate,
        ),
        check=True, capture_output=True, cwd="/",
    )  # fmt: skip
    server.change("ssl = on")
    server.run("SELECT pg_reload_conf()")
    return certificate


class TestConnections:
    def test_each_cause_is_named(self, server, certified, schema, url, tmp_path, monkeypatch):
        """What prevents a connection is named with its remedy; it is never a server that does not answer."""
        server.let_in("host all nobody 127.0.0.1/32 reject")
        server.run("CREATE ROLE nobody LOGIN")
        monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path))
        (tmp_path / "pg_service.conf").write_text("[here]\nhost=127.0.0.1\n")
        missing = tmp_path / "missing.crt"
        for place, cause, remedy in (
            (server.tcp_url(sslmode="verify-full", sslrootcert=missing), str(missing), "sslrootcert"),
            (server.tcp_url(sslmode="verify-full", sslrootcert="system"), "not trusted", "sslrootcert"),
            (server.tcp_url(sslmode="verify-full", sslrootcert=certified), "another host", "host name"),
            (server.tcp_url("nobody"), "rejects connections", "pg_hba.conf"),
            ("postgresql://?service=nope", "nope", "pg_service.conf"),
            (server.tcp_url(sslmode="require", sslcert=certified, sslkey=missing), "client key", "sslkey"),
        ):  # fmt: skip
            with open_store(place) as store, pytest.raises(StoreUnreachable) as caught:
                store.list()
            text = str(caught.value)
            assert cause in text
            assert remedy in text.rpartition("; ")[2]
            assert "cannot reach" not in text
        verified = server.tcp_url(sslmode="verify-ca", sslrootcert=certified, schema=schema)
        with open_store(verified) as store:
            assert store.info()["ssl"] is True

    def test_everything_from_the_environment(self, server, monkeypatch, schema, url, run):
        """`postgresql:` alone is the place that libpq's environment variables name."""
        monkeypatch.setenv("PGHOST", str(server.directory))
        monkeypatch.setenv("PGPORT", str(server.port))
        monkeypatch.setenv("PGUSER", "postgres")
        monkeypatch.setenv("PGDATABASE", "postgres")
        for short in (f"postgresql:?schema={schema}", f"postgres://?schema={schema}"):
            with open_store(short) as store:
                assert [m.text for m in store.messages("s")] == ["pear"]
        ran = run("sessions", "list", store="postgresql:")
        assert (ran.code, ran.err) == (0, "")


def fill(store, session_id, messages):
    """Append until the disk is full."""
    while True:
        store.append(session_id, messages)


class TestUnfinishedPurge:
    def test_a_table_in_use(self, server, url):
        """A purge that cannot rewrite a table says that the content was removed, and what is left to do."""
        with open_store(url, lock_timeout=0.1) as store, psycopg.connect(server.url()) as other:
            schema = store.schema
            other.execute(f'LOCK TABLE "{schema}".messages IN ACCESS SHARE MODE')
            with pytest.raises(
                StoreLocked, match=rf'was removed.*VACUUM FULL .*"{schema}".messages'
            ):
                store.delete("s", purge=True)
            assert not store.exists("s")

    @pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
    def test_a_full_disk(self, server, tmp_path):
        """On a full disk a purge removes the session and says that its words are still in the files."""
        disk = server.directory / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=False, capture_output=True
        )  # fmt: skip
        if mounted.returncode:
            pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
        try:
            (disk / "space").mkdir(mode=0o700)
            give(disk / "space")
            server.run(f"CREATE TABLESPACE small LOCATION '{disk / 'space'}'")
            server.run("CREATE DATABASE small TABLESPACE small")
            with open_store(server.url(database="small")) as store:
                store.append("s", message("xylophone"))
                large = [message(os.urandom(300_000).hex()) for _ in range(4)]
                with pytest.raises(StoreFull, match="nothing was changed"):
                    fill(store, "t", large)
                with pytest.raises(
                    StoreFull,
                    match=r"content was removed, but it is still in the files.*VACUUM FULL",
                ):
                    store.delete("t", purge=True)
                assert not store.exists("t")
                store.append("s", message("there is room again"))
                assert store.check() == []
            server.run("DROP DATABASE small")
            server.run("DROP TABLESPACE small")
        finally:
            subprocess.run(["umount", "-l", disk], check=True)
