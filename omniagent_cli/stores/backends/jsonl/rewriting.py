"""New files: of new sessions, and of logs without the lines that no longer count."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from omniagent_cli.json_format import dump
from omniagent_cli.stores.backend import HeaderRow, MessageRow
from omniagent_cli.stores.backends.jsonl.batch import changed_facts, identity_line
from omniagent_cli.stores.backends.jsonl.disk import open_private, write_all
from omniagent_cli.stores.backends.jsonl.facts import Path, nest
from omniagent_cli.stores.backends.jsonl.lines import (
    MessageLine,
    kind_of,
    later,
    message_line,
    read_message,
    read_other,
    record_line,
    record_payload,
)
from omniagent_cli.stores.backends.jsonl.log import Log, derive
from omniagent_cli.stores.backends.jsonl.names import SUFFIX, Layout
from omniagent_cli.stores.backends.jsonl.pending_changes import Change, batch_of
from omniagent_cli.stores.backends.jsonl.state import State

logger = logging.getLogger("omniagent.stores")

_BUFFER = 1 << 20


class LogWriter:
    """A new file, in the directory of drafts; it is committed when it is moved to its place."""

    def __init__(self, layout: Layout, uid: str) -> None:
        self.path = layout.drafts / f"{uid}-{secrets.token_hex(4)}{SUFFIX}"
        self._descriptor: int | None = open_private(self.path, os.O_WRONLY | os.O_EXCL)
        self._buffer = bytearray()

    def put(self, data: bytes) -> None:
        """Write lines."""
        self._buffer += data
        if len(self._buffer) > _BUFFER:
            self.flush()

    def flush(self, *, durable: bool = False) -> None:
        """Write the buffer to the file."""
        if self._descriptor is not None:
            write_all(self._descriptor, bytes(self._buffer))
            self._buffer.clear()
            if durable:
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def discard(self) -> None:
        """Remove the draft, unless it was moved to its place."""
        self.close()
        self.path.unlink(missing_ok=True)


def write_compacted(
    draft: LogWriter, log: Log, change: Change, header: HeaderRow, now: str
) -> State | None:
    """Write what still counts of a log, and nothing that a change removes or replaces, to a new file.

    Returns:
        The state of the new file without the places of its messages; None if these are needed for the change.
    """
    state = log.state.copy()
    facts, unset = changed_facts(state, header)
    stamp = later(now, state.newest[2])
    for path in unset:
        state.facts.pop(path, None)
    for path, value in facts.items():
        state.set_fact(path, stamp, value)
    groups: dict[str, dict[Path, Any]] = {"": {}}
    for path, (when, value) in state.facts.items():
        groups.setdefault(when, {})[path] = value
    first = groups.pop("")
    others = [
        (when, dump({"header": nest(group), "at": when}) + b"\n") for when, group in groups.items()
    ]
    for (kind, key), offset in state.records.items():
        if (kind, key) not in change.records:
            record = read_other("record", log.text_at(offset))
            others.append(
                (record["at"], record_line(kind, key, record_payload(record), record["at"]))
            )
    count = sum(1 for _ in _kept(log, change)) if change.cuts else state.header.message_count
    identity = identity_line(header, first, state.header.revision - len(others) - count)
    draft.put(identity)
    draft.put(b"".join(line for _, line in sorted(others)))
    if change.cuts or change.recode or log.state.moved or log.state.gone:
        top = -1
        for row, line in _kept(log, change):
            draft.put(_rewritten(row, line, explicit=row.position != top + 1))
            top = max(top, row.position)
        return None
    if _copy_messages(draft, log) or change.replaced:
        return None
    stamp, name, _ = state.newest
    copied = State.begin(identity)
    copied.facts, copied.top = state.facts, state.top
    copied.newest = (stamp, name, max([when for when, _ in others], default=""))
    copied.header = replace(state.header, updated_at=max(copied.header.created_at, stamp[:27]))
    copied.changed_at = max(copied.header.updated_at, copied.newest[2][:27])
    copied.preview = None
    return copied


def _rewritten(row: MessageRow, line: MessageLine, *, explicit: bool) -> bytes:
    return message_line(
        row, line.stamp, position=explicit, edited=line.edited, preview=line.preview
    )


def _copy_messages(draft: LogWriter, log: Log) -> bool:
    """Copy the messages of a log that has one line for each, and return True if one was changed earlier."""
    edited = False
    if log.state.bad:
        raise log.damaged(log.state.bad[0])
    for _, text in log.tape.forward(log.state.first, log.state.end):
        edited = edited or b'"edited":' in text[:600]
        if text[:6] == b'{"id":' and b'"more":true' not in text[:600]:
            draft.put(text + b"\n")
        elif kind_of(text) == "message":
            line = read_message(text)
            explicit = line.position is not None
            draft.put(_rewritten(line.row(line.position or 0), line, explicit=explicit))
    return edited


def finish_draft(
    draft: LogWriter,
    change: Change,
    header: HeaderRow,
    state: State | None = None,
    *,
    durable: bool,
    revision: int | None = None,
) -> None:
    """Write the lines of a change to a new file, and sync it to disk.

    Args:
        draft: the new file, which has line 1 at least.
        change: the change.
        header: the header after it.
        state: the state of the new file, if it is known.
        durable: sync it.
        revision: the revision of the log it replaces.
    """
    draft.flush()
    log = Log.open(draft.path, derive if state is None else lambda _: state)
    assert log is not None  # noqa: S101  # it was just written
    with contextlib.closing(log):
        batch = batch_of(log, change, header)
        if revision is not None:
            revision += header.revision > revision
        if header.hidden:
            draft.put(batch.drain())  # each line counts by itself, if the file is cut off
        draft.put(batch.render(revision=revision))
    draft.flush(durable=durable)
    draft.close()


def _kept(log: Log, change: Change) -> Iterator[tuple[MessageRow, MessageLine]]:
    for row, line in log.stamped():
        if not any(span.holds(row.position) for span in change.cuts):
            if change.recode is None:
                yield row, line
            else:
                yield change.recode(row), line._replace(preview=b"")


def move_torn_bytes(layout: Layout, log: Log) -> None:
    """Move bytes after the last complete write to a side file, and log a warning."""
    end, size = log.state.end, log.tape.size
    if size <= end:
        return
    side = layout.torn_path(log.uid)
    descriptor = open_private(side, os.O_WRONLY | os.O_APPEND)
    try:
        for start in range(end, size, 1 << 20):
            write_all(descriptor, log.tape.read(start, min(size, start + (1 << 20))))
        write_all(descriptor, b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    logger.warning(
        "a change of the session %r was interrupted; its %d unfinished bytes were moved to %s",
        log.name,
        size - end,
        side,
    )
    if log.old:
        return  # the file is about to be replaced
    descriptor = open_private(log.path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
