"""Units of work of a PostgreSQL store: connections, retries, lost commits, and the creation of the tables."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

import psycopg

from omniagent_cli.durations import Clock, utc_now
from omniagent_cli.errors import OmniAgentError, StoreLocked, StoreReadOnly, StoreUnreachable
from omniagent_cli.stores.backend import Transaction
from omniagent_cli.stores.backends.memory import MemoryStore
from omniagent_cli.stores.backends.postgres.connection import SilentServerError, StoreConnection
from omniagent_cli.stores.backends.postgres.errors import (
    MISSING_PRIVILEGE,
    AgainError,
    AloneError,
    LostError,
    OutdatedError,
    UnpreparedError,
    is_lost,
    is_outdated,
    is_passing,
    is_unprepared,
    translate_error,
)
from omniagent_cli.stores.backends.postgres.location import StoreAddress
from omniagent_cli.stores.backends.postgres.pool import StorePool
from omniagent_cli.stores.backends.postgres.schema import (
    MIGRATIONS,
    check_version,
    find_version,
    migrate,
    qualified,
)
from omniagent_cli.stores.backends.postgres.statements import COMMITTED
from omniagent_cli.stores.backends.postgres.unit import PostgresUnit
from omniagent_cli.stores.store import SessionStore

T = TypeVar("T")


class PostgresTransactions(SessionStore):
    """The part of the store that runs units of work on the connections of a pool."""

    migrations = MIGRATIONS

    def __init__(
        self, place: StoreAddress, *, read_only: bool, clock: Clock | None, **options: Any
    ) -> None:
        super().__init__(clock=clock or utc_now, **options)
        self._place = place
        self._read_only = read_only
        self._own_clock = clock
        self._link = StorePool(place, place.limits)
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

    def _close(self) -> None:
        self._link.close()

    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        if write and self._read_only:
            raise StoreReadOnly(f"the store {self.url} was opened read-only")
        deadline = time.monotonic() + self._link.limits.lock
        lost = alone = False
        while True:
            try:
                return self._attempt(work, write=write, durable=durable, alone=alone)
            except AloneError:
                alone = True
            except OutdatedError:
                if not self._bring_up(write=write):
                    # Reading creates nothing: a missing store reads as an empty one.
                    with MemoryStore(clock=self._clock) as empty:
                        return empty.transact(work, write=False)
            except UnpreparedError:
                self._link.stop_preparing()
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
        unit: PostgresUnit | None = None
        was_ready = self._ready  # another thread may create the tables during this attempt
        # At first, a store is taken for a plain one unless there is a key: `_check` finds out.
        guess = (None,) if self._guess is None and not self.has_key else self._guess
        try:
            with self._connection() as connection:
                unit = PostgresUnit(
                    connection,
                    self.schema,
                    self._own_clock,
                    write=write,
                    durable=durable,
                    alone=alone,
                    guess=guess,
                )
                try:
                    result = work(unit)
                except OmniAgentError:
                    self._check(unit)
                    if not unit.wrote:
                        unit.commit()
                    raise
                self._check(unit)
                unit.commit()
                return result
        except psycopg.Error as error:
            lost = is_lost(error)
            if not (lost and unit is not None and unit.committing):
                self._raise_translated(error, write=write, lost=lost, was_ready=was_ready)
            self._check_commit(unit.evidence(), error)
            return result

    def _check(self, unit: PostgresUnit) -> None:
        """Check that the assumptions of the unit of work still hold.

        Raises:
            AgainError: they do not.
            OutdatedError: the tables have an older version.
            NewerVersion: a newer omniagent migrated the store.
        """
        version = unit.version()
        check_version(version, self.url, self.migrations)
        if version < len(self.migrations):
            raise OutdatedError
        self._ready = True
        self._guess = (unit.mark(),)
        unit.check_mark()

    def _check_commit(self, evidence: tuple[object, ...], error: psycopg.Error) -> None:
        """Find out on a new connection if a transaction was stored whose end was not reported.

        Raises:
            LostError: it was rolled back.
            StoreUnreachable: this cannot be found out now.
        """
        deadline = time.monotonic() + self._link.limits.lock
        state, found = "in progress", False
        while state == "in progress" and time.monotonic() < deadline:
            with suppress(psycopg.Error, OmniAgentError), self._plain_connection() as connection:
                query = qualified(COMMITTED, self.schema)
                state, found = connection.execute(query, evidence).fetchone() or ("", False)
            time.sleep(0.05)  # the server may still be starting, or committing
        if state == "aborted":
            raise LostError(str(translate_error(error, self._place))) from error
        if state != "committed" or not found:
            raise StoreUnreachable(
                f"the connection to {self.url} was lost during the commit; check if the change was stored before you try again"
            ) from error

    def _raise_translated(
        self, error: psycopg.Error, *, write: bool, lost: bool, was_ready: bool
    ) -> NoReturn:
        """Raise the error for a driver error before the commit."""
        if lost and not isinstance(error, SilentServerError):
            raise LostError(str(translate_error(error, self._place))) from error
        if is_passing(error):
            raise AgainError from error
        if is_unprepared(error) and self._link.limits.prepare is not None:
            raise UnpreparedError from error
        if is_outdated(error):
            if not was_ready:
                raise OutdatedError from error
            self._ready = False
            raise StoreUnreachable(
                f"the tables of {self.url} were removed while it was open; try again to use the current ones"
            ) from error
        raise self._explained(error, write=write) from error

    def _explained(self, error: psycopg.Error, *, write: bool) -> OmniAgentError:
        """Return the error for a driver error; if privileges are missing, its message has all statements that grant them."""
        from omniagent_cli.stores.backends.postgres.privileges import missing_grants

        explained = translate_error(error, self._place, write=write)
        if error.sqlstate != MISSING_PRIVILEGE:
            return explained
        with suppress(psycopg.Error, OmniAgentError), self._plain_connection() as connection:
            grants = missing_grants(connection, self.schema, write=not self._read_only)
            if grants:
                what = str(explained).partition("; ")[0]
                return type(explained)(f"{what}; run as the owner in psql: {';'.join(grants)}")
        return explained

    @contextmanager
    def _connection(self) -> Iterator[StoreConnection]:
        """Lease a connection of the pool; a transaction that has not ended is rolled back."""
        try:
            connection = self._link.take()
        except psycopg.Error as error:
            raise translate_error(error, self._place) from error
        keep = True
        try:
            yield connection
        except psycopg.Error as error:
            keep = not is_lost(error)
            if keep:
                connection.roll_back()
            else:
                self._link.drop_idle()
            raise
        except Exception:
            connection.roll_back()
            raise
        except BaseException:
            keep = False  # nothing more is waited for
            raise
        finally:
            self._link.give_back(connection, keep=keep)

    @contextmanager
    def _plain_connection(self) -> Iterator[StoreConnection]:
        """Lease a connection on which each statement is a transaction and waits for its result."""
        with self._connection() as connection:
            connection.end_pipeline()
            yield connection

    def _bring_up(self, *, write: bool) -> bool:
        """Find the store, create it for a writer, migrate it; return True if it exists."""
        try:
            with self._plain_connection() as connection:
                version = find_version(connection, self.schema, self.url)
                check_version(version, self.url, self.migrations)
                if version == 0 and not write:
                    return False
                if version < len(self.migrations):
                    if self._read_only:
                        raise StoreReadOnly(
                            f"the store {self.url} has version {version}, and reading it needs version"
                            f" {len(self.migrations)}; open it once for writing"
                        )
                    migrate(connection, self.schema, self.url, self.migrations)
                self._ready = True
                return True
        except psycopg.Error as error:
            raise self._explained(error, write=write) from error
