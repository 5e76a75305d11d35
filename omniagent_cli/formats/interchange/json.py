"""``json``: one versioned document with all sessions; lossless."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from omniagent_cli.errors import InvalidRecord, NewerVersion
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.interchange.jsonl import record_object
from omniagent_cli.formats.json_helpers import list_entries, with_problems
from omniagent_cli.formats.json_stream import BadDocument, JsonReader
from omniagent_cli.formats.json_values import BadValue
from omniagent_cli.formats.types import (
    Entry,
    IncomingSession,
    MessageEntry,
    OutgoingSession,
    Problem,
    ReaderItem,
    RecordEntry,
    problem,
)
from omniagent_cli.json_format import dump
from omniagent_cli.models import FORMAT_VERSION, SESSION_FORMAT, check_version

EXPORT_FORMAT = "omniagent-export"
"""Format marker of the ``json`` document."""


class JsonDocument:
    """``json``: one versioned document; a single session record (`Session.to_record`) is read too."""

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield the document with one message per line, so that locations are precise and diffs readable."""
        head = dump({"format": EXPORT_FORMAT, "version": FORMAT_VERSION})
        yield head[:-1] + b',"sessions":['
        for number, session in enumerate(sessions):
            yield b",\n" if number else b"\n"
            yield dump(session.header)[:-1] + b',"messages":['
            yield from _array(session.messages)
            records = (record_object(*record) for record in session.records)
            if (first := next(records, None)) is not None:
                yield b',"records":['
                yield from _array(chain([first], records))
            yield b"}"
        yield b"\n]}\n"

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the sessions of one document, or of several in a row."""
        reader = JsonReader(source)
        try:
            while reader.peek():
                yield from _document(reader)
        except BadDocument as error:
            yield Problem(error.location, error.message)


def _array(values: Iterable[Any]) -> Iterator[bytes]:
    separator = b"\n"
    for value in values:
        yield separator + dump(value)
        separator = b",\n"
    yield b"]"


def _document(reader: JsonReader) -> Iterator[ReaderItem]:
    """Read one document: an export, or a single session."""
    location = reader.location
    object_reader = _ObjectReader(reader, location)
    for key in object_reader.members:
        if key == "sessions":
            if (error_text := _export_error(object_reader.header)) is not None:
                yield problem(location, error_text)
                reader.skip()
            else:
                yield from _sessions(reader)
            object_reader.is_session = True
        elif key in ("messages", "records"):
            yield from object_reader.session(key)
        else:
            object_reader.read_header(key)
    if not object_reader.is_session and object_reader.header.get("format") == SESSION_FORMAT:
        yield from object_reader.session(None)
    elif not object_reader.is_session:
        yield problem(location, "no sessions in this document")


def _export_error(header: dict[str, Any]) -> str | None:
    if header.get("format", EXPORT_FORMAT) != EXPORT_FORMAT:
        return f"not an omniagent export: format {header['format']!r}"
    try:
        check_version(header, "this export")
    except (InvalidRecord, NewerVersion) as error:
        return str(error)
    return None


def _sessions(reader: JsonReader) -> Iterator[ReaderItem]:
    for _ in reader.array():
        first, location = reader.peek(), reader.location
        if first != "{":
            reader.skip()
            yield problem(location, "session must be an object")
            continue
        object_reader = _ObjectReader(reader, location)
        yield from object_reader.session(object_reader.next_list())


class _ObjectReader:
    """Reader of one object: header values so far, and whether it is a session."""

    def __init__(self, reader: JsonReader, location: str) -> None:
        self._reader = reader
        self._location = location
        self.members = reader.members()
        self.header: dict[str, Any] = {}
        self.is_session = False
        self._problems: list[Problem] = []

    def read_header(self, key: str) -> None:
        """Read a header value; an unreadable value makes the session invalid."""
        location = self._reader.location
        try:
            self.header[key] = self._reader.value()
        except BadValue as error:
            self._problems.append(problem(location, f"{key!r} cannot be read: {error}"))

    def next_list(self) -> str | None:
        """Read header values up to the next list and return its key."""
        for key in self.members:
            if key in ("messages", "records"):
                return key
            self.read_header(key)
        return None

    def session(self, key: str | None) -> Iterator[ReaderItem]:
        """Yield the object as a session; `key` is the list at the reader's position."""
        self.is_session = True
        incoming = IncomingSession(self._location, self.header, iter(()), is_native=True)
        incoming.is_invalid = bool(self._problems)
        incoming.entries = self._entries(key, incoming)
        yield from with_problems(incoming)

    def _entries(self, key: str | None, incoming: IncomingSession) -> Iterator[Entry]:
        """Yield messages and records, and read the header values after them."""
        try:
            while key is not None:
                yield from (
                    map(_to_record_entry, list_entries(self._reader))
                    if key == "records"
                    else (list_entries(self._reader))
                )
                key = self.next_list()
        except BadDocument as error:
            yield Problem(error.location, error.message)
            self._reader.abandon()
        finally:
            incoming.is_invalid = bool(self._problems)
        yield from self._problems


def _to_record_entry(entry: MessageEntry | Problem) -> RecordEntry | Problem:
    if isinstance(entry, Problem):
        return entry
    value = entry.record if isinstance(entry.record, dict) else {}
    return RecordEntry(entry.location, value.get("record"), value.get("key"), value.get("value"))
