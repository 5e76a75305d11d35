"""``json``: one versioned document with all sessions; lossless."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from omniagent_cli.errors import InvalidRecord, NewerVersion
from omniagent_cli.formats.byte_source import Source
from omniagent_cli.formats.interchange.jsonl import record_object
from omniagent_cli.formats.json_helpers import list_entries, with_problems
from omniagent_cli.formats.json_stream import BadDocument, BadValue, JsonReader
from omniagent_cli.formats.types import (
    Entry,
    Incoming,
    MessageEntry,
    Outgoing,
    Problem,
    RecordEntry,
    problem,
)
from omniagent_cli.json_format import dump
from omniagent_cli.models import FORMAT_VERSION, SESSION_FORMAT, check_version

EXPORT_FORMAT = "omniagent-export"
"""What the ``json`` document says it is."""


class JsonDocument:
    """``json``: one versioned document; a session as `Session.to_record` gives it is read too."""

    def write(self, sessions: Iterable[Outgoing]) -> Iterator[bytes]:
        """Yield the document, a message a line, so that a place in it can be named and compared."""
        head = dump({"format": EXPORT_FORMAT, "version": FORMAT_VERSION})
        yield head[:-1] + b',"sessions":['
        for number, session in enumerate(sessions):
            yield b",\n" if number else b"\n"
            yield dump(session.header)[:-1] + b',"messages":['
            yield from _listed(session.messages)
            records = (record_object(*record) for record in session.records)
            if (first := next(records, None)) is not None:
                yield b',"records":['
                yield from _listed(chain([first], records))
            yield b"}"
        yield b"\n]}\n"

    def read(self, source: Source) -> Iterator[Incoming | Problem]:
        """Yield the sessions of one document, or of several that follow each other."""
        reader = JsonReader(source)
        try:
            while reader.peek():
                yield from _document(reader)
        except BadDocument as error:
            yield Problem(error.place, error.what)


def _listed(values: Iterable[Any]) -> Iterator[bytes]:
    separator = b"\n"
    for value in values:
        yield separator + dump(value)
        separator = b",\n"
    yield b"]"


def _document(reader: JsonReader) -> Iterator[Incoming | Problem]:
    """Walk through one document: an export, or a session by itself."""
    place = reader.place
    walk = _Walk(reader, place)
    for key in walk.members:
        if key == "sessions":
            if (wrong := _wrong_export(walk.header)) is not None:
                yield problem(place, wrong)
                reader.skip()
            else:
                yield from _sessions(reader)
            walk.found = True
        elif key in ("messages", "records"):
            yield from walk.session(key)
        else:
            walk.keep(key)
    if not walk.found and walk.header.get("format") == SESSION_FORMAT:
        yield from walk.session(None)
    elif not walk.found:
        yield problem(place, "there are no sessions in this document")


def _wrong_export(header: dict[str, Any]) -> str | None:
    if header.get("format", EXPORT_FORMAT) != EXPORT_FORMAT:
        return f"this is no export of omniagent but {header['format']!r}"
    try:
        check_version(header, "this export")
    except (InvalidRecord, NewerVersion) as error:
        return str(error)
    return None


def _sessions(reader: JsonReader) -> Iterator[Incoming | Problem]:
    for _ in reader.array():
        first, place = reader.peek(), reader.place
        if first != "{":
            reader.skip()
            yield problem(place, "a session is an object")
            continue
        walk = _Walk(reader, place)
        yield from walk.session(walk.to_messages())


class _Walk:
    """One object on the way: the header keys seen so far, and whether it turned out to be a session."""

    def __init__(self, reader: JsonReader, place: str) -> None:
        self._reader = reader
        self._place = place
        self.members = reader.members()
        self.header: dict[str, Any] = {}
        self.found = False
        self._wrong: list[Problem] = []

    def keep(self, key: str) -> None:
        """Read a header value; one that cannot be read makes the session unusable."""
        place = self._reader.place
        try:
            self.header[key] = self._reader.value()
        except BadValue as error:
            self._wrong.append(problem(place, f"{key!r} cannot be read: {error}"))

    def to_messages(self) -> str | None:
        """Read header values up to the first list and return its key."""
        for key in self.members:
            if key in ("messages", "records"):
                return key
            self.keep(key)
        return None

    def session(self, key: str | None) -> Iterator[Incoming | Problem]:
        """Yield this object as a session; `key` is the list the reader stands at."""
        self.found = True
        incoming = Incoming(self._place, self.header, iter(()), exact=True)
        incoming.broken = bool(self._wrong)
        incoming.entries = self._entries(key, incoming)
        yield from with_problems(incoming)

    def _entries(self, key: str | None, incoming: Incoming) -> Iterator[Entry]:
        """Yield messages and records, and bring in the header keys that stand behind them."""
        try:
            while key is not None:
                yield from (
                    map(_as_record, list_entries(self._reader))
                    if key == "records"
                    else (list_entries(self._reader))
                )
                key = self.to_messages()
        except BadDocument as error:
            yield Problem(error.place, error.what)
            self._reader.abandon()
        finally:
            incoming.broken = bool(self._wrong)
        yield from self._wrong


def _as_record(entry: MessageEntry | Problem) -> RecordEntry | Problem:
    if isinstance(entry, Problem):
        return entry
    value = entry.record if isinstance(entry.record, dict) else {}
    return RecordEntry(entry.place, value.get("record"), value.get("key"), value.get("value"))
