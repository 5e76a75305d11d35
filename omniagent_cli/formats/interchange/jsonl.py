"""``jsonl``: a header line per session, then a line per message, attachment and summary; lossless."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from omniagent_cli.errors import CorruptSession, StoreError
from omniagent_cli.formats.byte_source import MAX_RECORD_BYTES, ByteSource
from omniagent_cli.formats.json_helpers import with_problems
from omniagent_cli.formats.json_values import BadValue, parse
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
from omniagent_cli.json_format import dump, load
from omniagent_cli.models import FORMAT_VERSION, SESSION_FORMAT
from omniagent_cli.stores.backends.jsonl.line_reader import LineReader
from omniagent_cli.stores.backends.jsonl.log import Log, NotALog, derive

_COLUMNS = ("id", "created_at", "updated_at", "modified_at", "agent_id", "model", "ttl_seconds")
"""Columns of a header that are keys of the session record."""


def record_object(kind: str, key: str, value: Any) -> dict[str, Any]:
    """Return an attachment or summary in the form of a line or list element."""
    return {"record": kind, "key": key, "value": value}


class JsonLines:
    """``jsonl``: a header line per session, then a line per message and per other record."""

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield one line at a time."""
        for session in sessions:
            yield dump(session.header) + b"\n"
            for message in session.messages:
                yield dump(message) + b"\n"
            for record in session.records:
                yield dump(record_object(*record)) + b"\n"

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield a session for each header line."""
        reader = _LineReader(source)
        for location, value in reader:
            if isinstance(value, Problem):
                yield value
                if reader.looks_like_header(value):
                    reader.skip_session()
            elif not _is_header(value):
                yield problem(location, "message without a session header")
                reader.skip_session()
            else:
                if "uid" in value:  # a store's own file; exports have no uid
                    incoming = _read_log(reader, value, location)
                else:
                    incoming = IncomingSession(location, value, iter(()), is_native=True)
                    incoming.entries = _session_lines(reader, value.get("message_count"))
                yield from with_problems(incoming)


def _is_header(value: Any) -> bool:
    return isinstance(value, dict) and value.get("format") == SESSION_FORMAT


class _LineReader:
    """Reader of lines as JSON values; lines can be pushed back."""

    def __init__(self, source: ByteSource) -> None:
        self._lines = source.lines()
        self._name = source.name
        self._pushed_back: list[tuple[str, Any]] = []
        self._suspect: Problem | None = None
        self.location = source.name

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        while (line := self._pushed_back.pop() if self._pushed_back else self._next()) is not None:
            yield line

    def _next(self) -> tuple[str, Any] | None:
        for number, line in self._lines:
            self.location = f"{self._name}:{number}"
            if line is None:
                too_long = f"longer than {MAX_RECORD_BYTES >> 20} MiB"
                return self.location, problem(self.location, too_long)
            if line and not line.isspace():
                return self.location, self._parse(line)
        return None

    def _parse(self, line: bytes) -> Any:
        try:
            return parse(line.decode("utf-8", "surrogateescape"))
        except BadValue as error:
            error_entry = problem(self.location, error)
            if SESSION_FORMAT.encode() in line[:4096]:
                self._suspect = error_entry
            return error_entry

    def push_back(self, location: str, value: Any) -> None:
        """Return a line to the reader; the next step yields it again."""
        self._pushed_back.append((location, value))

    def looks_like_header(self, entry: Problem) -> bool:
        """Return True if the unreadable line contains the session marker."""
        return entry is self._suspect

    def skip_session(self) -> None:
        """Skip to the next header line."""
        for location, value in self:
            if _is_header(value) or isinstance(value, Problem):
                self.push_back(location, value)
                return


def _session_lines(reader: _LineReader, expected: Any) -> Iterator[Entry]:
    """Yield the entries of one session; lines beyond its announced message count do not belong to it."""
    count = 0
    for location, value in reader:
        if _is_header(value) or (isinstance(value, Problem) and reader.looks_like_header(value)):
            reader.push_back(location, value)
            break
        if isinstance(value, dict) and "record" in value and "role" not in value:
            yield RecordEntry(location, value["record"], value.get("key"), value.get("value"))
            continue
        if isinstance(expected, int) and count >= expected:
            reader.push_back(location, value)
            break
        count += 1
        yield value if isinstance(value, Problem) else MessageEntry(location, value)
    else:
        if isinstance(expected, int) and count < expected:
            yield problem(
                reader.location, f"unexpected end of file after {count} of {expected} messages"
            )


def _read_log(reader: _LineReader, identity: dict[str, Any], location: str) -> IncomingSession:
    """Read the log of a JSON-file store, whose later lines change earlier ones, by its own rules, through a temporary file."""
    problems: list[Entry] = []
    file = tempfile.TemporaryFile()  # noqa: SIM115  # `_log_entries` closes it
    file.write(dump(identity) + b"\n")
    for place, value in reader:
        if _is_header(value) or (isinstance(value, Problem) and reader.looks_like_header(value)):
            reader.push_back(place, value)
            break
        if isinstance(value, dict):
            file.write(dump(value) + b"\n")
        else:
            problems.append(
                value if isinstance(value, Problem) else problem(place, "not an object")
            )
    file.flush()
    try:
        log = Log.read(LineReader(Path(location), file), derive)
    except (NotALog, StoreError) as error:
        return IncomingSession(
            location, identity, iter([problem(location, error), *problems]), is_native=True
        )
    header, data = log.header(), load(log.state.payload())
    kept = {key: getattr(header, key) for key in _COLUMNS if getattr(header, key) not in ("", None)}
    record = {"format": SESSION_FORMAT, "version": FORMAT_VERSION, "uid": log.uid, **data, **kept}
    return IncomingSession(location, record, _log_entries(log, location, problems), is_native=True)


def _log_entries(log: Log, location: str, problems: list[Entry]) -> Iterator[Entry]:
    with contextlib.closing(log):
        try:
            for row in log.rows():
                facts = {"turn_id": row.turn_id, "status": row.status}
                record = {
                    "id": row.id,
                    "role": row.role,
                    "created_at": row.created_at,
                    **load(row.payload),
                }
                record |= {key: value for key, value in facts.items() if value is not None}
                yield MessageEntry(location, record)
            for kind, key, payload in log.records():
                yield RecordEntry(location, kind, key, load(payload))
        except (CorruptSession, ValueError) as error:
            yield problem(location, error)
        yield from problems
