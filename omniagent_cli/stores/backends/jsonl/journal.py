"""The journal: changes of several files at once, so that a crash leaves either all of them or none.

A unit of work that changes one file needs only one write or one rename. Any other is first written to ``journal.json``
as steps (by rename: from then on it is committed); then the steps are performed and the journal is removed. If a
journal exists when the store is opened, its steps are performed again under the lock. Each step names the session it expects, so
that performing it twice changes nothing:

append   write these bytes at this offset, unless they are there or the log is longer
move     rename, if the source is still that session
remove   unlink, under the same condition

Appends come first, and moves out of sight before moves into view, because the former free the names of the latter.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from omniagent_cli.errors import NewerVersion, StoreCorrupt
from omniagent_cli.json_format import dump, load
from omniagent_cli.models import SESSION_FORMAT
from omniagent_cli.private_files import replace_file, sync_directory
from omniagent_cli.stores.backends.jsonl.disk import (
    append_at,
    open_private,
    write_all,
)
from omniagent_cli.stores.backends.jsonl.lines import BadLine, read_object
from omniagent_cli.stores.backends.jsonl.names import Layout

JOURNAL_VERSION = 1

_SAFE = re.compile(r"(?:\.omniagent/(?:hidden|tmp)/)?[a-z0-9._+%~-]+\.jsonl")
"""Pattern of file names in steps: a manipulated journal must not reach files outside of the store."""


class Step(NamedTuple):
    """One change of one file; paths are relative to the store.

    Attributes:
        action: ``append``, ``move`` or ``remove``.
        uid: the session expected at `path`.
        to: target of a move.
        at: offset of an append.
    """

    action: str
    path: str
    uid: str
    to: str = ""
    at: int = 0
    data: bytes = b""


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Sort steps, and omit removals of files that a move replaces."""
    own = list(steps)
    taken = {step.to for step in own if step.action == "move"}
    rank = {"append": 0, "move": 1, "remove": 2}
    kept = [step for step in own if step.action != "remove" or step.path not in taken]
    return sorted(kept, key=lambda step: (rank[step.action], "/" not in step.to))


def perform(layout: Layout, steps: Sequence[Step], *, durable: bool) -> None:
    """Perform the steps of one unit of work, all or none."""
    if len(steps) == 1:
        (step,) = steps
        if step.action == "append":
            append_at(layout.root / step.path, step.at, step.data, durable=durable)
        else:
            _redo(layout, step)
            _sync(layout, steps, durable=durable)
    elif steps:
        commit_journal(layout, steps)
        try:
            _append_all(layout, steps)
        except BaseException:
            layout.journal.unlink()  # nothing was changed; on a full disk it could not be repeated either
            raise
        _finish(layout, steps)


def commit_journal(layout: Layout, steps: Sequence[Step]) -> None:
    """Write the journal, which commits the steps."""
    record = {
        "version": JOURNAL_VERSION,
        "steps": [{**step._asdict(), "data": step.data.decode("utf-8")} for step in steps],
    }
    replace_file(layout.journal, dump(record), durable=True)


def recover(layout: Layout) -> bool:
    """Finish an interrupted change, under the lock, and return True if there was one.

    Raises:
        StoreCorrupt: the journal cannot be read.
        NewerVersion: a newer omniagent wrote it.
    """
    try:
        data = layout.journal.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return False
    steps = _read(layout, data)
    for step in steps:
        if step.action == "append":
            _redo(layout, step)
    _finish(layout, steps)
    return True


def _read(layout: Layout, data: bytes) -> list[Step]:
    try:
        record = load(data)
        if record["version"] > JOURNAL_VERSION:
            raise NewerVersion(
                f"{layout.root} has an interrupted change of a newer omniagent; open it once with that version"
            )
        steps = [Step(**{**step, "data": step["data"].encode("utf-8")}) for step in record["steps"]]
        paths = [path for step in steps for path in (step.path, step.to or step.path)]
        sound = all(map(_SAFE.fullmatch, paths))
    except (ValueError, TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise StoreCorrupt(
            f"{layout.journal} cannot be read; move it away to continue without the change it describes"
        )
    return steps


def _append_all(layout: Layout, steps: Sequence[Step]) -> None:
    done: list[Step] = []
    try:
        for step in steps:
            if step.action == "append":
                append_at(layout.root / step.path, step.at, step.data, durable=True)
                done.append(step)
    except BaseException:
        for step in done:
            os.truncate(layout.root / step.path, step.at)
        raise


def _finish(layout: Layout, steps: Sequence[Step]) -> None:
    for step in steps:
        if step.action != "append":
            _redo(layout, step)
    # The journal must be removed durably before later changes, which repeating it would undo.
    _sync(layout, steps, durable=True)
    layout.journal.unlink()
    sync_directory(layout.own)


def _redo(layout: Layout, step: Step) -> None:
    path = layout.root / step.path
    if uid_at(path) != step.uid:
        return
    if step.action == "append":
        _redo_append(path, step)
    elif step.action == "move":
        path.replace(layout.root / step.to)
    else:
        path.unlink(missing_ok=True)


def _redo_append(path: Path, step: Step) -> None:
    descriptor = open_private(path, os.O_WRONLY)
    try:
        if os.fstat(descriptor).st_size < step.at + len(step.data):
            os.ftruncate(descriptor, step.at)
            os.lseek(descriptor, step.at, os.SEEK_SET)
            write_all(descriptor, step.data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def uid_at(path: Path) -> str | None:
    """Return the uid of the log at a path, or None."""
    with contextlib.suppress(FileNotFoundError, BadLine), path.open("rb") as file:
        record = read_object(file.readline(1 << 24))
        uid = record.get("uid") if record.get("format") == SESSION_FORMAT else None
        return uid if isinstance(uid, str) else None
    return None


def _sync(layout: Layout, steps: Sequence[Step], *, durable: bool) -> None:
    if durable:
        paths = {layout.root / p for step in steps for p in (step.path, step.to) if p}
        for directory in sorted({path.parent for path in paths} - {layout.drafts}):
            sync_directory(directory)
