"""What moves between a format and the stores: sessions on their way out and in, and what was wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.text.sanitize import cut

PROBLEM_LENGTH = 300
"""Characters of a problem's text that are kept: it may quote what a hostile file holds."""


class Problem(NamedTuple):
    """One bad record of an import.

    Attributes:
        location: where, such as ``chats.jsonl:12``.
        text: what is wrong there; may quote the file, so it is data, not for a terminal as it is.
    """

    location: str
    text: str


class MessageEntry(NamedTuple):
    """One message of an import, as found: not checked yet."""

    location: str
    record: Any


class RecordEntry(NamedTuple):
    """One other record of an import (``attachment``, ``summary``), as found: not checked yet."""

    location: str
    kind: Any
    key: Any
    value: Any


Entry = MessageEntry | RecordEntry | Problem


@dataclass(slots=True)
class IncomingSession:
    """A session on its way in.

    Attributes:
        location: where it begins.
        header: the session record without its messages, as found: not checked yet. An ``id`` may be absent.
        entries: the rest, read as it is asked for; a reader goes on to its next session once they are used up.
        is_invalid: the header cannot be used, which was told; known once the entries are used up.
        is_native: it was written by omniagent: an absent title or turn is a fact and not a gap to fill.
        reread: reads the entries once more, from the first; None when they can be read only once.
        branch_of: the session it is another thread of; empty for the one that was on the screen.
        as_branch: makes the same one anew as a branch of itself, told from it by the id of its first message that differs.
    """

    location: str
    header: dict[str, Any]
    entries: Iterator[Entry]
    is_native: bool = False
    is_invalid: bool = False
    reread: Callable[[], Iterator[Entry]] | None = None
    branch_of: str = ""
    as_branch: Callable[[str], IncomingSession] | None = None


@dataclass(slots=True)
class OutgoingSession:
    """A session on its way out.

    Attributes:
        header: the session record without its messages and without what is only true in its own store.
        messages: message records, oldest first, read as they are asked for.
        records: the other records as kind, key and value; to be read after the messages.
        attachment: returns the record of an attachment by its SHA-256; None when attachments are left out.
        position: where the message read last stands in the session: stable, and the same in every export.
        summaries: the summary records by the position of the last message each stands for.
    """

    header: dict[str, Any]
    messages: Iterator[dict[str, Any]]
    records: Iterator[tuple[str, str, Any]] = field(default_factory=lambda: iter(()))
    attachment: Callable[[str], Any] | None = None
    position: int = -1
    summaries: dict[int, dict[str, Any]] = field(default_factory=dict)

    def reading_order(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what a person reads, in its order: ``message`` or ``summary``, and the record.

        A summary stands behind the last message it stands for, also where that one is left out.
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
    """Writes sessions in one format."""

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield the bytes of an export, in pieces of any size, using each session up before the next."""
        ...


class Importer(Protocol):
    """Reads sessions from one format."""

    def read(self, source: ByteSource) -> Iterator[IncomingSession | Problem]:
        """Yield the sessions of a file, and what cannot be read, in the order of the file."""
        ...


def problem(location: str, what: object) -> Problem:
    """Make a problem of bounded length."""
    return Problem(location, cut(str(what), PROBLEM_LENGTH))
