"""JSON reading shared by importers: documents, list elements, lines, object members."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import MAX_RECORD_BYTES, ByteSource
from omniagent_cli.formats.json_stream import BadDocument, JsonReader
from omniagent_cli.formats.json_values import DEEP_PART, BadValue, DeepValue, parse
from omniagent_cli.formats.types import (
    Entry,
    IncomingSession,
    MessageEntry,
    Problem,
    ReaderItem,
    problem,
)


def is_json_lines(head: bytes) -> bool:
    """Return True if each line is a document: the first line is complete, or its end is not in `head`."""
    line, end, _ = head.lstrip().partition(b"\n")
    return not end or line.rstrip().endswith((b"}", b"]"))


def embedded_value(text: Any) -> Any:
    """Parse the JSON that a column or a field holds as text; None if there is none."""
    if not isinstance(text, str | bytes):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
    except RecursionError:
        pass
    try:
        return parse(text if isinstance(text, str) else text.decode("utf-8", "replace"))
    except DeepValue as error:
        return error.value
    except BadValue:
        return None


def line_objects(source: ByteSource) -> Iterator[MessageEntry | Problem]:
    """Yield the object of each non-blank line, and a problem for each line that is not an object."""
    for number, line in source.lines():
        location = f"{source.name}:{number}"
        if line is None:
            yield problem(location, f"longer than {MAX_RECORD_BYTES >> 20} MiB")
        elif text := line.strip().decode("utf-8", "surrogateescape"):
            try:
                value = parse(text)
            except DeepValue as error:
                yield problem(location, DEEP_PART)
                value = error.value
            except BadValue as error:
                yield problem(location, error)
                continue
            is_object = isinstance(value, dict)
            yield MessageEntry(location, value) if is_object else problem(location, "not an object")


def feed_lines(
    lines: Iterable[MessageEntry | Problem], add: Callable[[MessageEntry], None]
) -> Iterator[Problem]:
    """Pass each line to `add`; yield the unreadable ones and those that it rejects with `InvalidRecord`."""
    for entry in lines:
        if isinstance(entry, Problem):
            yield entry
            continue
        try:
            add(entry)
        except InvalidRecord as error:
            yield problem(entry.location, error)


def until_damage(reader: JsonReader, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries; where the document is damaged, yield the problem and abandon it."""
    try:
        yield from entries
    except BadDocument as error:
        yield Problem(error.location, error.message)
        reader.abandon()


def read_member(reader: JsonReader, key: str, fields: dict[str, Any]) -> Iterator[Problem]:
    """Read the value of a key into `fields`; yield a problem if it cannot be read."""
    location = reader.location
    try:
        fields[key] = reader.value()
    except BadValue as error:
        yield problem(location, f"{key!r} cannot be read: {error}")


def read_documents(
    source: ByteSource,
    read: Callable[[JsonReader], Iterator[ReaderItem]],
    *,
    by_line: bool,
) -> Iterator[ReaderItem]:
    """Yield the sessions of a file that holds one document, or one on each line.

    Args:
        source: the file.
        read: yields the sessions of the document at the reader's position.
        by_line: each document is one line, so a broken one costs no more than its line.
    """
    reader = JsonReader(source, by_line=by_line)
    while reader.peek():
        try:
            yield from read(reader)
        except BadDocument as error:
            yield Problem(error.location, error.message)
            reader.abandon()
        if not (by_line and reader.next_line()):
            reader.abandon()


def with_problems(incoming: IncomingSession) -> Iterator[ReaderItem]:
    """Yield a session, then the problems among its entries that the consumer did not read."""
    yield incoming
    yield from (entry for entry in incoming.entries if isinstance(entry, Problem))


def list_entries(reader: JsonReader) -> Iterator[MessageEntry | Problem]:
    """Yield each element of the list at the reader's position, and a problem for each unreadable one.

    Raises:
        BadDocument: the end of the list cannot be found.
    """
    location = reader.location
    if reader.peek() != "[":
        reader.skip()
        yield problem(location, "expected a list")
        return
    for _ in reader.array():
        reader.peek()
        location = reader.location
        try:
            value = reader.value()
        except BadValue as error:
            yield problem(location, error)
        else:
            yield MessageEntry(location, value)
