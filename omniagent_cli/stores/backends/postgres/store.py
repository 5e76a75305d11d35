"""Store shared by many machines: a schema on a PostgreSQL server, one row per message."""

from __future__ import annotations

import os
from collections.abc import Callable
from shlex import quote
from typing import TYPE_CHECKING, Any

import psycopg

from omniagent_cli.durations import Clock
from omniagent_cli.errors import StoreReadOnly, UnsupportedOperation
from omniagent_cli.stores.backend import Transaction
from omniagent_cli.stores.backends.postgres.connection import DEFAULT_PREPARE, StoreConnection
from omniagent_cli.stores.backends.postgres.errors import translate_error
from omniagent_cli.stores.backends.postgres.full_text import index_words
from omniagent_cli.stores.backends.postgres.location import parse_address
from omniagent_cli.stores.backends.postgres.transactions import PostgresTransactions
from omniagent_cli.stores.backends.postgres.unit import PostgresUnit

if TYPE_CHECKING:
    from omniagent_cli.stores.backend import Problem


class PostgresStore(PostgresTransactions):
    """Sessions in a schema on a PostgreSQL server; one transaction per operation.

    Args:
        url: ``postgresql://user:password@host:port/database``, with any parameter of libpq (``sslmode``,
            ``sslrootcert``, ``options``...) and those of `location.OWN_PARAMETERS`; libpq's environment variables,
            password file and service file apply too.
        read_only: never write, nor create the schema.
        schema: schema of the tables, created by the first write; `location.DEFAULT_SCHEMA` by default.
        host, port, user, password, database: override the URL's parts.
        connect_timeout: seconds, for each address of the server.
        answer_timeout: seconds without any answer after which a server that accepts no new connection is given up; 30
            by default.
        statement_timeout: seconds per statement, counted by the server; 0 means no limit, 60 is the default.
        lock_timeout: seconds to wait for other writers of the same session; 15 by default.
        pool_size: maximum number of connections per process; 4 by default.
        prepare_threshold: executions after which a statement is prepared; None or 0: never. Behind a pooler that is
            noticed, none is.
        clock: decides about expiry instead of the server's; for tests.
    """

    backend = "postgres"

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
        answer_timeout: float | None = None,
        statement_timeout: float | None = None,
        lock_timeout: float | None = None,
        pool_size: int | None = None,
        prepare_threshold: int | None = DEFAULT_PREPARE,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        parts = {
            "host": host,
            "port": port,
            "user": user,
            "password": password,
            "dbname": database,
        }
        limits = {
            "schema": schema,
            "answer_timeout": answer_timeout,
            "statement_timeout": statement_timeout,
            "lock_timeout": lock_timeout,
            "pool_size": pool_size,
            # The URL's counts, unless another one than the default is given.
            "prepare_threshold": None
            if prepare_threshold == DEFAULT_PREPARE
            else prepare_threshold or 0,
        }
        place = parse_address(url, parts, limits, connect_timeout)
        super().__init__(place, read_only=read_only, clock=clock, **options)

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
        """Make the space of removed rows reusable, and update the planner's statistics.

        Raises:
            StoreReadOnly: the user may not vacuum the tables.
        """
        from omniagent_cli.stores.backends.postgres.maintenance import vacuum

        self._maintain(lambda connection: vacuum(connection, self.schema, self.url))

    def check_can_wipe(self) -> None:
        from omniagent_cli.stores.backends.postgres.privileges import owner_to_vacuum

        with self._plain_connection() as connection:
            found = owner_to_vacuum(connection, self.schema)
        if found is not None:
            user, owner = found
            raise StoreReadOnly(
                f"the user {user} may not vacuum the tables of {self.url}, so removed content would stay in their"
                f" files; nothing was changed. Do it as their owner {owner}"
            )

    def _scrub(self) -> None:
        """Rewrite the tables, so that no file of the database contains removed content.

        Plain VACUUM would leave it in pages until they are reused. Rewriting needs space for a second copy and an exclusive
        lock while it lasts, but a purge is rare. The server's WAL, its archive, standbys and base backups keep removed content
        until they are recycled, which this program cannot change.
        """
        from omniagent_cli.stores.backends.postgres.maintenance import rewrite

        self._maintain(lambda connection: rewrite(connection, self.schema, self._place))

    def _maintain(self, work: Callable[[StoreConnection], None]) -> None:
        """Run statements that cannot run in a transaction and may take long."""
        self._check_open()
        if self._read_only:
            raise StoreReadOnly(f"the store {self.url} was opened read-only")
        if not self._ready:
            self._bring_up(write=True)
        try:
            with self._plain_connection() as connection:
                connection.begin_maintenance()
                work(connection)
                connection.close()
        except psycopg.Error as error:
            raise translate_error(error, self._place) from error

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
        from omniagent_cli.stores.backends.postgres.privileges import write_obstacle

        facts = super().info()
        facts["schema"] = self.schema
        more = self.transact(
            lambda tx: server_facts(tx) if isinstance(tx, PostgresUnit) else {"messages": 0},
            write=False,
        )
        with self._plain_connection() as connection:
            obstacle = write_obstacle(connection, self.schema)
            more["pooler"] = connection.is_pooled()
        return facts | more | ({"not_writable": obstacle} if obstacle else {})
