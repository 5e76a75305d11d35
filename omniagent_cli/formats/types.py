"""Types exchanged between formats and stores: sessions in both directions, and import problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.text.sanitize import cut

PROBLEM_LENGTH = 300
"""Length limit of a problem's text, which may quote a hostile file."""


class Problem(NamedTuple):
    """One invalid record of an import.

    Attributes:
        location: file and line, such as ``chats.jsonl:12``.
        text: description; may quote the file, so it must be sanitized for a terminal.
    """

    location: str
    text: str


class MessageEntry(NamedTuple):
    """One message of an import, not validated yet."""

    location: str
    record: Any


class RecordEntry(NamedTuple):
    """One other record of an import (``attachment``, ``summary``), not validated yet."""

    location: str
    kind: Any
    key: Any
    value: Any


class Omission(NamedTuple):
    """A part of the input that is not imported by design, such as ``hidden system message``; only counted.

    Attributes:
        kind: singular noun phrase; the plural is formed with an s.
        number: how many of this kind.
    """

    kind: str
    number: int = 1


Entry = MessageEntry | RecordEntry | Problem | Omission


@dataclass(slots=True)
class IncomingSession:
    """Session being imported.

    Attributes:
        location: start of the session in the input.
        header: session record without messages, not validated yet; ``id`` may be absent.
        entries: lazy iterator of the rest; a reader continues with its next session after it is exhausted.
        is_invalid: the header cannot be used and a problem was reported; final after the entries are exhausted.
        is_native: written by omniagent: a missing title or turn is intended, so none is derived.
        reread: yields the entries once more from the first; None when they can be read only once.
        branch_of: id of the session of the visible thread; empty for that session itself.
        as_branch: returns this session as a branch named by the id of its first differing message.
    """

    location: str
    header: dict[str, Any]
    entries: Iterator[Entry]
    is_native: bool = False
    is_invalid: bool = False
    reread: Callable[[], Iterator[Entry]] | None = None
    branch_of: str = ""
    as_branch: Callable[[str], IncomingSession] | None = None


ReaderItem = IncomingSession | Problem | Omission
"""Anything a reader yields."""


@dataclass(slots=True)
class OutgoingSession:
    """Session being exported.

    Attributes:
        header: session record without messages and without keys that are valid only in its store.
        messages: message records, oldest first, read lazily.
        records: kind, key and value of the other records; to be read after the messages.
        attachment: returns the record of an attachment by SHA-256; None when attachments are omitted.
        position: stable position of the message read last.
        summaries: summary records by the position of the last message they cover.
    """

    header: dict[str, Any]
    messages: Iterator[dict[str, Any]]
    records: Iterator[tuple[str, str, Any]] = field(default_factory=lambda: iter(()))
    attachment: Callable[[str], Any] | None = None
    position: int = -1
    summaries: dict[int, dict[str, Any]] = field(default_factory=dict)

    def reading_order(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield kind (``message`` or ``summary``) and record in reading order.

        A summary follows the last message it covers, even if that message is not exported.
        """
        if not self.summaries:
            yield from (("message", message) for message in self.messages)
            return
        waiting = sorted(self.summaries.items(), reverse=True)
        for message in self.messages:
            while waiting and waiting[-1][0] < self.position:
                yield "summary", waiting.pop()[1]
            yield "message", message
        yield from (("summary", record) for _, record in reversed(waiting))


class Exporter(Protocol):
    """Writer of one format."""

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield the bytes of an export in chunks of any size; each session is consumed before the next."""
        ...


class Importer(Protocol):
    """Reader of one format."""

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the sessions, problems and omissions of a file in file order."""
        ...


def problem(location: str, what: object) -> Problem:
    """Return a problem with a bounded text."""
    return Problem(location, cut(str(what), PROBLEM_LENGTH))
