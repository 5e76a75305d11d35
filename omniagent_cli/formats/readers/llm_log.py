"""The database of the `llm` command line, opened so that it can neither be changed nor do harm.

It is a stranger's file: only plain tables are looked into (a view or a virtual table can be made to never end), what
a value may hold is bounded, and so is the work. Where it has no index an order is made in a private temporary table.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from omniagent_cli.errors import FormatError
from omniagent_cli.formats.byte_source import MAX_RECORD_BYTES, ByteSource
from omniagent_cli.formats.readers.records import image_part, object_of, text_of

Row = dict[str, Any]

UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What a question raises that cannot be answered; SQLite quotes a damaged file in its messages as it is."""

_MAX_ATTACHMENT_BYTES = 20 * 1024 * 1024
_STEPS_AT_ONCE = 1_000_000
_STEPS_BASE = 50
_BYTES_A_STEP = 1_000_000
"""SQLite may do `_STEPS_BASE` million steps and another million for each of so many bytes: what is laid out as the
program does it takes a hundredth of that."""


@contextmanager
def open_log(source: ByteSource) -> Iterator[Log]:
    """Open the log in a file, or a private copy of it where it is packed, piped, or cannot be opened where it is.

    Raises:
        FormatError: it is no database.
    """
    with ExitStack() as stack:
        path = source.path
        if path is None:
            file = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".db"))
            while data := source.chunk():
                file.write(data)
            file.flush()
            path = Path(file.name)
        try:
            connection = _connect(path)
        except sqlite3.OperationalError:
            # Its journal lies beside it and needs a file there that cannot be made.
            connection = _connect_to_copy(path, source.name, stack)
        except UNREADABLE as error:
            raise _not_a_database(source.name, error) from error
        stack.enter_context(closing(connection))
        yield Log(connection, source.name, path.stat().st_size)


def _connect(path: Path) -> sqlite3.Connection:
    log = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)
    try:
        log.text_factory = lambda data: data.decode("utf-8", "replace")
        log.execute("PRAGMA trusted_schema = OFF")
        log.execute("PRAGMA cell_size_check = ON")
        log.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_RECORD_BYTES)
        log.execute("SELECT name FROM main.sqlite_master LIMIT 1").fetchone()
    except BaseException:
        log.close()
        raise
    log.row_factory = sqlite3.Row
    return log


def _connect_to_copy(path: Path, name: str, stack: ExitStack) -> sqlite3.Connection:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    try:
        shutil.copyfile(path, directory / "logs.db")
        journal = path.with_name(f"{path.name}-wal")
        if journal.is_file():
            shutil.copyfile(journal, directory / "logs.db-wal")
        return _connect(directory / "logs.db")
    except (OSError, *UNREADABLE) as error:
        raise _not_a_database(name, error) from error


def _not_a_database(name: str, error: Exception) -> FormatError:
    return FormatError(f"it cannot be opened as a database: {error}", location=name)


class Log:
    """Questions to the database.

    Attributes:
        location: what it is called by.
        tables: the plain tables that are there.
    """

    def __init__(self, connection: sqlite3.Connection, location: str, size: int) -> None:
        self._connection = connection
        self._steps_left = _STEPS_BASE + size // _BYTES_A_STEP
        connection.set_progress_handler(self._step, _STEPS_AT_ONCE)
        self.location = location
        found = self.rows("SELECT name, sql FROM main.sqlite_master WHERE type = 'table'")
        self.tables = frozenset(row["name"] for row in found if _is_plain(text_of(row["sql"])))
        self._indexes: set[str] = set()

    def _step(self) -> int:
        self._steps_left -= 1
        return self._steps_left < 0

    def describe_error(self, error: Exception) -> object:
        """Say why a question was not answered."""
        return (
            "it takes too much work; it is not laid out as llm does it"
            if self._steps_left < 0
            else error
        )

    def rows(self, statement: str, *values: Any) -> Iterator[Row]:
        """Yield the rows of a question; names of columns and tables in it are ours."""
        for row in self._connection.execute(statement, values):
            yield dict(row)

    def one(self, table: str, key: str, value: Any) -> Row:
        """Return the row with this value in a column; an empty one when there is none."""
        if table not in self.tables:
            return {}
        return next(self.rows(f"SELECT * FROM main.{table} WHERE {key} = ?", value), {})  # noqa: S608  # names of ours

    def row_at(self, table: str, number: Any) -> Row:
        """Return the row with this number."""
        return self.one(table, "rowid", number)

    def has_row(self, table: str, row_id: str) -> bool:
        """Tell whether there is a row with this id."""
        return bool(self.one(table, "id", row_id))

    def create_index(self, name: str, table: str, owner: str, key: str) -> None:
        """Make an order of the rows of a table: by who owns them, then by a key."""
        if table not in self.tables:
            return
        self._connection.execute(
            f"CREATE TEMP TABLE {name} (owner, key, row, PRIMARY KEY (owner, key, row)) WITHOUT ROWID"
        )
        self._connection.execute(
            f"INSERT INTO {name} SELECT {owner}, {key}, rowid FROM main.{table} WHERE {owner} IS NOT NULL AND {key} IS NOT NULL"  # noqa: S608  # names of ours
        )
        self._indexes.add(name)

    def owned_rows(self, name: str, table: str, owner: Any) -> Iterator[Row]:
        """Yield the rows of a table that belong to an owner, in the order that was made under this name."""
        if name in self._indexes:
            numbers = self.rows(f"SELECT row FROM temp.{name} WHERE owner = ? ORDER BY key", owner)  # noqa: S608  # a name of ours
            for row in numbers:
                yield self.row_at(table, row["row"])

    def linked_rows(self, link: str, owner: str, value: Any, table: str, key: str) -> Iterator[Row]:
        """Yield the rows of a table that a table of links joins to an owner."""
        if {link, table} <= self.tables:
            statement = (
                f'SELECT {key} AS linked FROM main.{link} WHERE {owner} = ? ORDER BY "order"'  # noqa: S608  # names of ours
            )
            for row in self.rows(statement, value):
                yield self.one(table, "id", row["linked"])

    def content_part(self, row: Row) -> Row:
        """Make a content part of an attachment; one that lies elsewhere, or is no picture, is named."""
        name = Path(text_of(row.get("path"))).name or text_of(row.get("url")).rpartition("/")[2]
        kind, data = text_of(row.get("type")), row.get("content")
        if (
            isinstance(data, bytes)
            and len(data) <= _MAX_ATTACHMENT_BYTES
            and kind.startswith("image/")
        ):
            return image_part(f"data:{kind};base64,{base64.b64encode(data).decode()}", name)
        shown = name or text_of(row.get("id"))[:12] or "unnamed"
        return {"type": "text", "text": f"[{kind.partition('/')[0] or 'file'}: {shown}]"}

    def json(self, text: Any) -> Row:
        """Read an object; an empty one where there is none."""
        try:
            return object_of(json.loads(text)) if isinstance(text, str) else {}
        except (ValueError, RecursionError):
            return {}


def _is_plain(sql: str) -> bool:
    """Tell whether a table is one that holds rows and nothing that is worked out when it is read."""
    words = " ".join(sql.upper().split())
    return (
        words.startswith("CREATE TABLE")
        and " AS (" not in words
        and "GENERATED ALWAYS" not in words
    )
