"""Check and repair of a JSON-file store; a repair discards no byte of a log.

A damaged line becomes a message that carries its bytes if it may have been one, else it goes to the session's side file.
Lines that a sync tool or git left beside or between those of a log, because two copies had grown, are merged into it.
"""

from __future__ import annotations

import contextlib
import os
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from omniagent_cli.json_format import dump
from omniagent_cli.stores.backend import HIDDEN, MessageRow, Problem
from omniagent_cli.stores.backends.jsonl.disk import open_private
from omniagent_cli.stores.backends.jsonl.index import is_lost
from omniagent_cli.stores.backends.jsonl.journal import Step, perform
from omniagent_cli.stores.backends.jsonl.lines import (
    BadLine,
    is_conflict_marker,
    kind_of,
    later,
    message_line,
)
from omniagent_cli.stores.backends.jsonl.log import Log, NotALog, derive
from omniagent_cli.stores.backends.jsonl.maintenance import rewrite
from omniagent_cli.stores.backends.jsonl.names import Layout
from omniagent_cli.stores.backends.jsonl.rewriting import LogWriter, move_torn_bytes
from omniagent_cli.stores.backends.jsonl.state import parsed

_CONFLICT_COPIES = (".sync-conflict-", "conflicted copy", "conflict copy")
"""Parts of the names that Syncthing, Dropbox and Nextcloud give to the copy that lost."""


def is_conflict_copy(path: Path) -> bool:
    """Return True if a sync tool made a file because both sides had changed it."""
    return any(part in path.name for part in _CONFLICT_COPIES)


def check_log(layout: Layout, path: Path, now: str, *, repair: bool) -> list[Problem]:
    """Return the problems of one file, repaired if requested; call it under the lock."""
    try:
        log = Log.open(path, derive)
    except NotALog:
        return _check_stranger(layout, path)
    if log is None:
        return []
    with contextlib.closing(log):
        name = None if log.state.header.hidden else log.name
        if is_conflict_copy(path):
            what = f"{path} is a conflict copy of the session {log.name!r} that a sync tool left"
            if repair:
                _take_in(layout, log, now)
            return [Problem(what, name, repaired=repair)]
        found = _check_end(layout, log, repair=repair)
        found += _check_lines(layout, log, name, now, repair=repair)
        if layout.path_of(log.state.header) != path and not is_lost(layout, log):
            what = f"{path} contains the session {log.name!r}, whose file has another name"
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
        if kind_of(second) and parsed(0, second).kind != "bad":
            return [Problem(what)]
    return []


def _check_end(layout: Layout, log: Log, *, repair: bool) -> list[Problem]:
    left = log.tape.size - log.state.end
    if left <= 0:
        return []
    if repair:
        move_torn_bytes(layout, log)
    what = f"an interrupted change left {left} bytes at the end of {log.path}"
    return [Problem(what, log.name, repaired=repair)]


def _check_lines(
    layout: Layout, log: Log, name: str | None, now: str, *, repair: bool
) -> list[Problem]:
    found = []
    with log.path.open("rb") as file:
        marked = any(map(is_conflict_marker, file))
    if marked:
        found.append(f"{log.path} has conflict markers, which a merge left")
    if log.state.bad:
        found.append(str(log.damaged(log.state.bad[0])).partition("; run:")[0])
    if is_lost(layout, log):
        found.append(f"{log.path} has no record of why it is hidden")
    if repair and (log.state.bad or is_lost(layout, log)):
        _salvage(layout, log)
    if repair and marked:
        with contextlib.closing(_reopened(log)) as sound:
            rewrite(layout, sound, now)
    return [Problem(what, name, repaired=repair) for what in found]


def _reopened(log: Log) -> Log:
    found = Log.open(log.path, derive)
    assert found is not None  # noqa: S101  # the store is locked
    return found


def _salvage(layout: Layout, log: Log) -> None:
    """Replace a log by one with a message for each damaged line that may have been one."""
    state = log.state
    draft = LogWriter(layout, log.uid)
    try:
        draft.put(log.text_at(0) + b"\n")
        side = b""
        for line, lost in _salvaged(log):
            draft.put(line)
            side += lost
        facts = dict[str, object]()
        if state.lost_facts:
            facts["expires_at"] = None  # the lost line may have changed it
        if is_lost(layout, log):
            facts |= {"id": HIDDEN + log.uid, "hidden": True}
            if ("payload",) not in state.facts:
                named = log.name if not log.name.startswith(HIDDEN) else f"damaged-{log.uid}"
                entry = {
                    "id": named,
                    "uid": log.uid,
                    "kind": "deleted",
                    "at": state.header.updated_at,
                }
                facts["trash"] = entry
        if facts:
            stamp = later(state.changed_at, state.newest[2])
            draft.put(dump({"header": facts, "at": stamp}) + b"\n")
        draft.flush(durable=True)
        if side:
            with os.fdopen(
                open_private(layout.torn_path(log.uid), os.O_WRONLY | os.O_APPEND), "wb"
            ) as file:
                file.write(side)
                file.flush()
                os.fsync(file.fileno())
        relative = layout.relative
        perform(
            layout,
            [Step("move", relative(draft.path), log.uid, to=relative(log.path))],
            durable=True,
        )
    finally:
        draft.discard()


def _salvaged(log: Log) -> Iterator[tuple[bytes, bytes]]:
    """Yield the lines of the new log, and those that go to the side file."""
    key = ("", "")
    for offset, text in log.tape.forward(log.state.first, log.state.end):
        line = parsed(offset, text)
        if line.kind != "bad":
            if line.message is not None:
                key = max(key, (line.message.edited or line.stamp, line.message.id))
            yield text + b"\n", b""
        elif not line.record["message"]:
            yield b"", text + b"\n"
        else:
            # Between the lines before and after it, whatever the time of those is.
            key = (key[0] or log.state.header.created_at, f"{key[1] or 0}+")
            stamp = key[0]
            content = text.replace(b"\0", b"").decode("utf-8", "replace")
            payload = dump(
                {"content": content, "extra": {"damaged": b64encode(text).decode("ascii")}}
            )
            row = MessageRow(0, key[1], None, "assistant", stamp[:27], "failed", payload)
            yield message_line(row, stamp), b""


def _take_in(layout: Layout, copy: Log, now: str) -> None:
    """Merge the lines of a conflict copy into the log of its session, then remove the copy."""
    target = layout.path_of(copy.state.header)
    draft = LogWriter(layout, copy.uid)
    try:
        for path in (target, copy.path):
            log = Log.open(path, derive)
            if log is not None:
                with contextlib.closing(log):
                    for start in range(0, log.state.end, 1 << 20):
                        draft.put(log.tape.read(start, min(log.state.end, start + (1 << 20))))
                    draft.put(b"\n")
        draft.flush(durable=True)
        union = Log.open(draft.path, derive)
        assert union is not None  # noqa: S101  # it was just written
        with contextlib.closing(union):
            rewrite(layout, union, now, target)
    finally:
        draft.discard()
    copy.path.unlink()
