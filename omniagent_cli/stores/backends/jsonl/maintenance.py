"""Maintenance of a JSON-file store: leftovers of crashes, backup, compaction, sizes."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from omniagent_cli.errors import CorruptSession, StoreUnreachable
from omniagent_cli.private_files import make_private_directory, sync_directory
from omniagent_cli.stores.backends.jsonl.disk import open_private
from omniagent_cli.stores.backends.jsonl.journal import Step, perform, uid_at
from omniagent_cli.stores.backends.jsonl.log import Log, NotALog, derive
from omniagent_cli.stores.backends.jsonl.names import SUFFIX, Layout
from omniagent_cli.stores.backends.jsonl.partials import growing_answers, remove_outdated
from omniagent_cli.stores.backends.jsonl.pending_changes import Change
from omniagent_cli.stores.backends.jsonl.rewriting import (
    LogWriter,
    finish_draft,
    move_torn_bytes,
    write_compacted,
)
from omniagent_cli.stores.disk_errors import write_error

_Stamp = tuple[int, int, int]


def logs(layout: Layout) -> Iterator[Path]:
    """Yield every file with the name of a session log."""
    for directory in (layout.root, layout.hidden):
        if directory.is_dir():
            for path in sorted(directory.glob(f"*{SUFFIX}")):
                if path.is_file() and not path.is_symlink():
                    yield path


def links(layout: Layout) -> list[Path]:
    """Return the symbolic links with the name of a session log."""
    return [path for path in sorted(layout.root.glob(f"*{SUFFIX}")) if path.is_symlink()]


def remove_leftovers(layout: Layout) -> None:
    """Remove drafts that were never moved to their place, under the lock and without a journal."""
    for path in layout.drafts.iterdir():
        path.unlink(missing_ok=True)
    for path in layout.own.glob("*.part"):
        path.unlink(missing_ok=True)


def remove_orphans(layout: Layout) -> None:
    """Remove the side files of sessions that no longer exist."""
    known = {uid_at(path) for path in logs(layout)}
    for path in layout.torn.glob("*.torn"):
        if path.stem not in known:
            path.unlink(missing_ok=True)
    for path in layout.partial.glob(f"*{SUFFIX}"):
        if path.name.partition(".")[0] not in known:
            path.unlink(missing_ok=True)
    names = {layout.cache_path(path) for path in logs(layout)}
    for path in layout.cache.iterdir():
        if path not in names:
            path.unlink(missing_ok=True)


def remove_torn(layout: Layout) -> None:
    """Remove the side files of all sessions."""
    for path in layout.torn.glob("*"):
        path.unlink(missing_ok=True)


def unreadable(layout: Layout) -> list[Path]:
    """Return the files that have the name of a session log and cannot be read as one."""
    found = []
    for path in logs(layout):
        try:
            log = Log.open(path, derive)
        except NotALog:
            found.append(path)
        else:
            if log is not None:
                log.close()
                if log.state.bad:
                    found.append(path)
    return found


def compact_log(layout: Layout, path: Path, now: str) -> bool:
    """Rewrite one log if it has lines that no longer count, and return True if it did."""
    with contextlib.suppress(NotALog):  # another program's file
        log = Log.open(path, derive)
        if log is None:
            return False
        with contextlib.closing(log):
            if log.state.bad or not (log.state.dead or log.old):
                return False  # nothing of a damaged log may be discarded
            move_torn_bytes(layout, log)
            remove_outdated(layout, growing_answers(layout), log)
            rewrite(layout, log, now)
            return True
    return False


def rewrite(layout: Layout, log: Log, now: str, target: Path | None = None) -> None:
    """Replace a log, or the one at `target`, by one that has only the lines that still count."""
    draft = LogWriter(layout, log.uid)
    header, change = log.header(), Change()
    try:
        state = write_compacted(draft, log, change, header, now)
        revision = log.state.header.revision
        finish_draft(draft, change, header, state, durable=True, revision=revision)
        relative = layout.relative
        step = Step("move", relative(draft.path), log.uid, to=relative(target or log.path))
        perform(layout, [step], durable=True)
    finally:
        draft.discard()


def back_up(
    layout: Layout, target: Path, locking: Callable[[], AbstractContextManager[object]]
) -> None:
    """Copy all logs: once during use, then, under the lock, those that changed since."""
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    copy = Layout(partial)
    done: dict[Path, _Stamp] = {}
    try:
        for directory in copy.directories():
            make_private_directory(directory)
        _copy_changed(layout, copy, done)
        with locking():
            if layout.journal.exists():
                raise StoreUnreachable(f"the store {layout.root} is being changed; try again")
            _copy_changed(layout, copy, done)
            for name in (layout.marker, layout.ignore):
                if name.exists():
                    _copy(name, copy.root / layout.relative(name))
        for directory in copy.directories():
            sync_directory(directory)
        partial.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(str(partial)):
            raise write_error(str(target), error) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_partial_backups(target: Path) -> None:
    """Remove what killed runs left of backups with the same beginning of their name, up to the time."""
    start, _, _ = target.name.rpartition("-")
    for path in target.parent.iterdir():
        if path.name.startswith(start[:-8]) and path.name.endswith(".part"):
            shutil.rmtree(path, ignore_errors=True)


def _copy_changed(layout: Layout, copy: Layout, done: dict[Path, _Stamp]) -> None:
    there: set[Path] = set()
    for path in (*logs(layout), *_torn(layout), *layout.partial.glob(f"*{SUFFIX}")):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
            if done.get(path) != stamp:
                _copy(path, copy.root / layout.relative(path))
                done[path] = stamp
            there.add(path)
    for path in done.keys() - there:
        (copy.root / layout.relative(path)).unlink()
        del done[path]


def _torn(layout: Layout) -> Iterator[Path]:
    return layout.torn.glob("*.torn")


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        descriptor = open_private(target, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())


def sizes(layout: Layout) -> dict[str, int]:
    """Return the number of files, their bytes, and the number of side files with incomplete writes."""
    count = size = 0
    for path in logs(layout):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
            count += 1
    return {"files": count, "bytes": size, "torn": sum(1 for _ in _torn(layout))}


def rewrite_old_logs(layout: Layout) -> None:
    """Rewrite every log of version 1, one at a time; an interrupted run is repeated, and a damaged log left for a repair."""
    for path in logs(layout):
        with contextlib.suppress(NotALog, CorruptSession):
            log = Log.open(path, derive)
            if log is not None:
                with contextlib.closing(log):
                    if log.old:
                        rewrite(layout, log, log.state.changed_at)


MIGRATIONS: tuple[Callable[[Layout], None], ...] = (rewrite_old_logs,)
"""Step n leads from version n of a store to n + 1; each can be repeated."""
