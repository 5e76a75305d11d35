"""Store shared by many machines: a schema on a PostgreSQL server, one row per message."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from shlex import quote
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import psycopg

from omniagent_cli.durations import Clock, utc_now
from omniagent_cli.errors import (
    OmniAgentError,
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
    UnsupportedOperation,
)
from omniagent_cli.stores.backend import Transaction
from omniagent_cli.stores.backends.memory import MemoryStore
from omniagent_cli.stores.backends.postgres.errors import (
    AgainError,
    AloneError,
    LostError,
    is_lost,
    is_passing,
    translate_error,
)
from omniagent_cli.stores.backends.postgres.full_text import index_words
from omniagent_cli.stores.backends.postgres.location import parse_address
from omniagent_cli.stores.backends.postgres.pool import Lease, Limits, StorePool
from omniagent_cli.stores.backends.postgres.schema import (
    MIGRATIONS,
    check_version,
    find_version,
    migrate,
)
from omniagent_cli.stores.backends.postgres.unit import PostgresUnit
from omniagent_cli.stores.store import SessionStore

if TYPE_CHECKING:
    from omniagent_cli.stores.backend import Problem

T = TypeVar("T")

_GONE = ("42P01", "3F000")
"""SQLSTATE of a missing table or schema."""


class PostgresStore(SessionStore):
    """Sessions in a schema on a PostgreSQL server; one transaction per operation.

    Args:
        url: ``postgresql://user:password@host:port/database``, with any parameter of libpq (``sslmode``,
            ``sslrootcert``, ``options``...) and ``schema``; libpq's environment variables, password file and
            service file apply too.
        read_only: never write, nor create the schema.
        schema: schema of the tables, created by the first write; `location.DEFAULT_SCHEMA` by default.
        host, port, user, password, database: override the URL's parts.
        connect_timeout: seconds, for each address of the server.
        statement_timeout: seconds per statement; 0 means no limit.
        lock_timeout: seconds to wait for other writers of the same session.
        pool_size: maximum number of connections per process.
        clock: decides about expiry instead of the server's; for tests.
    """

    backend = "postgres"
    migrations = MIGRATIONS

    def __init__(
        self,
        url: str = "postgresql://",
        *,
        read_only: bool = False,
        schema: str | None = None,
        host: str | None = None,
        port: int | None = None,
        user: str | None = None,
        password: str | None = None,
        database: str | None = None,
        connect_timeout: float = 10.0,
        statement_timeout: float = 60.0,
        lock_timeout: float = 15.0,
        pool_size: int = 4,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        super().__init__(clock=clock or utc_now, **options)
        parts = {
            "host": host,
            "port": port,
            "user": user,
            "password": password,
            "dbname": database,
        }
        self._place = parse_address(url, parts, schema, connect_timeout)
        self._read_only = read_only
        self._own_clock = clock
        self._patience = lock_timeout
        self._link = StorePool(self._place, Limits(statement_timeout, lock_timeout, pool_size))
        self._ready = False
        self._guess: tuple[bytes | None] | None = None

    @property
    def url(self) -> str:
        """The server, database and schema, without the password."""
        return self._place.url

    @property
    def schema(self) -> str:
        """The schema of the tables."""
        return self._place.schema

    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        if write and self._read_only:
            raise StoreReadOnly(f"the store {self.url} was opened read-only")
        deadline = time.monotonic() + self._patience
        lost = alone = False
        while True:
            try:
                return self._attempt(work, write=write, durable=durable, alone=alone)
            except AloneError:
                alone = True
            except AgainError as error:
                if time.monotonic() > deadline:
                    raise StoreLocked(
                        f"other programs kept changing the same sessions of {self.url}; try again later"
                    ) from error
                time.sleep(random.uniform(0, 0.01))  # noqa: S311  # so that the same two do not meet again
            except LostError as error:
                if lost:
                    raise StoreUnreachable(
                        f"the server of {self.url} ends every connection ({error}); look at its log"
                    ) from error
                lost = True

    def _attempt(
        self, work: Callable[[Transaction], T], *, write: bool, durable: bool, alone: bool
    ) -> T:
        lease = self._lease(write=write)
        if lease is None:
            # Reading creates nothing: a missing store reads as an empty one.
            with MemoryStore(clock=self._clock) as empty:
                return empty.transact(work, write=False)
        unit: PostgresUnit | None = None
        keep = True
        try:
            with lease.connection.pipeline():
                unit = PostgresUnit(
                    lease.connection,
                    self.schema,
                    self._own_clock,
                    write=write,
                    durable=durable,
                    alone=alone,
                    guess=self._guess,
                )
                try:
                    result = work(unit)
                except OmniAgentError:
                    self._check(unit)
                    raise
                self._check(unit)
                unit.commit()
            return result
        except psycopg.Error as error:
            keep = not is_lost(error, lease.connection)
            self._raise_translated(
                error, write=write, lost=not keep, committing=unit is not None and unit.committing
            )
        finally:
            if keep and unit is not None and not unit.wrote:
                # There is nothing to roll back, and a rollback would discard the prepared statements of the driver.
                self._end(lease)
            self._link.give_back(lease, keep=keep)

    def _check(self, unit: PostgresUnit) -> None:
        """Check that the assumptions of the unit of work still hold.

        Raises:
            AgainError: they do not.
            NewerVersion: a newer omniagent migrated the store.
        """
        check_version(unit.version(), self.url, self.migrations)
        self._guess = None
        self._guess = (unit.mark(),)

    def _end(self, lease: Lease) -> None:
        from psycopg.pq import TransactionStatus

        if lease.connection.info.transaction_status == TransactionStatus.INTRANS:
            lease.connection.commit()

    def _raise_translated(
        self, error: psycopg.Error, *, write: bool, lost: bool, committing: bool
    ) -> NoReturn:
        """Raise the error for a driver error."""
        if lost and not committing:
            raise LostError(str(translate_error(error, self.url))) from error
        if lost:
            raise StoreUnreachable(
                f"the connection to {self.url} was lost during the commit; check if the change was stored before you try again"
            ) from error
        if is_passing(error):
            raise AgainError from error
        if error.sqlstate in _GONE:
            self._ready = False
            raise StoreUnreachable(
                f"the tables of {self.url} were removed while it was open; try again to use the current ones"
            ) from error
        raise translate_error(error, self.url, write=write) from error

    def _lease(self, *, write: bool) -> Lease | None:
        """Return a connection to a migrated store; None if it does not exist and work only reads."""
        try:
            lease = self._link.take()
        except psycopg.Error as error:
            raise translate_error(error, self.url) from error
        if self._ready:
            return lease
        keep, there = True, False
        try:
            there = self._ready = self._bring_up(lease.connection, write=write)
        except psycopg.Error as error:
            keep = not is_lost(error, lease.connection)
            raise translate_error(error, self.url, write=write) from error
        finally:
            if not there:
                self._link.give_back(lease, keep=keep)
        return lease if there else None

    def _bring_up(self, connection: psycopg.Connection, *, write: bool) -> bool:
        """Find the store, create it for a writer, migrate it; return True if it exists."""
        version = find_version(connection, self.schema, self.url)
        check_version(version, self.url, self.migrations)
        if version == len(self.migrations):
            return True
        if version == 0 and not write:
            return False
        if self._read_only:
            raise StoreReadOnly(
                f"the store {self.url} has version {version}, and reading it needs version {len(self.migrations)};"
                " open it once for writing"
            )
        migrate(connection, self.schema, self.url, self.migrations)
        return True

    def _close(self) -> None:
        self._link.close()

    def index_text(self, text: str) -> str | None:
        return index_words(text)

    def backup(self, target: str | os.PathLike[str]) -> None:
        """Refuse, because a server is backed up by its own tools.

        Raises:
            UnsupportedOperation: always; its message has the command.
        """
        raise UnsupportedOperation(
            "a PostgreSQL store is backed up by the server's own tools; run: pg_dump --format=custom"
            f" --schema={quote(self.schema)} --file={quote(os.fspath(target))} {quote(self._place.server)}"
        )

    def compact(self) -> None:
        """Make the space of removed rows reusable, and update the planner's statistics."""
        from omniagent_cli.stores.backends.postgres.maintenance import vacuum

        self._maintain(lambda connection: vacuum(connection, self.schema))

    def _scrub(self) -> None:
        """Rewrite the tables, so that no file of the database contains removed content.

        Plain VACUUM would leave it in pages until they are reused. Rewriting needs space for a second copy and an exclusive
        lock while it lasts, but a purge is rare. The server's WAL, its archive, standbys and base backups keep removed content
        until they are recycled, which this program cannot change.
        """
        from omniagent_cli.stores.backends.postgres.maintenance import rewrite

        self._maintain(lambda connection: rewrite(connection, self.schema, self.url))

    def _maintain(self, work: Callable[[psycopg.Connection], None]) -> None:
        """Run statements that cannot run in a transaction and may take long."""
        self._check_open()
        if self._read_only:
            raise StoreReadOnly(f"the store {self.url} was opened read-only")
        lease = self._lease(write=True)
        assert lease is not None  # noqa: S101  # a writer makes the store
        keep = False
        try:
            self._link.set_limits(lease.connection, statement=0)
            work(lease.connection)
            self._link.set_limits(lease.connection)
            keep = True
        except psycopg.Error as error:
            raise translate_error(error, self.url) from error
        finally:
            self._link.give_back(lease, keep=keep)

    def check_backend(self, *, repair: bool) -> list[Problem]:
        from omniagent_cli.stores.backends.postgres.maintenance import PostgresCheck

        def work(tx: Transaction) -> list[Problem]:
            if not isinstance(tx, PostgresUnit):
                return []  # the store does not exist yet
            return PostgresCheck(tx, repair=repair).problems(encrypted=self.has_key)

        self._check_open()
        return self._run(work, write=repair)

    def copy_before_repair(self) -> str:
        from omniagent_cli.stores.backends.postgres.maintenance import copy_tables

        name = f"{self.schema[:38]}_before_repair_{self._clock():%y%m%d%H%M%S}"
        self._maintain(lambda connection: copy_tables(connection, self.schema, name))
        return f"schema {name}"

    def info(self) -> dict[str, Any]:
        """Return facts about the store and its server; sizes in bytes."""
        from omniagent_cli.stores.backends.postgres.maintenance import server_facts

        facts = super().info()
        facts["schema"] = self.schema
        more = self.transact(
            lambda tx: server_facts(tx) if isinstance(tx, PostgresUnit) else {"messages": 0},
            write=False,
        )
        return facts | more
