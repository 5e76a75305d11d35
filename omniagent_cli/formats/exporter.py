"""Export from a store to a stream of bytes, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.formats import open_exporter
from omniagent_cli.formats.types import Exporter, OutgoingSession
from omniagent_cli.models import ROLES, Session
from omniagent_cli.stores import SessionStore
from omniagent_cli.stores.journal import REMOVAL
from omniagent_cli.text.redact import Redactor

_PIECE_BYTES = 64 * 1024
_STORE_ONLY_KEYS = ("uid", "expires_at")
"""Header keys that are valid only in their own store; the time to live is exported as a duration."""


@dataclass(slots=True)
class ExportReport:
    """Result of an export.

    Attributes:
        redactions: number of redactions by kind.
        missing: ids of sessions that disappeared during the export.
        omitted_attachments: attachments omitted because their content cannot be redacted.
    """

    sessions: int = 0
    messages: int = 0
    bytes: int = 0
    redactions: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    omitted_attachments: int = 0

    def add(self, other: ExportReport) -> None:
        """Add the counts of another report."""
        self.sessions += other.sessions
        self.messages += other.messages
        self.bytes += other.bytes
        self.omitted_attachments += other.omitted_attachments
        self.missing += other.missing
        for kind, number in other.redactions.items():
            self.redactions[kind] = self.redactions.get(kind, 0) + number


def export_sessions(
    store: SessionStore,
    ids: Iterable[str],
    format_name: str,
    write: Callable[[bytes], object],
    *,
    redact: bool = False,
    only: Collection[str] | None = None,
    front_matter: bool = False,
    progress: Callable[[ExportReport], object] | None = None,
) -> ExportReport:
    """Export sessions in a format, message by message.

    Args:
        store: the store to read.
        ids: session ids, in output order. A sequence is checked before anything is written; from an iterator,
            sessions that no longer exist are skipped and reported as missing.
        format_name: a key of `formats.FORMATS`.
        write: receives the UTF-8 output, such as ``sys.stdout.buffer.write``.
        redact: replace likely secrets; attachments are omitted.
        only: export only messages with these roles.
        front_matter: write a YAML header before each session; for ``markdown``.
        progress: called with the current report.

    Raises:
        SessionNotFound: an id of a sequence does not exist; nothing was written.
        UsageError: the format or a role is unknown, or the format has no front matter.
    """
    target: Exporter = open_exporter(format_name, front_matter=front_matter)
    if only is not None and (unknown := sorted(set(only) - set(ROLES))):
        raise UsageError(f"unknown role {unknown[0]!r}; choose one of {', '.join(ROLES)}")
    if isinstance(ids, Sequence):
        for session_id in ids:
            store.summary(session_id)
    export = _Export(store, redact=redact, only=only, progress=progress)
    buffer = bytearray()
    for piece in target.write(export.sessions(ids)):
        buffer += piece
        if len(buffer) >= _PIECE_BYTES:
            export.flush(buffer, write)
    export.flush(buffer, write)
    return export.report


class _Export:
    """Source of sessions for an exporter; keeps the report."""

    def __init__(
        self,
        store: SessionStore,
        *,
        redact: bool,
        only: Collection[str] | None,
        progress: Callable[[ExportReport], object] | None,
    ) -> None:
        self._store = store
        self._redactor = Redactor() if redact else None
        self._only = None if only is None else frozenset(only)
        self._progress = progress
        self.report = ExportReport()
        if self._redactor is not None:
            self.report.redactions = self._redactor.counts

    def flush(self, buffer: bytearray, write: Callable[[bytes], object]) -> None:
        """Write the buffer and empty it."""
        if buffer:
            self.report.bytes += len(buffer)
            write(bytes(buffer))
            buffer.clear()
            if self._progress is not None:
                self._progress(self.report)

    def sessions(self, ids: Iterable[str]) -> Iterator[OutgoingSession]:
        """Yield the current state of each session."""
        for session_id in ids:
            try:
                session = self._store.header(session_id)
                count = self._store.count_messages(session_id)
            except SessionNotFound:
                self.report.missing.append(session_id)
                continue
            self.report.sessions += 1
            if self._redactor is not None:
                self.report.omitted_attachments += len(self._store.attachments(session_id))
            summaries = _Summaries(self._summaries(session_id))
            outgoing = OutgoingSession(
                self._header(session, count),
                iter(()),
                self._records(session_id, summaries),
                None if self._redactor else partial(self._store.attachment, session_id),
            )
            outgoing.summaries = {value["up_to"]: value for value in summaries.values}
            outgoing.messages = self._messages(outgoing, session_id, count, summaries)
            yield outgoing

    def _header(self, session: Session, count: int) -> dict[str, Any]:
        record = session.header_record()
        for key in _STORE_ONLY_KEYS:
            record.pop(key, None)
        record = self._redacted(record)
        if self._only is None:
            # Lets an import detect a file truncated at a line boundary.
            record["message_count"] = count
        return record

    def _summaries(self, session_id: str) -> list[dict[str, Any]]:
        if self._only is not None:
            return []  # a summary does not fit a selection of messages
        return [self._redacted(v) for _, v in self._store.iter_records(session_id, "summary")]

    def _messages(
        self, outgoing: OutgoingSession, session_id: str, count: int, summaries: _Summaries
    ) -> Iterator[dict[str, Any]]:
        for message in islice(self._store.iter_messages(session_id), count):
            outgoing.position = message.position or 0
            summaries.count_message(outgoing.position)
            if self._only is not None and message.role not in self._only:
                continue
            self.report.messages += 1
            yield self._redacted(message.record)

    def _records(
        self, session_id: str, summaries: _Summaries
    ) -> Iterator[tuple[str, str, dict[str, Any]]]:
        if self._redactor is None:
            for key, value in self._store.iter_records(session_id, "attachment"):
                yield "attachment", key, value
            if self._only is None:
                for key, value in self._store.iter_records(session_id, REMOVAL):
                    yield REMOVAL, key, value
        for key, value in summaries.by_number():
            yield "summary", key, value

    def _redacted(self, record: dict[str, Any]) -> dict[str, Any]:
        return record if self._redactor is None else self._redactor.record(record)


class _Summaries:
    """Summaries of a session, renumbered by exported message: positions are valid only in their own store.

    Attributes:
        values: stored summary records.
    """

    def __init__(self, values: list[dict[str, Any]]) -> None:
        self.values = values
        self._pending = sorted(values, key=lambda value: value["up_to"])
        self._numbered: dict[int, dict[str, Any]] = {}
        self._number = -1

    def count_message(self, position: int) -> None:
        """Count the next exported message."""
        while self._pending and self._pending[0]["up_to"] < position:
            self._numbered[self._number] = self._pending.pop(0)
        self._number += 1

    def by_number(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield key and record of each summary, after all messages were counted; of two at one message the newer."""
        for value in self._pending:
            self._numbered[self._number] = value
        for number, value in self._numbered.items():
            yield f"{number:012d}", {**value, "up_to": number}
