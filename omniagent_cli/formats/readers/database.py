"""Read-only access to SQLite databases of other tools, safe for untrusted files.

Only plain tables are read (a view or virtual table can be made to run forever), and value sizes and total work are
bounded. Where an index is missing, rows are sorted into a private temporary table.
"""

from __future__ import annotations

import base64
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
from omniagent_cli.formats.json_helpers import embedded_value
from omniagent_cli.formats.readers.records import image_part, object_of, text_of

Row = dict[str, Any]

UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""Exceptions of a failed query; SQLite's messages may quote the damaged file."""

_MAX_ATTACHMENT_BYTES = 20 * 1024 * 1024
_MOST_TABLES = 1_000
_STEPS_AT_ONCE = 1_000_000
_STEPS_BASE = 50
_BYTES_A_STEP = 1_000_000
"""SQLite may run `_STEPS_BASE` million steps plus one million for this many bytes; a regular database needs a hundredth of that."""


_MAGIC = b"SQLite format 3\0"


def is_database(head: bytes) -> bool:
    """Return True for the first bytes of a SQLite database."""
    return head.startswith(_MAGIC)


def schema_head(source: ByteSource) -> bytes:
    """Return the start of a database followed by its schema, whose statements lie anywhere in the file.

    The first bytes of the file are returned if it cannot be opened in place.
    """
    if source.path is None:
        return source.head()
    try:
        with closing(_connect(source.path)) as connection:
            rows = connection.execute("SELECT sql FROM main.sqlite_master WHERE type = 'table'")
            statements = [text_of(row["sql"]) for row in rows.fetchmany(_MOST_TABLES)]
    except UNREADABLE:
        return source.head()
    return b"\n".join([_MAGIC, *(statement.encode() for statement in statements)])


@contextmanager
def open_database(source: ByteSource) -> Iterator[Database]:
    """Open a database in place, or as a private copy if it is compressed, piped or cannot be opened in place.

    Raises:
        FormatError: the file is not a database.
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
            # A WAL database needs a shared-memory file, which cannot be created in a read-only directory.
            connection = _connect_to_copy(path, source.name, stack)
        except UNREADABLE as error:
            raise _not_a_database(source.name, error) from error
        stack.enter_context(closing(connection))
        yield Database(connection, source.name, path.stat().st_size)


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
        shutil.copyfile(path, directory / "copy.db")
        journal = path.with_name(f"{path.name}-wal")
        if journal.is_file():
            shutil.copyfile(journal, directory / "copy.db-wal")
        return _connect(directory / "copy.db")
    except (OSError, *UNREADABLE) as error:
        raise _not_a_database(name, error) from error


def _not_a_database(name: str, error: Exception) -> FormatError:
    return FormatError(f"cannot be opened as a database: {error}", location=name)


class Database:
    """Queries on a database of another tool.

    Attributes:
        location: file name.
        tables: names of the plain tables.
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
        """Return the reason of a failed query."""
        return (
            "query took too long; not a regular database of this tool"
            if self._steps_left < 0
            else error
        )

    def rows(self, statement: str, *values: Any) -> Iterator[Row]:
        """Yield the rows of a query; table and column names must be trusted."""
        for row in self._connection.execute(statement, values):
            yield dict(row)

    def one(self, table: str, key: str, value: Any) -> Row:
        """Return the row with this value in a column, or an empty one."""
        if table not in self.tables or isinstance(value, dict | list):
            return {}
        return next(self.rows(f"SELECT * FROM main.{table} WHERE {key} = ?", value), {})  # noqa: S608  # trusted names

    def row_at(self, table: str, number: Any) -> Row:
        """Return the row with this row id."""
        return self.one(table, "rowid", number)

    def has_row(self, table: str, row_id: str) -> bool:
        """Return True if a row with this id exists."""
        return bool(self.one(table, "id", row_id))

    def create_index(self, name: str, table: str, owner: str, key: str) -> None:
        """Sort the rows of a table by owner and key into a temporary table."""
        if table not in self.tables:
            return
        self._connection.execute(
            f"CREATE TEMP TABLE {name} (owner, key, row, PRIMARY KEY (owner, key, row)) WITHOUT ROWID"
        )
        self._connection.execute(
            f"INSERT INTO {name} SELECT {owner}, {key}, rowid FROM main.{table} WHERE {owner} IS NOT NULL AND {key} IS NOT NULL"  # noqa: S608  # trusted names
        )
        self._indexes.add(name)

    def owned_rows(self, name: str, table: str, owner: Any) -> Iterator[Row]:
        """Yield the rows of an owner in the order of a temporary index."""
        if name in self._indexes:
            numbers = self.rows(f"SELECT row FROM temp.{name} WHERE owner = ? ORDER BY key", owner)  # noqa: S608  # a trusted name
            for row in numbers:
                yield self.row_at(table, row["row"])

    def linked_rows(self, link: str, owner: str, value: Any, table: str, key: str) -> Iterator[Row]:
        """Yield the rows of a table that a link table assigns to an owner."""
        if {link, table} <= self.tables:
            statement = (
                f'SELECT {key} AS linked FROM main.{link} WHERE {owner} = ? ORDER BY "order"'  # noqa: S608  # trusted names
            )
            for row in self.rows(statement, value):
                yield self.one(table, "id", row["linked"])

    def content_part(self, row: Row) -> Row:
        """Return the content part of an attachment; external data and other types than images are named."""
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
        """Parse a JSON object; empty if there is none."""
        return object_of(embedded_value(text))


def _is_plain(sql: str) -> bool:
    """Return True for a table that only stores rows, without computed columns."""
    words = " ".join(sql.upper().split())
    return (
        words.startswith("CREATE TABLE")
        and " AS (" not in words
        and "GENERATED ALWAYS" not in words
    )
