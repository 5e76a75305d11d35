"""The pending changes of one session in a unit of work, and how they are written to its file."""

from __future__ import annotations

import heapq
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from omniagent_cli.stores.backend import EVERYTHING, HeaderRow, MessageRow, RowRange
from omniagent_cli.stores.backends.jsonl.disk import open_private, write_all
from omniagent_cli.stores.backends.jsonl.journal import Step
from omniagent_cli.stores.backends.jsonl.lines import header_line, message_line, record_line
from omniagent_cli.stores.backends.jsonl.log import Log
from omniagent_cli.stores.backends.jsonl.log_writer import LogWriter
from omniagent_cli.stores.backends.jsonl.names import Layout
from omniagent_cli.stores.backends.jsonl.rows import nearest, rows

logger = logging.getLogger("omniagent.stores")

REPLACED_BYTES = 1 << 18
"""Size of replaced messages beyond which, if they are more than half of the log, it is rewritten."""


@dataclass(slots=True)
class Change:
    """The collected writes to one session.

    Attributes:
        rows: messages to add.
        replaced: messages that replace those at the same positions.
        cuts: ranges to remove.
        recode: function applied to every message of the log.
        arrivals: logs of other sessions and the ranges moved from them.
        records: attachments and summaries by kind and key; None removes one.
    """

    header: HeaderRow | None = None
    rows: list[MessageRow] = field(default_factory=list)
    replaced: list[MessageRow] = field(default_factory=list)
    cuts: list[RowRange] = field(default_factory=list)
    arrivals: list[tuple[Log, RowRange]] = field(default_factory=list)
    records: dict[tuple[str, str], bytes | None] = field(default_factory=dict)
    removed: bool = False
    recode: Callable[[MessageRow], MessageRow] | None = None
    draft: LogWriter | None = None

    def put(self, header: HeaderRow) -> None:
        """Set the header; a payload of None keeps the previous one, or the stored one."""
        payload = header.payload
        if payload is None and self.header is not None:
            payload = self.header.payload
        self.header = replace(header, payload=payload)

    def needs_rewrite(self, log: Log) -> bool:
        """Return True if appended lines cannot express the change."""
        if self.cuts or self.arrivals or self.recode is not None or None in self.records.values():
            return True
        if any(row.position < log.header.next_position for row in self.rows):
            return True
        garbage = log.facts.get("replaced", 0)
        if self.replaced and garbage > max(REPLACED_BYTES, log.end // 2):
            return True
        return any(nearest(log, row.position) is None for row in self.replaced)


def append_step(layout: Layout, log: Log, change: Change) -> Step:
    """Return the step that appends lines to a log."""
    header = change.header or replace(log.header)
    facts: dict[str, Any] = {}
    start = log.end
    data = bytearray(b"\n" if log.unended else b"")
    for row in sorted(change.rows):
        data += message_line(row)
    garbage = log.facts.get("replaced", 0)
    for row in change.replaced:
        line = message_line(row, replaces=True)
        garbage += len(line)
        data += line
    if change.records:
        facts["records"] = offsets = {kind: {**keys} for kind, keys in log.record_offsets().items()}
        for (kind, key), payload in change.records.items():
            if payload is None:
                continue  # a removal rewrites the log
            offsets.setdefault(kind, {})[key] = start + len(data)
            data += record_line(kind, key, payload)
        header.payload = log.data() if header.payload is None else header.payload
    elif header.payload is not None and header.payload == log.data():
        header.payload = None
    if header.payload is None:
        facts["data_at"] = log.data_at
    elif not change.records and log.record_offsets():
        facts["records"] = log.record_offsets()
    if garbage:
        facts["replaced"] = garbage
    data += header_line(header, facts)
    return Step("append", layout.relative(log.path), log.uid, at=start, data=bytes(data))


def fill(
    draft: LogWriter, log: Log | None, change: Change, header: HeaderRow, *, durable: bool
) -> None:
    """Write a new log from the remaining lines of the old one and the added ones."""
    draft.add(_merged(log, change))
    records: dict[tuple[str, str], bytes | None] = {}
    if log is not None:
        records = {(kind, key): data for kind, key, data in log.records()}
    for (kind, key), payload in sorted((records | change.records).items()):
        if payload is not None:
            draft.add_record(kind, key, payload)
    if header.payload is None and log is not None:
        header = replace(header, payload=log.data())
    draft.finish(header, durable=durable)


def _merged(log: Log | None, change: Change) -> Iterator[MessageRow]:
    sources: list[Iterable[MessageRow]] = [sorted(change.rows)]
    sources += [rows(source, span) for source, span in change.arrivals]
    if log is not None:
        sources.append(_kept(log, change))
    return heapq.merge(*sources, key=lambda row: row.position)


def _kept(log: Log, change: Change) -> Iterator[MessageRow]:
    later = {row.position: row for row in change.replaced}
    for row in rows(log, EVERYTHING):
        if not any(span.holds(row.position) for span in change.cuts):
            kept = later.get(row.position, row)
            yield kept if change.recode is None else change.recode(kept)


def move_torn_bytes(layout: Layout, log: Log) -> None:
    """Move bytes after the last complete change to a side file, and log a warning."""
    if log.size <= log.end:
        return
    side = layout.torn_path(log.uid)
    descriptor = open_private(side, os.O_WRONLY | os.O_APPEND)
    try:
        for start in range(log.end, log.size, 1 << 20):
            write_all(descriptor, log.tape.read(start, min(log.size, start + (1 << 20))))
        write_all(descriptor, b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    descriptor = open_private(log.path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, log.end)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    logger.warning(
        "a change of the session %r was interrupted; its %d unfinished bytes were moved to %s",
        log.header.id,
        log.size - log.end,
        side,
    )
