"""One SQLite store file: private, identified as an omniagent store, migrated to the current schema; errors translated."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from omniagent_cli.errors import (
    NewerVersion,
    StoreError,
    StoreUnavailable,
    StoreUnreachable,
    UsageError,
)
from omniagent_cli.private_files import make_private_directory
from omniagent_cli.stores.backends.sqlite.errors import translate_error
from omniagent_cli.stores.backends.sqlite.file_header import (
    APPLICATION_ID,
    WatchedConnection,
    inspect,
    watched,
)
from omniagent_cli.stores.backends.sqlite.schema import ENCRYPTED_FLAG, Migration
from omniagent_cli.stores.backends.sqlite.wal import check_recovered, read_leftover_wal
from omniagent_cli.stores.disk_errors import write_error

WAIT_SECONDS = 15.0
"""Total wait for locks of other processes."""

SLICE_SECONDS = 0.2
"""Duration of one wait inside SQLite, during which Python handles no signal."""

T = TypeVar("T")


def retry_busy(attempt: Callable[[], T], path: str) -> T:
    """Repeat an attempt while other processes hold a lock, in short waits, so that Ctrl-C is handled.

    Readers need it too, because the last process that closes a store holds it while it checkpoints the WAL.

    Raises:
        StoreLocked: the lock was held for longer than `WAIT_SECONDS`.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            busy = (error.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise translate_error(error, path) from error
            time.sleep(0.001)


def stored_version(connection: sqlite3.Connection, path: str) -> int:
    """Return the value of ``user_version``: the schema version and `ENCRYPTED_FLAG`."""
    row = retry_busy(lambda: connection.execute("PRAGMA user_version").fetchone(), path)
    return cast("int", row[0])


def connect(
    path: str, *, read_only: bool, migrations: Sequence[Migration]
) -> tuple[sqlite3.Connection, str | None]:
    """Open a store file.

    Returns:
        The connection, and the private directory to remove with it if it reads a copy.
    """
    exists, wal = inspect(path)
    try:
        if read_only or (exists and not writable(path)):
            return _migrated_copy(*_connect_read_only(path), path, migrations)
        _create_private(path)
        left = read_leftover_wal(path) if wal else None
        try:
            connection = _connect(path, "mode=rw")
        except (StoreError, sqlite3.Error) as error:
            if not wal or not _lacks_shared_memory(error):
                raise
            connection = _connect(path, "mode=rw", exclusive=True)
        try:
            if left is not None:
                check_recovered(connection, path, left)
            _bring_up(connection, path, exists=exists, wal=wal, migrations=migrations)
        except BaseException:
            connection.close()
            raise
        return connection, None
    except sqlite3.Error as error:
        raise translate_error(error, path) from error


def writable(path: str) -> bool:
    """Return True if the file and its directory, which SQLite needs too, can be written.

    A file with several names cannot: SQLite would keep a WAL for each, and lose what is in the others.
    """
    return (
        os.access(path, os.W_OK)
        and os.access(Path(path).parent, os.W_OK)
        and Path(path).stat().st_nlink == 1
    )


def _check_other_names(path: str) -> None:
    """Check that the file is not in use under another name in its directory, because its WAL has that name.

    Raises:
        StoreUnavailable: it is.
    """
    own = Path(path).stat()
    if own.st_nlink > 1:
        for other in Path(path).parent.iterdir():
            if (
                str(other) != path
                and other.lstat().st_ino == own.st_ino
                and Path(f"{other}-wal").exists()
            ):
                raise StoreUnavailable(
                    f"{path} is another name (hard link) of the store {other}, which is in use or was not closed;"
                    " use that name"
                )


def _quote_uri(path: str) -> str:
    """Escape the characters that end the path of a URI: https://www.sqlite.org/uri.html."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _lacks_shared_memory(error: Exception) -> bool:
    """Return True if the ``-shm`` file, which all users of a WAL share, cannot be created, as on a full disk."""
    cause = error if isinstance(error, sqlite3.Error) else error.__cause__
    return getattr(cause, "sqlite_errorcode", None) in (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_SHMOPEN,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMMAP,
    )


def _connect(path: str, options: str, *, exclusive: bool = False) -> WatchedConnection:
    """Open a connection.

    Args:
        path: the file.
        options: parameters of the URI.
        exclusive: lock out all other processes, which needs no shared memory.
    """
    connection = watched(
        path,
        lambda: sqlite3.connect(
            f"file:{_quote_uri(path)}?{options}",
            uri=True,
            timeout=SLICE_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            factory=WatchedConnection,
        ),
    )
    try:
        if exclusive:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.exclusive = True
        connection.execute("PRAGMA foreign_keys = ON")
        # it reads the schema, so it may be busy
        retry_busy(lambda: connection.execute("PRAGMA synchronous = FULL"), path)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_only_options(path: str) -> str:
    """Return the URI parameters that read a file without a WAL; otherwise SQLite requires a ``-shm`` file."""
    return "mode=ro" if writable(path) else "mode=ro&immutable=1"


def _connect_read_only(path: str) -> tuple[sqlite3.Connection, str | None]:
    """Open a file without changing anything.

    A WAL is read from a private copy in a read-only directory, and on a disk too full for shared memory.
    """
    if writable(path):
        try:
            return _connect(path, _read_only_options(path)), None
        except (StoreError, sqlite3.Error) as error:
            if not _lacks_shared_memory(error):
                raise
    _check_other_names(path)
    wal = Path(path + "-wal")
    if not wal.exists() or wal.stat().st_size == 0:
        return _connect(path, "mode=ro&immutable=1"), None
    import shutil
    import tempfile  # loads random and hashlib

    directory = tempfile.mkdtemp(prefix="omniagent-")
    copy = str(Path(directory) / "copy.db")
    try:
        before, tries = None, 0
        while before != signature(path) and tries < 20:
            # A checkpoint may move pages from one file to the other during the copy.
            before, tries = signature(path), tries + 1
            shutil.copyfile(path, copy)
            shutil.copyfile(wal, copy + "-wal")
        return _connect(copy, "mode=rw"), directory
    except BaseException as error:
        shutil.rmtree(directory, ignore_errors=True)
        if isinstance(error, OSError):
            raise StoreUnreachable(
                f"the store {path} can only be read from a copy, and copying failed: {error.strerror}"
            ) from error
        raise


def _migrated_copy(
    connection: sqlite3.Connection, copy: str | None, path: str, migrations: Sequence[Migration]
) -> tuple[sqlite3.Connection, str | None]:
    """Return a read-only connection, to a private migrated copy if the store has an older schema."""
    try:
        version = stored_version(connection, path)
        if not 0 < version & (ENCRYPTED_FLAG - 1) < len(migrations):
            return connection, copy
        if copy is None:
            import tempfile

            copy = tempfile.mkdtemp(prefix="omniagent-")
            with contextlib.closing(connection) as source:
                _create_private(f"{copy}/copy.db")
                connection = _connect(f"{copy}/copy.db", "mode=rw")
                source.backup(connection)
        _run_migrations(connection, version, migrations)
    except BaseException:
        connection.close()
        if copy is not None:
            import shutil

            shutil.rmtree(copy, ignore_errors=True)
        raise
    return connection, copy


def remove_side_files(path: str) -> None:
    """Remove the side files that a read-only connection created and cannot remove, by a connection that writes."""
    if not writable(path):
        return
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"file:{_quote_uri(path)}?mode=rw", uri=True, timeout=0)
        try:
            connection.execute("PRAGMA user_version").fetchone()
        finally:
            connection.close()


def signature(path: str) -> tuple[tuple[int, int, int], ...]:
    """Return inode, size and time of a store's files, which identify their state without reading them."""
    found = []
    for name in (path, path + "-wal"):
        with contextlib.suppress(FileNotFoundError):
            status = Path(name).stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _create_private(path: str) -> None:
    """Create the file and its directories with access for the owner only, whatever the umask."""
    try:
        if Path(path).exists():
            if Path(path).stat().st_size == 0:
                Path(path).chmod(0o600)  # created by `touch` or another process
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
        raise write_error(path, error) from error


def _bring_up(
    connection: sqlite3.Connection,
    path: str,
    *,
    exists: bool,
    wal: bool,
    migrations: Sequence[Migration],
) -> None:
    # Before the file is in WAL mode, another first start can lock it for readers.
    version = stored_version(connection, path)
    check_version(version, path, migrations)
    if version and not wal:
        # A backup used as a store: WAL mode allows to copy it before its migration.
        retry_busy(lambda: connection.execute("PRAGMA journal_mode = WAL"), path)
        wal = True
    if not exists or version & (ENCRYPTED_FLAG - 1) < len(migrations):
        _migrate(connection, path, migrations)
    if not wal:
        # The schema must be in the main file first, because its header identifies the store.
        retry_busy(lambda: connection.execute("PRAGMA journal_mode = WAL"), path)


def check_version(version: int, path: str, migrations: Sequence[Migration]) -> None:
    """Check that the schema version of a store is known.

    Raises:
        NewerVersion: it is newer.
    """
    version &= ENCRYPTED_FLAG - 1
    if version > len(migrations):
        raise NewerVersion(
            f"the store {path} has version {version}; this omniagent supports up to {len(migrations)}. Update omniagent"
        )


def _migrate(connection: sqlite3.Connection, path: str, migrations: Sequence[Migration]) -> None:
    """Migrate the schema, one process at a time, after a backup."""
    retry_busy(lambda: connection.execute("BEGIN EXCLUSIVE"), path)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        check_version(version, path, migrations)
        known = version & (ENCRYPTED_FLAG - 1)
        if 0 < known < len(migrations):
            back_up(path, f"{path}.v{known}.bak")
        _run_migrations(connection, version, migrations)
        if known == 0:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _run_migrations(
    connection: sqlite3.Connection, version: int, migrations: Sequence[Migration]
) -> None:
    flag = version & ENCRYPTED_FLAG
    for number in range(version - flag, len(migrations)):
        migrations[number](connection)
        connection.execute(f"PRAGMA user_version = {number + 1 | flag}")


def back_up(path: str, target: str) -> None:
    """Copy a store file consistently, during use, to a new private file, which replaces an existing one.

    Raises:
        UsageError: the target is the store itself.
        StoreUnavailable: the target cannot be written.
    """
    partial = f"{target}.{os.getpid()}.part"
    try:
        same = Path(target).exists() and Path(target).samefile(path)
    except OSError as error:
        raise write_error(target, error) from error
    if same:
        raise UsageError(f"{target} is the store itself; choose another file for the backup")
    try:
        make_private_directory(Path(target).resolve().parent)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with (
            contextlib.closing(_connect(path, _read_only_options(path))) as source,
            contextlib.closing(sqlite3.connect(partial)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        with open(partial, "rb") as file:  # noqa: PTH123  # fsync requires a descriptor
            os.fsync(file.fileno())
        Path(partial).replace(target)
    except OSError as error:
        raise write_error(target, error) from error
    except sqlite3.Error as error:
        raise translate_error(error, target) from error
    finally:
        Path(partial).unlink(missing_ok=True)
