"""Git merge driver for session logs: both versions are merged as two stores are, by ids, stamps and tombstones.

A merge by lines (``merge=union``) is enough while both sides only append. When one side was compacted, edited or trimmed, lines
that it removed would come back, and the later of two titles could lose.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omniagent_cli.errors import CorruptSession, InvalidRecord, StoreError
from omniagent_cli.stores.backends.jsonl.log import Log, NotALog, derive
from omniagent_cli.stores.backends.jsonl.names import Layout
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
from omniagent_cli.stores.sync.driver import sync

_ENCRYPTED = b'"payload":'


def merge_files(ours: Path, theirs: Path) -> bool:
    """Merge two versions of a session log into the first one.

    Args:
        ours: this side's version (``%A``), which is replaced.
        theirs: the other side's version (``%B``).

    Returns:
        False if they cannot be merged: one is damaged or not a session log, or they are different sessions.
    """
    with tempfile.TemporaryDirectory(prefix="omniagent-merge-") as directory:
        try:
            merged = _merged(Path(directory), ours, theirs)
        except (NotALog, StoreError, InvalidRecord):
            return False
        if merged is None:
            return False
        shutil.copyfile(merged, ours)
        return True


def _merged(directory: Path, ours: Path, theirs: Path) -> Path | None:
    """Return the file of the merged session, in a directory for temporary files."""
    if _is_encrypted(ours) or _is_encrypted(theirs):
        return _union(directory, ours, theirs)
    places = [_place(directory / name, path) for name, path in (("a", ours), ("b", theirs))]
    # Nothing is expired at the beginning of time, and what is removed needs no trash.
    options: dict[str, Any] = {
        "ttl": None,
        "trash_ttl": None,
        "clock": lambda: datetime(1970, 1, 1, tzinfo=UTC),
    }
    with (
        JsonlFilesStore(directory / "a", **options) as one,
        JsonlFilesStore(directory / "b", **options) as two,
    ):
        report = sync(one, two, push=False)
        found = one.list(archived=None, limit=2)
    if not report.ok or len(found) != 1 or None in places:
        return None
    return Layout(directory / "a").visible_path(found[0].id)


def _place(directory: Path, path: Path) -> Path | None:
    """Copy a log into a store of its own, under the name that its session has there."""
    directory.mkdir()
    log = Log.open(path, derive)
    if log is None or log.state.bad:
        raise CorruptSession(f"{path} is not a sound session log")
    target = Layout(directory).visible_path(log.name)
    log.close()
    return Path(shutil.copyfile(path, target))


def _is_encrypted(path: Path) -> bool:
    with path.open("rb") as file:
        return any(_ENCRYPTED in line for line in file)


def _union(directory: Path, ours: Path, theirs: Path) -> Path:
    """Return the lines of both logs, which reading puts in order; encrypted ones cannot be compared."""
    merged = directory / "union.jsonl"
    seen: set[bytes] = set()
    with merged.open("wb") as target:
        for path in (ours, theirs):
            with path.open("rb") as file:
                for line in file:
                    if line not in seen:
                        seen.add(line)
                        target.write(line)
    return merged
