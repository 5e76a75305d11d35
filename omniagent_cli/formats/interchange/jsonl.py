"""``jsonl``: a header line per session, then a line per message and per other record; lossless."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from omniagent_cli.formats.byte_source import MAX_RECORD_BYTES, Source
from omniagent_cli.formats.json_helpers import with_problems
from omniagent_cli.formats.json_stream import BadValue, parse
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
from omniagent_cli.models import SESSION_FORMAT

_STORE_FACTS = ("next_position", "revision", "pinned", "archived", "hidden", "message_count")
"""What the header lines of a JSON-file store hold besides the session record."""


def record_object(kind: str, key: str, value: Any) -> dict[str, Any]:
    """Return an attachment or summary in the form of a line or list element."""
    return {"record": kind, "key": key, "value": value}


class JsonLines:
    """``jsonl``: a header line per session, then a line per message and per other record."""

    def write(self, sessions: Iterable[Outgoing]) -> Iterator[bytes]:
        """Yield one line after another."""
        for session in sessions:
            yield dump(session.header) + b"\n"
            for message in session.messages:
                yield dump(message) + b"\n"
            for record in session.records:
                yield dump(record_object(*record)) + b"\n"

    def read(self, source: Source) -> Iterator[Incoming | Problem]:
        """Yield sessions as their header lines come by."""
        log = _Log(source)
        for place, value in log:
            if isinstance(value, Problem):
                yield value
                if log.may_be_header(value):
                    log.skip_session()
            elif not _is_header(value):
                yield problem(place, "a message needs a session header before it")
                log.skip_session()
            else:
                incoming = Incoming(place, value, iter(()), exact=True)
                incoming.entries = _session_lines(log, value.get("message_count"))
                if "uid" in value:  # a store's own file; an export leaves the uid out
                    incoming.entries = _from_store_log(incoming.entries, value)
                yield from with_problems(incoming)


def _is_header(value: Any) -> bool:
    return isinstance(value, dict) and value.get("format") == SESSION_FORMAT


class _Log:
    """Lines of a file as values; one can be given back."""

    def __init__(self, source: Source) -> None:
        self._lines = source.lines()
        self._name = source.name
        self._back: list[tuple[str, Any]] = []
        self._suspect: Problem | None = None
        self.place = source.name

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        while (found := self._back.pop() if self._back else self._next()) is not None:
            yield found

    def _next(self) -> tuple[str, Any] | None:
        for number, line in self._lines:
            self.place = f"{self._name}:{number}"
            if line is None:
                too_long = f"the line is longer than {MAX_RECORD_BYTES >> 20} MiB"
                return self.place, problem(self.place, too_long)
            if line and not line.isspace():
                return self.place, self._parsed(line)
        return None

    def _parsed(self, line: bytes) -> Any:
        try:
            return parse(line.decode("utf-8", "surrogateescape"))
        except BadValue as error:
            found = problem(self.place, error)
            if SESSION_FORMAT.encode() in line[:4096]:
                self._suspect = found
            return found

    def give_back(self, place: str, value: Any) -> None:
        """Let the next step get this line again."""
        self._back.append((place, value))

    def may_be_header(self, found: Problem) -> bool:
        """Tell whether the line that could not be read looked like the header of a session."""
        return found is self._suspect

    def skip_session(self) -> None:
        """Pass over what belongs to a header that cannot be used, up to the next one."""
        for place, value in self:
            if _is_header(value) or isinstance(value, Problem):
                self.give_back(place, value)
                return


def _session_lines(log: _Log, expected: Any) -> Iterator[Entry]:
    """Yield what belongs to one session; what comes after the number of messages it announced does not."""
    count = 0
    for place, value in log:
        if _is_header(value) or (isinstance(value, Problem) and log.may_be_header(value)):
            log.give_back(place, value)
            break
        if isinstance(value, dict) and "record" in value and "role" not in value:
            yield RecordEntry(place, value["record"], value.get("key"), value.get("value"))
            continue
        if isinstance(expected, int) and count >= expected:
            log.give_back(place, value)
            break
        count += 1
        yield value if isinstance(value, Problem) else MessageEntry(place, value)
    else:
        if isinstance(expected, int) and count < expected:
            yield problem(log.place, f"the file ends after {count} of {expected} messages")


def _from_store_log(entries: Iterable[Entry], header: dict[str, Any]) -> Iterator[Entry]:
    """Read the log of a JSON-file store: positions, header changes, and answers that were replaced as they grew.

    Only the newest message can have been replaced, because answers grow one at a time.
    """
    held: MessageEntry | None = None
    for entry in entries:
        record = entry.record if isinstance(entry, MessageEntry) else None
        if not isinstance(entry, MessageEntry) or not isinstance(record, dict):
            yield entry
        elif "header" in record and "role" not in record:
            _change(header, record)
        else:
            replaces = record.pop("replaces", False)
            if held is not None and not (replaces and held.record["id"] == record.get("id")):
                yield held
            held = MessageEntry(entry.place, {k: v for k, v in record.items() if k != "position"})
            held.record.setdefault("id", None)
    if held is not None:
        yield held


def _change(header: dict[str, Any], line: dict[str, Any]) -> None:
    """Apply a header line of a store's log."""
    for part in (line.get("data"), line["header"]):
        if isinstance(part, dict):
            header.update(part)
    for key in _STORE_FACTS:
        header.pop(key, None)
