"""The growing answers of running turns: one file each beside the logs, until the answer becomes a line of its log."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from omniagent_cli.private_files import replace_file
from omniagent_cli.stores.backends.jsonl.lines import (
    BadLine,
    MessageLine,
    check_uid,
    message_line,
    read_message,
)
from omniagent_cli.stores.backends.jsonl.log import Log
from omniagent_cli.stores.backends.jsonl.names import SUFFIX, Layout
from omniagent_cli.stores.backends.jsonl.pending_changes import Change
from omniagent_cli.stores.backends.jsonl.ranges import holds

_ABANDONED_SECONDS = 60
"""Age of a growing answer, which is written each second, after which the next write to its session makes it a line."""


GrowingAnswers = dict[str, dict[int, MessageLine]]
"""The growing answers of running turns, by uid and position."""


def growing_answers(layout: Layout) -> GrowingAnswers:
    """Return the growing answers of running turns."""
    found: GrowingAnswers = {}
    try:
        names = os.listdir(layout.partial)  # noqa: PTH208  # called for every read; a path for each file costs more
    except (FileNotFoundError, NotADirectoryError):
        return found
    for name in names:
        owner, _, position = name.removesuffix(SUFFIX).partition(".")
        if name.endswith(SUFFIX) and position.isdecimal():
            with contextlib.suppress(FileNotFoundError, BadLine):
                line = read_message((layout.partial / name).read_bytes())
                found.setdefault(check_uid(owner), {})[int(position)] = line
    return found


def write_growing(layout: Layout, uid: str, change: Change) -> None:
    """Write the growing answers of a change."""
    for row in change.growing:
        header = change.header
        stamp = row.created_at if header is None else header.updated_at
        preview = b"" if header is None else header.preview
        line = message_line(row, stamp, position=True, preview=preview)
        replace_file(layout.partial_path(uid, row.position), line, durable=False)


def ended_answers(
    layout: Layout, growing: GrowingAnswers, changes: Mapping[str, Change]
) -> list[Path]:
    """Return the files of answers that are lines of their logs, or removed, after these changes."""
    ended = []
    for uid, change in changes.items():
        for position in growing.get(uid, {}):
            written = any(row.position == position for row in change.rows)
            if change.removed or written:
                ended.append(layout.partial_path(uid, position))
    return ended


def remove_outdated(layout: Layout, growing: GrowingAnswers, log: Log) -> None:
    """Remove the growing answers that a log has already, before their positions become unused."""
    for position in growing.get(log.uid, {}):
        if position <= log.state.top and not holds(log.state.free, position):
            layout.partial_path(log.uid, position).unlink(missing_ok=True)


def abandoned(layout: Layout, log: Log | None) -> set[int]:
    """Return the positions of growing answers whose turns ended without completing them, as after a crash."""
    found = set[int]()
    if log is not None:
        for position in log.partials:
            with contextlib.suppress(FileNotFoundError):
                age = time.time() - layout.partial_path(log.uid, position).stat().st_mtime
                if age > _ABANDONED_SECONDS:
                    found.add(position)
    return found
