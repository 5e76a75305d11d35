"""``jsonl``: a header line per session, then a line per message, attachment and summary; lossless."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from omniagent_cli.formats.byte_source import MAX_RECORD_BYTES, ByteSource
from omniagent_cli.formats.json_helpers import with_problems
from omniagent_cli.formats.json_stream import BadValue, parse
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
from omniagent_cli.models import FORMAT_VERSION, SESSION_FORMAT
from omniagent_cli.stores.backends.jsonl.facts import flatten, single_facts, unflatten

_STORE_FACTS = (
    "next_position", "revision", "pinned", "archived", "hidden", "message_count", "preview", "modified_at", "payload",
)  # fmt: skip
"""Keys in the header lines of a JSON-file store that are not part of the session record."""


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
                incoming = IncomingSession(location, value, iter(()), is_native=True)
                incoming.entries = _session_lines(reader, value.get("message_count"))
                if "uid" in value:  # a store's own file; exports have no uid
                    incoming.entries = _replay_log(incoming.entries, value)
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


def _replay_log(entries: Iterable[Entry], header: dict[str, Any]) -> Iterator[Entry]:
    """Read the log of a JSON-file store, as the manual page ``file-format`` specifies it; its header is completed.

    All lines are read first, because later ones remove and change messages and give the session its facts.
    """
    version, facts = header.pop("version", 1), _Facts(header)
    messages: dict[Any, _LogMessage] = {}
    gone: set[Any] = set()
    others: list[Entry] = []
    for entry in entries:
        record = entry.record if isinstance(entry, MessageEntry) else None
        if not isinstance(entry, MessageEntry) or not isinstance(record, dict):
            others.append(entry)
        elif "role" in record:
            message = _LogMessage(entry.location, record, messages)
            if version == 1:
                message.key = record.get("position")  # two messages may have one id
            messages[message.key] = message
        elif "header" in record:
            facts.apply(record)
        for kind, change in (("removed", gone.update), ("restored", gone.difference_update)):
            for pair in (
                record.get(kind, ()) if isinstance(record, dict) and "role" not in record else ()
            ):
                change([pair[0]] if isinstance(pair, list) and pair else [])
    header |= {**facts.header(), "version": FORMAT_VERSION}
    kept = [message for message in messages.values() if message.record.get("id") not in gone]
    if version > 1:
        _arrange(kept)
    return iter([MessageEntry(message.location, message.record) for message in kept] + others)


class _LogMessage:
    """A message line without what only its log needs."""

    def __init__(
        self, location: str, record: dict[str, Any], earlier: dict[Any, _LogMessage]
    ) -> None:
        own = {
            key: record.pop(key, None)
            for key in ("position", "at", "edited", "more", "bound", "preview", "replaces")
        }
        payload = record.get("payload")
        if isinstance(payload, dict):
            record |= record.pop("payload")
        record.setdefault("id", None)
        self.location, self.record = location, record
        self.stamp = str(own["at"] or record.get("created_at"))
        self.key: Any = (self.stamp, str(record["id"]))
        known = earlier.get(self.key)
        self.position: Any = own["position"] if known is None else known.position
        if own["replaces"]:
            self.key = own["position"]


def _arrange(messages: list[_LogMessage]) -> None:
    """Sort the messages of a log; turns of copies that were merged stay whole."""
    if any(second.key <= first.key for first, second in pairwise(messages)):
        messages.sort(key=lambda message: message.key)
        turns: dict[Any, Any] = {}
        for message in messages:
            turns.setdefault(message.record.get("turn_id") or message.record["id"], message.key)
        messages.sort(key=lambda m: (turns[m.record.get("turn_id") or m.record["id"]], m.key))
        return
    last = -1
    for message in messages:
        if not isinstance(message.position, int):
            message.position = last + 1
        last = max(last, message.position)
    messages.sort(key=lambda message: message.position)


class _Facts:
    """The facts of header lines."""

    def __init__(self, identity: dict[str, Any]) -> None:
        self._facts: dict[tuple[str, ...], Any] = {}
        self.apply({"header": identity.pop("header", {})})

    def apply(self, line: dict[str, Any]) -> None:
        """Apply a header line, of any version."""
        if not isinstance(line["header"], dict):
            return
        for path in line.get("unset", ()):
            self._facts.pop(tuple(path), None)
        data = line.get("data")
        if isinstance(data, dict):  # version 1: all of them
            self._facts = {
                path: v for path, v in self._facts.items() if path[0] in _STORE_FACTS
            } | flatten(data)
        self._facts |= single_facts(line["header"])

    def header(self) -> dict[str, Any]:
        """Return the facts as keys of a session record."""
        return {k: v for k, v in unflatten(self._facts.items()).items() if k not in _STORE_FACTS}
