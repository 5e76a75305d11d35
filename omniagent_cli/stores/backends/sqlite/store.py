"""The default store: one SQLite file, one row per message, shared by many processes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from omniagent_cli.errors import (
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnreachable,
)
from omniagent_cli.fork_safety import Lock, register
from omniagent_cli.stores.backend import ListQuery, Transaction
from omniagent_cli.stores.backends.sqlite.deferred_index import (
    catch_up,
    has_many_unindexed,
    is_deferred,
)
from omniagent_cli.stores.backends.sqlite.errors import read_only_error, translate_error
from omniagent_cli.stores.backends.sqlite.file import (
    back_up,
    check_version,
    connect,
    remove_side_files,
    retry_busy,
    signature,
    stored_version,
    writable,
)
from omniagent_cli.stores.backends.sqlite.file_header import (
    WatchedConnection,
    inspect,
    leave_to_parent,
)
from omniagent_cli.stores.backends.sqlite.schema import ENCRYPTED_FLAG, MIGRATIONS
from omniagent_cli.stores.backends.sqlite.unit import KeyRun, KeyTakenError, SqliteUnit
from omniagent_cli.stores.backends.sqlite.wal import DAMAGED
from omniagent_cli.stores.location import local_url
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.text.tokenize import index_text

if TYPE_CHECKING:
    from omniagent_cli.models import Message
    from omniagent_cli.stores.backend import Problem

T = TypeVar("T")


class SqliteStore(SessionStore):
    """Sessions in one SQLite file in WAL mode; every operation is one transaction, on disk when it returns.

    Args:
        path: the file; the first write creates it and its directories, private.
        read_only: never write; a file that cannot be written is opened read-only automatically.
    """

    backend = "sqlite"
    migrations = MIGRATIONS

    def __init__(
        self, path: str | os.PathLike[str], *, read_only: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self.path = str(Path(path).expanduser().absolute())
        self._read_only = read_only
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._copy: str | None = None
        self._finalizer: weakref.finalize[Any, SqliteStore] | None = None
        self._to_tidy = False  # our connection creates side files and has to remove them
        self._identity: tuple[int, int] | None = None
        self._still: tuple[tuple[int, int, int], ...] | None = None
        self._durable = True
        self._unindexed = False  # this object appended messages that were not indexed then
        self._key_run = KeyRun()
        inspect(self.path)
        register(self)

    def fork_lock(self) -> Lock:
        """Return the lock: the connection can be closed only between two transactions."""
        return self._lock

    def before_fork(self) -> None:
        """Close the connection; parent and child open their own on the next use.

        It is not enough that the child leaves an inherited connection alone. SQLite keeps one table per process of the
        files it has locked, because POSIX locks belong to the process. The child's copy of it claims locks that only
        the parent has, so a new connection there would take none, and another process could remove the WAL under it:
        https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_
        """
        self._disconnect()

    def after_fork_in_child(self) -> None:
        """Replace the lock; without `before_fork`, as when C code forks, the file cannot be used here."""
        self._lock = threading.RLock()
        if isinstance(self._connection, WatchedConnection):
            leave_to_parent(self._connection)
        if self._finalizer is not None:
            self._finalizer.detach()
        self._connection = self._finalizer = None

    @property
    def url(self) -> str:
        """The file as a URL."""
        return local_url("sqlite", self.path)

    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        with self._lock:
            connection = self._open(write=write)
            try:
                return self._attempt(connection, work, write=write, durable=durable, careful=False)
            except KeyTakenError:
                return self._attempt(connection, work, write=write, durable=durable, careful=True)
            finally:
                self._release()

    def _attempt(
        self,
        connection: sqlite3.Connection,
        work: Callable[[Transaction], T],
        *,
        write: bool,
        durable: bool,
        careful: bool,
    ) -> T:
        try:
            encrypted = True
            if write:
                encrypted = self._begin(connection, durable=durable)
            else:
                connection.execute("BEGIN")
                stored_version(
                    connection, self.path
                )  # the snapshot starts here; no lock is needed after it
            unit = SqliteUnit(
                connection, self._clock, self._key_run, careful=careful, encrypted=encrypted
            )
            result = work(unit)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(connection)
            raise translate_error(error, self.path) from error
        except BaseException:
            self._roll_back(connection)
            raise
        return result

    def _begin(self, connection: sqlite3.Connection, *, durable: bool) -> bool:
        """Begin a writing transaction and return True if the store is encrypted."""
        if durable != self._durable:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            retry_busy(lambda: connection.execute("BEGIN IMMEDIATE"), self.path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        check_version(version, self.path, self.migrations)
        return bool(version & ENCRYPTED_FLAG)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        # A full disk may have rolled back already; the original error is raised.
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _open(self, *, write: bool) -> sqlite3.Connection:
        """Return a connection to the file that is at the path now."""
        if write and self._read_only:
            raise StoreReadOnly(f"the store {self.path} was opened read-only")
        if self._connection is not None:
            self._check_identity()
        if write and self._identity is None:
            self._disconnect()  # the in-memory database for a missing file
        if self._connection is None:
            self._connect(write=write)
        connection = cast("sqlite3.Connection", self._connection)
        if write and self._copy is not None:
            raise read_only_error(self.path)
        return connection

    def _connect(self, *, write: bool) -> None:
        if not write and not inspect(self.path)[0]:
            # Reading creates nothing: a missing or empty file reads as an empty store.
            empty = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._keep(empty, None)
            for step in self.migrations:
                step(empty)
            self._identity = None
            return
        self._to_tidy = self._read_only and not Path(f"{self.path}-wal").exists()
        connection, copy = connect(self.path, read_only=self._read_only, migrations=self.migrations)
        self._keep(connection, copy)
        check_version(stored_version(connection, self.path), self.path, self.migrations)
        self._durable = True
        status = os.stat(self.path)  # noqa: PTH116  # this runs at every start
        self._identity = (status.st_dev, status.st_ino)
        copied = self._copy is not None or not writable(self.path)
        self._still = signature(self.path) if copied else None

    def _keep(self, connection: sqlite3.Connection, copy: str | None) -> None:
        """Keep a connection until `_disconnect`, or until this object is dropped.

        Without the finalizer it would outlive this object, because it is in a cycle with its cache of statements.
        """
        self._connection, self._copy = connection, copy
        self._finalizer = weakref.finalize(self, _dispose, connection, copy)
        self._finalizer.atexit = copy is not None

    def _check_identity(self) -> None:
        """Detect that the file was removed or replaced, before writing to a deleted file."""
        try:
            status = os.stat(self.path)  # noqa: PTH116  # this runs before every operation
            now = (status.st_dev, status.st_ino)
        except FileNotFoundError:
            now = None
        if now == self._identity:
            if self._still is not None and self._still != signature(self.path):
                self._disconnect()  # another process wrote; the connection reads an old copy
            return
        was = self._identity
        self._disconnect()
        if was is not None:
            raise StoreUnreachable(
                f"the store {self.path} was moved, deleted or replaced while it was open; try again to use the current file"
            )

    def _release(self) -> None:
        """Close a connection that locks out other processes."""
        if isinstance(self._connection, WatchedConnection) and self._connection.exclusive:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
            if self._to_tidy:
                remove_side_files(self.path)
        self._connection = self._copy = self._finalizer = None
        self._to_tidy = False

    def _close(self) -> None:
        with self._lock:
            if self._unindexed and self._connection is not None:
                self._catch_up(self._connection, at_close=True)
            self._disconnect()

    def index_text(self, text: str) -> str:
        return index_text(text)

    def append_texts(self, messages: Sequence[Message]) -> list[str | None]:
        if self.has_key or not is_deferred(messages):
            return self.index_texts(messages)
        return self.unit_texts(messages)

    def unit_texts(self, messages: Sequence[Message]) -> list[str | None]:
        self._unindexed = True  # long text would keep other writers waiting
        return [None] * len(messages)

    def prepare_search(self) -> None:
        with self._lock:
            connection = self._open(write=False)
            writable = not (self._read_only or self._copy or self._identity is None)
            if writable and not self.has_key:
                self._catch_up(connection)

    def _catch_up(self, connection: sqlite3.Connection, *, at_close: bool = False) -> None:
        """Index messages of earlier appends if there are many, as far as no other process prevents it."""
        with contextlib.suppress(sqlite3.Error):
            if has_many_unindexed(connection):
                self._durable = False  # lost index entries are made again
                connection.execute("PRAGMA synchronous = NORMAL")
                catch_up(connection, len(self.migrations), at_close=at_close)

    def backup(self, target: str | os.PathLike[str]) -> None:
        """Copy the whole store to a new file, consistently, during use."""
        with self._lock:
            self.read_unit(lambda unit: unit.tx.count(ListQuery()))
            back_up(f"{self._copy}/copy.db" if self._copy else self.path, os.fspath(target))
        self._note_backup(os.fspath(target))

    def compact(self) -> None:
        """Return the space of removed content to the disk and erase it from the file and its WAL.

        Raises:
            StoreLocked: another process still reads an older state.
        """
        self._check_open()
        with self._lock:
            connection = self._open(write=True)
            try:
                for step in ("INSERT INTO words (words) VALUES ('optimize')", "VACUUM"):
                    retry_busy(partial(connection.execute, step), self.path)
                busy = 1
                for _ in range(5):  # each waits up to SLICE_SECONDS
                    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                    if not busy:
                        break
            except sqlite3.Error as error:
                raise translate_error(error, self.path) from error
            finally:
                self._release()
        if busy:
            raise StoreLocked(
                f"removed content is still in {self.path}-wal, because another process reads it;"
                " run `omniagent store compact` when it has finished"
            )

    def _scrub(self) -> None:
        try:
            self.compact()
        except StoreFull as error:
            raise StoreFull(
                f"the sessions are removed, but their content is still in {self.path}, because the disk is too"
                " full to rewrite it; free some space and run `omniagent store compact`"
            ) from error

    def known_backups(self) -> list[str]:
        """Return the existing copies: those recorded, those of migrations, and copies of damaged WALs."""
        own = Path(self.path)
        found = [*own.parent.glob(f"{own.name}.v*.bak"), *own.parent.glob(f"{own.name}{DAMAGED}*")]
        return super().known_backups() + sorted(map(str, found))

    def outdated_backups(self) -> list[str]:
        return [path for path in self.known_backups() if not self._has_same_key(path)]

    def _has_same_key(self, path: str) -> bool:
        """Return True if a copy is encrypted with the same key."""
        try:
            with SqliteStore(path, read_only=True) as copy:
                theirs = copy.encryption()
        except StoreUnavailable:
            return False
        return theirs is not None and theirs == self.encryption()

    def check_backend(self, *, repair: bool) -> list[Problem]:
        from omniagent_cli.stores.backends.sqlite.maintenance import FileCheck

        def work(tx: Transaction) -> list[Problem]:
            connection = cast("sqlite3.Connection", self._connection)
            care = FileCheck(connection, self.migrations, repair=repair)
            return care.problems(tx.now(), encrypted=self.has_key)

        self._check_open()
        return self._run(work, write=repair)

    def copy_before_repair(self) -> str:
        target = f"{self.path}.before-repair-{self._clock():%Y%m%d-%H%M%S}"
        self.backup(target)
        return target

    def info(self) -> dict[str, Any]:
        """Return facts about the store; sizes in bytes."""
        facts = super().info()
        with self._lock:
            connection = self._open(write=False)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            facts["schema_version"] = version & (ENCRYPTED_FLAG - 1)
            facts["messages"] = connection.execute("SELECT count(*) FROM messages").fetchone()[0]
            facts["sqlite_version"] = sqlite3.sqlite_version
            self._release()
        for name, suffix in (("bytes", ""), ("wal_bytes", "-wal")):
            side = Path(self.path + suffix)
            facts[name] = side.stat().st_size if side.exists() else 0
        return facts


def _dispose(connection: sqlite3.Connection, copy: str | None) -> None:
    """Close a connection, and remove the private copy that it reads."""
    with contextlib.suppress(sqlite3.Error):
        connection.close()
    if copy is not None:
        import shutil

        shutil.rmtree(copy, ignore_errors=True)
