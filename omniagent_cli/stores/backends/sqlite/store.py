"""The default store: one SQLite file, a row per message, many processes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
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
from omniagent_cli.stores.backend import ListQuery, Transaction
from omniagent_cli.stores.backends.sqlite.errors import said
from omniagent_cli.stores.backends.sqlite.file import (
    ENCRYPTED_FLAG,
    MIGRATIONS,
    back_up,
    check_version,
    connect,
    leave_nothing,
    patiently,
    signature,
    stored_version,
    writable,
)
from omniagent_cli.stores.backends.sqlite.file_header import inspect
from omniagent_cli.stores.backends.sqlite.unit import KeyRun, KeyTakenError, SqliteUnit
from omniagent_cli.stores.backends.sqlite.wal import DAMAGED
from omniagent_cli.stores.store import SessionStore

if TYPE_CHECKING:
    from omniagent_cli.stores.backend import Problem

T = TypeVar("T")


class SqliteStore(SessionStore):
    """Sessions in one SQLite file: WAL, one transaction per operation, on disk when it returns.

    Args:
        path: the file; it and its directories are made, private, by the first write.
        read_only: never write; a file in a place that cannot be written is opened so by itself.
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
        self._to_tidy = (
            False  # side files come into being with our connection, and are nobody's after it
        )
        self._identity: tuple[int, int] | None = None
        self._still: tuple[tuple[int, int, int], ...] | None = None
        self._pid = os.getpid()
        self._inherited: list[sqlite3.Connection] = []
        self._durable = True
        self._key_run = KeyRun()
        inspect(self.path)

    @property
    def url(self) -> str:
        """The file as a URL."""
        return f"sqlite://{self.path}"

    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        if self._pid != os.getpid():
            self._lock = (
                threading.RLock()
            )  # a thread of the parent may have held the old one for ever
        with self._lock:
            connection = self._open(write=write)
            try:
                return self._attempt(connection, work, write=write, durable=durable, careful=False)
            except KeyTakenError:
                return self._attempt(connection, work, write=write, durable=durable, careful=True)

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
                stored_version(connection, self.path)  # from here on nobody is in the way
            unit = SqliteUnit(
                connection, self._clock, self._key_run, careful=careful, encrypted=encrypted
            )
            result = work(unit)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(connection)
            raise said(error, self.path) from error
        except BaseException:
            self._roll_back(connection)
            raise
        return result

    def _begin(self, connection: sqlite3.Connection, *, durable: bool) -> bool:
        """Begin to write and tell whether the store is encrypted."""
        if durable != self._durable:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"), self.path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        check_version(version, self.path, self.migrations)
        return bool(version & ENCRYPTED_FLAG)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        # A full disk may have rolled back already; the error that got us here is the one to tell.
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _open(self, *, write: bool) -> sqlite3.Connection:
        """Return a connection to the file that is at the path now."""
        if self._pid != os.getpid():
            # SQLite connections must not cross a fork, not even to be closed.
            if self._connection is not None:
                self._inherited.append(self._connection)
            self._connection, self._pid = None, os.getpid()
        if write and self._read_only:
            raise StoreReadOnly(f"the store {self.path} was opened for reading only")
        if self._connection is not None:
            self._check_identity()
        if write and self._identity is None:
            self._disconnect()  # what reads a file that is not there yet
        if self._connection is None:
            self._connect(write=write)
        connection = cast("sqlite3.Connection", self._connection)
        if write and self._copy is not None:
            raise StoreReadOnly(
                f"the store {self.path} cannot be written; check who may write the file and its directory"
            )
        return connection

    def _connect(self, *, write: bool) -> None:
        if not write and not inspect(self.path)[0]:
            # Reading creates nothing: a store that is not there yet, or an empty file, reads as an empty one.
            self._connection = sqlite3.connect(
                ":memory:", isolation_level=None, check_same_thread=False
            )
            for step in self.migrations:
                step(self._connection)
            self._identity = None
            return
        self._to_tidy = self._read_only and not Path(f"{self.path}-wal").exists()
        self._connection, self._copy = connect(
            self.path, read_only=self._read_only, migrations=self.migrations
        )
        check_version(stored_version(self._connection, self.path), self.path, self.migrations)
        self._durable = True
        status = os.stat(self.path)  # noqa: PTH116  # this runs at every start
        self._identity = (status.st_dev, status.st_ino)
        self._still = None if writable(self.path) else signature(self.path)

    def _check_identity(self) -> None:
        """Notice that the file was removed or replaced, before writing into nowhere."""
        try:
            status = os.stat(self.path)  # noqa: PTH116  # this runs before every operation
            now = (status.st_dev, status.st_ino)
        except FileNotFoundError:
            now = None
        if now == self._identity:
            if self._still is not None and self._still != signature(self.path):
                self._disconnect()  # its owner wrote on; what we have is a copy, or believed to stand still
            return
        was = self._identity
        self._disconnect()
        if was is not None:
            raise StoreUnreachable(
                f"the store {self.path} was moved, deleted or replaced while it was open; repeat to use what is there now"
            )

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            if self._to_tidy:
                leave_nothing(self.path)
        self._connection, self._to_tidy = None, False
        if self._copy is not None:
            import shutil

            shutil.rmtree(self._copy, ignore_errors=True)
            self._copy = None

    def _close(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                self._disconnect()

    def backup(self, target: str | os.PathLike[str]) -> None:
        """Copy the whole store to a new file, consistently, while others write."""
        with self._lock:
            self.read_unit(lambda unit: unit.tx.count(ListQuery()))
            back_up(f"{self._copy}/copy.db" if self._copy else self.path, os.fspath(target))
        self._note_backup(os.fspath(target))

    def compact(self) -> None:
        """Give back the room of what was removed, and leave no trace of it in the file or its WAL.

        Raises:
            StoreLocked: another process still reads an older state.
        """
        self._check_open()
        with self._lock:
            connection = self._open(write=True)
            try:
                for step in ("INSERT INTO words (words) VALUES ('optimize')", "VACUUM"):
                    patiently(partial(connection.execute, step), self.path)
                busy = 1
                for _ in range(5):  # each waits for up to a slice
                    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                    if not busy:
                        break
            except sqlite3.Error as error:
                raise said(error, self.path) from error
        if busy:
            raise StoreLocked(
                f"what was removed still stands in {self.path}-wal, because another process reads it;"
                " when it is done, run: omniagent store compact"
            )

    def _scrub(self) -> None:
        try:
            self.compact()
        except StoreFull as error:
            raise StoreFull(
                f"what was removed is in no session any more and still stands in the bytes of {self.path}, which there"
                " is no room to write anew; free some space and run: omniagent store compact"
            ) from error

    def known_backups(self) -> list[str]:
        """Return the known copies of the store that are still there."""
        own = Path(self.path)
        found = [*own.parent.glob(f"{own.name}.v*.bak"), *own.parent.glob(f"{own.name}{DAMAGED}*")]
        return super().known_backups() + sorted(map(str, found))

    def outdated_backups(self) -> list[str]:
        return [path for path in self.known_backups() if not self._has_our_key(path)]

    def _has_our_key(self, path: str) -> bool:
        """Tell whether a copy is encrypted as we are."""
        try:
            with SqliteStore(path, read_only=True) as copy:
                theirs = copy.encryption()
        except StoreUnavailable:
            return False
        return theirs is not None and theirs == self.encryption()

    def check_backend(self, *, repair: bool) -> list[Problem]:
        from omniagent_cli.stores.backends.sqlite.maintenance import SqliteCare

        def work(tx: Transaction) -> list[Problem]:
            connection = cast("sqlite3.Connection", self._connection)
            care = SqliteCare(connection, self.migrations, repair=repair)
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
        for name, suffix in (("bytes", ""), ("wal_bytes", "-wal")):
            side = Path(self.path + suffix)
            facts[name] = side.stat().st_size if side.exists() else 0
        return facts
