"""One SQLite file as we want it: found to be ours, private, with the schema we know; errors in our words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

from omniagent_cli.errors import NewerVersion, StoreUnreachable, UsageError
from omniagent_cli.stores.backends.sqlite.errors import said
from omniagent_cli.stores.backends.sqlite.file_header import (
    APPLICATION_ID,
    WatchedConnection,
    inspect,
    watched,
)
from omniagent_cli.stores.backends.sqlite.wal import check_recovered, left_behind
from omniagent_cli.stores.private import make_private_directory, unwritable

ENCRYPTED_FLAG = 1 << 16
"""Set in `user_version` beside the schema version when the store is encrypted: it is read by every write anyway, and
an omniagent that knows no encryption refuses the store as newer than itself."""

WAIT_SECONDS = 15.0
"""How long we wait for other processes in all."""

SLICE_SECONDS = 0.2
"""How long one wait inside SQLite lasts, during which Python sees no signal."""

_SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    key INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    id TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    model TEXT NOT NULL,
    ttl_seconds REAL,
    expires_at TEXT,
    message_count INTEGER NOT NULL,
    next_position INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    pinned INTEGER NOT NULL,
    archived INTEGER NOT NULL,
    hidden INTEGER NOT NULL,
    preview BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX sessions_updated ON sessions (hidden, archived, pinned, updated_at, id);
CREATE INDEX sessions_created ON sessions (hidden, archived, pinned, created_at, id);
CREATE TABLE messages (
    key INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    id TEXT NOT NULL,
    turn_id TEXT,
    role TEXT NOT NULL,
    created_at TEXT NOT NULL,
    status TEXT,
    indexed INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_place ON messages (session, position);
CREATE INDEX messages_unindexed ON messages (session, key) WHERE indexed = 0;
CREATE TABLE records (
    session INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (session, kind, key)
) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(text, columnsize=0, tokenize='ascii');
CREATE TRIGGER messages_removed AFTER DELETE ON messages WHEN old.indexed = 1 BEGIN
    DELETE FROM words WHERE rowid = old.key;
END;
"""


def _create(connection: sqlite3.Connection) -> None:
    for statement in _statements(_SCHEMA_1):
        connection.execute(statement)


def _statements(script: str) -> Iterator[str]:
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


T = TypeVar("T")

Migration = Callable[[sqlite3.Connection], None]

MIGRATIONS: tuple[Migration, ...] = (_create,)
"""Step n takes a store from version n to n + 1; steps are never changed once released, only added."""


def patiently(attempt: Callable[[], T], path: str) -> T:
    """Repeat an attempt while other processes are in the way, in slices, so that Ctrl-C gets through.

    Readers need it too: the last process that closes a store holds it while it empties the WAL.

    Raises:
        StoreLocked: they were for longer than `WAIT_SECONDS`.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            busy = (error.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise said(error, path) from error
            time.sleep(0.001)


def stored_version(connection: sqlite3.Connection, path: str) -> int:
    """Return the schema version in the file, with the mark of an encrypted store."""
    row = patiently(lambda: connection.execute("PRAGMA user_version").fetchone(), path)
    return cast("int", row[0])


def connect(
    path: str, *, read_only: bool, migrations: Sequence[Migration]
) -> tuple[sqlite3.Connection, str | None]:
    """Open a store file for use.

    Returns:
        The connection, and the private directory to remove with it when it works on a copy.
    """
    exists, wal = inspect(path)
    try:
        if read_only or (exists and not writable(path)):
            return _connect_reading(path)
        _create_private(path)
        left = left_behind(path) if wal else None
        connection = _connect(path, "mode=rw")
        try:
            if left is not None:
                check_recovered(connection, path, left)
            _bring_up(connection, path, exists=exists, wal=wal, migrations=migrations)
        except BaseException:
            connection.close()
            raise
        return connection, None
    except sqlite3.Error as error:
        raise said(error, path) from error


def writable(path: str) -> bool:
    """Tell whether we may change a store file: SQLite needs its directory too."""
    return os.access(path, os.W_OK) and os.access(Path(path).parent, os.W_OK)


def _quoted(path: str) -> str:
    """Escape what would end the path in a URI: https://www.sqlite.org/uri.html."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _connect(path: str, options: str) -> sqlite3.Connection:
    connection = watched(
        path,
        lambda: sqlite3.connect(
            f"file:{_quoted(path)}?{options}",
            uri=True,
            timeout=SLICE_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            factory=WatchedConnection,
        ),
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        # it reads the schema
        patiently(lambda: connection.execute("PRAGMA synchronous = FULL"), path)
    except BaseException:
        connection.close()
        raise
    return connection


def _reading(path: str) -> str:
    """Say how SQLite is to read a file without a WAL that nobody reads from a copy; it needs a ``-shm`` otherwise."""
    return "mode=ro" if writable(path) else "mode=ro&immutable=1"


def _connect_reading(path: str) -> tuple[sqlite3.Connection, str | None]:
    """Open without changing anything; a WAL in a place we cannot write is read from a private copy."""
    if writable(path):
        return _connect(path, _reading(path)), None
    wal = Path(path + "-wal")
    if not wal.exists() or wal.stat().st_size == 0:
        return _connect(path, _reading(path)), None
    import shutil
    import tempfile  # with random and hashlib, which no other way of opening a file needs

    directory = tempfile.mkdtemp(prefix="omniagent-")
    copy = str(Path(directory) / "copy.db")
    try:
        before, tries = None, 0
        while before != signature(path) and tries < 20:
            # A checkpoint may move pages from one file to the other while we copy them.
            before, tries = signature(path), tries + 1
            shutil.copyfile(path, copy)
            shutil.copyfile(wal, copy + "-wal")
        return _connect(copy, "mode=rw"), directory
    except BaseException as error:
        shutil.rmtree(directory, ignore_errors=True)
        if isinstance(error, OSError):
            raise StoreUnreachable(
                f"the store {path} can only be read from a copy, and that failed: {error.strerror}"
            ) from error
        raise


def leave_nothing(path: str) -> None:
    """Let SQLite remove the side files that a connection which may only read made and cannot remove itself."""
    if not writable(path):
        return
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"file:{_quoted(path)}?mode=rw", uri=True, timeout=0)
        try:
            connection.execute("PRAGMA user_version").fetchone()
        finally:
            connection.close()


def signature(path: str) -> tuple[tuple[int, int, int], ...]:
    """Return what tells one state of a store's files from another without reading them."""
    found = []
    for name in (path, path + "-wal"):
        with contextlib.suppress(FileNotFoundError):
            status = Path(name).stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _create_private(path: str) -> None:
    """Make the file and its directories for this person alone, whatever the umask."""
    try:
        if Path(path).exists():
            if Path(path).stat().st_size == 0:
                Path(path).chmod(0o600)  # made by `touch` or a lost race, and about to hold words
            return
        make_private_directory(Path(path).parent)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            try:
                if os.name == "posix":
                    os.fchmod(descriptor, 0o600)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise unwritable(path, error) from error


def _bring_up(
    connection: sqlite3.Connection,
    path: str,
    *,
    exists: bool,
    wal: bool,
    migrations: Sequence[Migration],
) -> None:
    # Until the file is in WAL mode, a first start elsewhere can hold it against readers.
    version = stored_version(connection, path)
    check_version(version, path, migrations)
    if version and not wal:
        # A backup that became a store: in WAL mode it can be copied before it is migrated.
        patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"), path)
        wal = True
    if not exists or version & (ENCRYPTED_FLAG - 1) < len(migrations):
        _migrate(connection, path, migrations)
    if not wal:
        # The schema is in the main file by now, so that whoever looks at its first bytes sees it is ours.
        patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"), path)


def check_version(version: int, path: str, migrations: Sequence[Migration]) -> None:
    """Refuse a store whose schema is newer than ours.

    Raises:
        NewerVersion: it is.
    """
    version &= ENCRYPTED_FLAG - 1
    if version > len(migrations):
        raise NewerVersion(
            f"the store {path} has version {version}, and this omniagent knows up to {len(migrations)}; update omniagent"
        )


def _migrate(connection: sqlite3.Connection, path: str, migrations: Sequence[Migration]) -> None:
    """Take the store to our version, one process at a time, with a backup of what was there."""
    patiently(lambda: connection.execute("BEGIN EXCLUSIVE"), path)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        check_version(version, path, migrations)
        flag = version & ENCRYPTED_FLAG
        version -= flag
        if 0 < version < len(migrations):
            back_up(path, f"{path}.v{version}.bak")
        for number in range(version, len(migrations)):
            migrations[number](connection)
            connection.execute(f"PRAGMA user_version = {number + 1 | flag}")
        if version == 0:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def back_up(path: str, target: str) -> None:
    """Copy a store file consistently, while others use it, to a new private file (replaced when it is there).

    Raises:
        UsageError: the target is the store itself.
        StoreUnavailable: the target cannot be written.
    """
    partial = f"{target}.{os.getpid()}.part"
    try:
        same = Path(target).exists() and Path(target).samefile(path)
    except OSError as error:
        raise unwritable(target, error) from error
    if same:
        raise UsageError(f"{target} is the store itself; name another file for the backup")
    try:
        make_private_directory(Path(target).resolve().parent)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with (
            contextlib.closing(_connect(path, _reading(path))) as source,
            contextlib.closing(sqlite3.connect(partial)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        with open(partial, "rb") as file:  # noqa: PTH123  # a descriptor is what fsync takes
            os.fsync(file.fileno())
        Path(partial).replace(target)
    except OSError as error:
        raise unwritable(target, error) from error
    except sqlite3.Error as error:
        raise said(error, target) from error
    finally:
        Path(partial).unlink(missing_ok=True)
