"""Check and repair of a JSON-file store; a repair discards no byte of a log.

A repair writes a new log from every readable line. A message line of which only the position can be read becomes a
message that carries the damaged bytes; any other damaged line goes to the session's side file.
"""

from __future__ import annotations

import contextlib
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from omniagent_cli.errors import CorruptSession
from omniagent_cli.json_format import dump, load
from omniagent_cli.models import new_uid
from omniagent_cli.stores.backend import EVERYTHING, HIDDEN, HeaderRow, MessageRow, Problem
from omniagent_cli.stores.backends.jsonl.disk import open_private, write_all
from omniagent_cli.stores.backends.jsonl.index import is_lost
from omniagent_cli.stores.backends.jsonl.journal import Step, perform
from omniagent_cli.stores.backends.jsonl.lines import (
    BadLine,
    kind_of,
    read_header,
    read_message,
    read_record,
)
from omniagent_cli.stores.backends.jsonl.log import Log, NotALog
from omniagent_cli.stores.backends.jsonl.log_writer import LogWriter
from omniagent_cli.stores.backends.jsonl.names import Layout
from omniagent_cli.stores.backends.jsonl.pending_changes import move_torn_bytes
from omniagent_cli.stores.backends.jsonl.rows import rows

_POSITION = re.compile(rb'\{"position":(\d{1,18}),')


def check_log(layout: Layout, path: Path, *, repair: bool) -> list[Problem]:
    """Return the problems of one file, repaired if requested; call it under the lock."""
    try:
        log = Log.open(path, lenient=True)
    except NotALog:
        return _check_stranger(layout, path)
    if log is None:
        return []
    with contextlib.closing(log):
        found = _check_end(layout, log, repair=repair)
        name = None if log.header.hidden else log.header.id
        lost = is_lost(layout, log)
        if damage := _damage(log) or (f"{path} has no record of why it is hidden" if lost else ""):
            found.append(Problem(damage, name, repaired=repair))
            if repair:
                _write_anew(layout, log)
        if layout.path_of(log.header) != path and not lost:
            what = f"{path} holds the session {log.header.id!r}, whose file has another name"
            found.append(Problem(what, name))
        if (side := layout.torn_path(log.uid)).exists():
            found.append(Problem(f"the rest of an interrupted change was moved to {side}", name))
        return found


def _check_stranger(layout: Layout, path: Path) -> list[Problem]:
    """Distinguish another program's file from a log that lost its first line."""
    what = f"the first line of {path}, which identifies the session, cannot be read"
    if path.parent == layout.hidden:
        return [Problem(what)]  # only omniagent puts files there
    with path.open("rb") as file:
        file.readline(1 << 20)
        second = file.readline(1 << 20)
    with contextlib.suppress(BadLine):
        if kind_of(second):
            return [Problem(what)]
    return []


def _check_end(layout: Layout, log: Log, *, repair: bool) -> list[Problem]:
    if log.bad_end or log.size <= log.end:
        return []
    if repair:
        move_torn_bytes(layout, log)
    what = f"an interrupted change left {log.size - log.end} bytes at the end of {log.path}"
    return [Problem(what, log.header.id, repaired=repair)]


def _damage(log: Log) -> str:
    """Return what is wrong with the lines of a log; empty if nothing is."""
    if log.bad_end:
        return f"the end of {log.path} cannot be read"
    try:
        for _ in rows(log, EVERYTHING):
            pass
        for _ in log.records():
            pass
        log.data()
    except CorruptSession as error:
        return str(error).partition("; `omniagent store check`")[0]
    return ""


@dataclass(slots=True)
class _Salvage:
    """Offsets of the newest readable version of everything in a damaged log."""

    header: HeaderRow
    payload: bytes | None = None
    messages: dict[int, tuple[int, bool]] = field(default_factory=dict)
    records: dict[tuple[str, str], int] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)

    def take(self, offset: int, line: bytes) -> None:
        """Add one line; a damaged version of a message never replaces a readable one."""
        try:
            kind = kind_of(line)
            if kind == "message":
                row = read_message(line)
                if row.payload[:1] == b"{":
                    load(row.payload)
                self.messages[row.position] = (offset, True)
            elif kind == "record":
                own, key, _ = read_record(line)
                self.records[own, key] = offset
            elif kind == "header":
                self.header, _ = read_header(line, self.header.uid)
                self.payload = self.header.payload or self.payload
        except ValueError:  # a `BadLine`, or a payload that is not JSON
            match = _POSITION.match(line)
            if match is None or self.messages.get(int(match[1]), (0, False))[1]:
                self.lost.append(offset)
            else:
                self.messages[int(match[1])] = (offset, False)


def _write_anew(layout: Layout, log: Log) -> None:
    end = log.size if log.bad_end else log.end
    salvage = _Salvage(log.header)
    for offset, line in log.tape.forward(log.first, end):
        salvage.take(offset, line)
    header = replace(salvage.header, payload=salvage.payload or b"{}")
    header.message_count = len(salvage.messages)
    header.next_position = max([header.next_position, *(place + 1 for place in salvage.messages)])
    header.revision += 1
    if is_lost(layout, log):
        _into_trash(header)
    if log.bad_end:
        header.expires_at = None  # the lost header may have changed it
    _save_damaged_lines(layout, log, salvage.lost, end)
    draft = LogWriter(layout, header)
    try:
        draft.add(_messages(log, salvage, end))
        for (kind, key), offset in sorted(salvage.records.items()):
            draft.add_record(kind, key, read_record(_line(log, offset, end))[2])
        draft.finish(header, durable=True)
        relative = layout.relative
        step = Step("move", relative(draft.path), log.uid, to=relative(log.path))
        perform(layout, [step], durable=True)
    finally:
        draft.discard()


def _into_trash(header: HeaderRow) -> None:
    """Turn a hidden log without a reason into a trash entry."""
    named = not header.id.startswith(HIDDEN)
    trash = {"id": header.id if named else f"damaged-{header.uid}", "uid": header.uid}
    header.id, header.hidden = HIDDEN + header.uid, True
    if header.payload is not None and header.payload[:1] == b"{":
        data = load(header.payload)
        trash |= {"kind": "deleted", "at": header.updated_at}
        header.payload = dump({"trash": trash, **data})


def _messages(log: Log, salvage: _Salvage, end: int) -> Iterator[MessageRow]:
    for position, (offset, sound) in sorted(salvage.messages.items()):
        line = _line(log, offset, end)
        yield (
            read_message(line) if sound else _damaged_row(position, line, salvage.header.updated_at)
        )


def _damaged_row(position: int, line: bytes, time: str) -> MessageRow:
    """Return a message that carries the bytes of a damaged line."""
    content = line.replace(b"\0", b"").decode("utf-8", "replace")
    payload = dump({"content": content, "extra": {"damaged": b64encode(line).decode("ascii")}})
    return MessageRow(position, new_uid(), None, "assistant", time, "failed", payload)


def _save_damaged_lines(layout: Layout, log: Log, offsets: list[int], end: int) -> None:
    if offsets:
        descriptor = open_private(layout.torn_path(log.uid), os.O_WRONLY | os.O_APPEND)
        try:
            for offset in offsets:
                write_all(descriptor, _line(log, offset, end) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _line(log: Log, offset: int, end: int) -> bytes:
    return next(log.tape.forward(offset, end))[1]
