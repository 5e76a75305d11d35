"""Shared base of readers of databases with many sessions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import embedded_value
from omniagent_cli.formats.readers.database import UNREADABLE, Database, Row, open_database
from omniagent_cli.formats.readers.message_sequence import MessageSequence
from omniagent_cli.formats.readers.records import (
    LEFT_OUT_KEY,
    list_of,
    object_of,
    parse_timestamp,
    session_header,
)
from omniagent_cli.formats.types import (
    Entry,
    IncomingSession,
    MessageEntry,
    Omission,
    ReaderItem,
    problem,
)


class DatabaseReader(ABC):
    """Reader of a SQLite database; messages are read row by row.

    Attributes:
        format_name: a key of `formats.FORMATS`.
        tables: names of the tables that the database must have.
    """

    format_name: ClassVar[str]
    tables: ClassVar[frozenset[str]]

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the sessions in the order of their ids."""
        with open_database(source) as database:
            if not database.tables >= self.tables:
                yield problem(source.name, f"not a database of {self.format_name}")
                return
            try:
                yield from self._sessions(database)
            except UNREADABLE as error:
                reason = database.describe_error(error)
                yield problem(source.name, f"the database cannot be read completely: {reason}")

    @abstractmethod
    def _sessions(self, database: Database) -> Iterator[ReaderItem]:
        """Yield the sessions; see `_session`."""

    @abstractmethod
    def _records(self, database: Database, row: Row) -> Iterator[dict[str, Any]]:
        """Yield the message records and omissions of the session of a row."""

    def _session(
        self, database: Database, row: Row, source_id: str, **facts: Any
    ) -> IncomingSession:
        """Return a session; for `facts` see `records.session_header`."""
        location = f"{database.location}:{source_id}"
        header = session_header(self.format_name, source_id, **facts)

        def reread() -> Iterator[Entry]:
            created = parse_timestamp(facts.get("created"))
            return MessageSequence(created).entries(self._entries(database, row, location))

        def as_branch(first: str) -> IncomingSession:
            return self._session(database, row, source_id, **{**facts, "branch": first})

        return IncomingSession(location, header, reread(), reread=reread, as_branch=as_branch)

    def _entries(self, database: Database, row: Row, location: str) -> Iterator[Entry]:
        try:
            for record in self._records(database, row):
                kind = record.get(LEFT_OUT_KEY)
                yield Omission(kind) if kind else MessageEntry(location, record)
        except (*UNREADABLE, InvalidRecord) as error:
            reason = database.describe_error(error)
            yield problem(location, f"cannot be read completely: {reason}")


def json_object(value: Any) -> dict[str, Any]:
    """Parse a JSON object in a column; empty if there is none."""
    return object_of(embedded_value(value))


def json_list(value: Any) -> list[Any]:
    """Parse a JSON list in a column; empty if there is none."""
    return list_of(embedded_value(value))
