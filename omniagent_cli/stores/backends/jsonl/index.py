"""The index of a JSON-file store: the headers of all sessions in one small file, so that a listing need not open each log.

It is a cache: an entry is valid as long as size, time and inode of its file are unchanged; otherwise the state of that
log is derived again, from its own cache in the directory ``cache`` as far as it goes. Appends do not change the index.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from omniagent_cli.errors import CorruptSession
from omniagent_cli.private_files import replace_file
from omniagent_cli.stores.backend import HIDDEN, HeaderRow
from omniagent_cli.stores.backends.jsonl.line_reader import link_message
from omniagent_cli.stores.backends.jsonl.log import Log, NotALog
from omniagent_cli.stores.backends.jsonl.names import SUFFIX, Layout
from omniagent_cli.stores.backends.jsonl.states import Stamp, States

logger = logging.getLogger("omniagent.stores")

INDEX_VERSION = 3
_SMALL_PAYLOAD = 4096
"""Size up to which the payload of title, metadata and state is kept in the index; longer ones are read from the log."""

_UNREADABLE = b"?"
"""Placeholder for a lost payload, so that opening the session reports the damage."""

_facts = attrgetter(*(field.name for field in fields(HeaderRow)))


class Entry(NamedTuple):
    """The index entry of one file; a header of None means that it is not an omniagent session.

    Attributes:
        dead: the log has lines that a compaction removes.
    """

    stamp: Stamp
    header: HeaderRow | None
    dead: bool = False


class Index:
    """The headers of all sessions, in memory and in ``index.json``.

    Attributes:
        reads: number of files read so far, so that tests can measure a listing.
    """

    def __init__(self, layout: Layout, *, read_only: bool) -> None:
        self._layout = layout
        self._read_only = read_only
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] | None = None
        self.states = States(layout, read_only=read_only)
        self._names: dict[str, str] = {}
        self.reads = 0

    def headers(self, locking: Callable[[], AbstractContextManager[object]]) -> list[HeaderRow]:
        """Return the current headers of all sessions; they belong to the index.

        Args:
            locking: holds the store's lock. A rename during the scan could hide a session, so if a known session is missing
                or misnamed, the scan is repeated under the lock.
        """
        with self._lock:
            known = self._loaded()
            fresh, changed, odd = self._look(known)
            settled = not odd and known.keys() <= fresh.keys()
            if settled:
                return self._take(fresh, changed)
            sound = {name: entry for name, entry in fresh.items() if name not in odd}
        # The store's lock is taken first, in the same order as by a writer that changes the index.
        with locking(), self._lock:
            fresh, _, odd = self._look(sound)
            for name in odd:
                fresh[name] = self._left_alone(name, fresh[name])
            self._note(fresh)
            return self._take(fresh, len(fresh))

    def path(self, uid: str) -> Path | None:
        """Return the last known path of a session, which the caller must verify."""
        name = self._names.get(uid)
        return None if name is None else self._layout.root / name

    def moved(self, uid: str, path: Path) -> None:
        """Record the new path of a session."""
        self._names[uid] = self._layout.relative(path)

    def dead(self) -> set[Path]:
        """Return the logs known to have lines that a compaction removes."""
        with self._lock:
            known = self._entries or {}
            return {self._layout.root / name for name, entry in known.items() if entry.dead}

    def _note(self, entries: dict[str, Entry]) -> None:
        for name, entry in entries.items():
            if entry.header is not None:
                self._names[entry.header.uid] = name

    def _take(self, fresh: dict[str, Entry], changed: int) -> list[HeaderRow]:
        self._entries = fresh
        if changed * 50 > len(fresh):
            self._save()
        return [entry.header for entry in fresh.values() if entry.header is not None]

    def forget(self, uids: Iterable[str]) -> None:
        """Remove sessions from the index file too, so that removed content is not readable there."""
        with self._lock:
            gone = set(uids)
            known = self._loaded()
            kept = {
                name: entry
                for name, entry in known.items()
                if entry.header is None or entry.header.uid not in gone
            }
            if len(kept) != len(known):
                self._entries = kept
                self._save()

    def drop(self) -> None:
        """Clear the memory, as after a fork or a replaced directory."""
        with self._lock:
            self._entries = None
            self._names.clear()
            self.states.clear()

    def _look(self, known: dict[str, Entry]) -> tuple[dict[str, Entry], int, list[str]]:
        """Return all entries, the number of files read, and the names that do not match their session."""
        fresh: dict[str, Entry] = {}
        odd: list[str] = []
        changed = 0
        for name, stamp in self._files():
            entry = known.get(name)
            if entry is not None and entry.stamp == stamp:
                fresh[name] = entry
                continue
            changed += 1
            entry = self._read(name, stamp)
            if entry is None:
                continue
            fresh[name] = entry
            if entry.header is not None:
                self._names[entry.header.uid] = name
                if self._layout.name_of(entry.header) != name:
                    odd.append(name)
        return fresh, changed, odd

    def _files(self) -> Iterable[tuple[str, Stamp]]:
        layout = self._layout
        for directory, prefix in ((layout.root, ""), (layout.hidden, ".omniagent/hidden/")):
            with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
                for entry in entries:
                    if entry.name.endswith(SUFFIX):
                        with contextlib.suppress(FileNotFoundError):
                            status = entry.stat(follow_symlinks=False)
                            if stat.S_ISLNK(status.st_mode):
                                logger.warning("%s", link_message(entry.path))
                            if stat.S_ISREG(status.st_mode):
                                found = (status.st_size, status.st_mtime_ns, status.st_ino)
                                yield prefix + entry.name, found

    def _read(self, name: str, stamp: Stamp) -> Entry | None:
        """Read one file's entry; a damaged session is listed with what is known, and opening it reports the damage."""
        self.reads += 1
        path = self._layout.root / name
        try:
            log = Log.open(path, self.states.of)
            if log is None:
                return None
            with contextlib.closing(log):
                header = log.header(lenient=True)
                if len(header.payload or b"") > _SMALL_PAYLOAD:
                    header.payload = None
                if is_lost(self._layout, log):
                    # Without the line that hid it, it is neither in the trash nor visible, so it is reported as damaged.
                    header.hidden, header.id = True, HIDDEN + log.uid
                    header.payload = _UNREADABLE
                return Entry(log.stamp, header, log.state.dead > 0 or log.old)
        except NotALog:
            return Entry(stamp, None)
        except CorruptSession as error:
            logger.warning("%s", error)
            return Entry(stamp, None)

    def _left_alone(self, name: str, entry: Entry) -> Entry:
        logger.warning(
            "%s contains the session %r, whose file has another name; it is not listed",
            self._layout.root / name,
            entry.header.id if entry.header else "",
        )
        return Entry(entry.stamp, None)

    def _loaded(self) -> dict[str, Entry]:
        if self._entries is None:
            self._entries = self._load()
            self._note(self._entries)
        return self._entries

    def _load(self) -> dict[str, Entry]:
        try:
            record = json.loads(self._layout.index.read_bytes())
            if record["version"] != INDEX_VERSION:
                return {}
            return {
                name: Entry((size, time, inode), _header(values), dead)
                for name, size, time, inode, values, dead in record["files"]
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}

    def _save(self) -> None:
        if self._read_only or not self._layout.own.is_dir():
            return
        files = [
            [name, *entry.stamp, _values(entry.header), entry.dead]
            for name, entry in (self._entries or {}).items()
        ]
        data = json.dumps({"version": INDEX_VERSION, "files": files}, separators=(",", ":"))
        with contextlib.suppress(OSError):  # it is only a cache
            replace_file(self._layout.index, data.encode("ascii"), durable=False)


def is_lost(layout: Layout, log: Log) -> bool:
    """Return True if a log in the hidden directory has lost the line with the reason why it is hidden."""
    return log.path.parent == layout.hidden and (
        log.state.lost_facts or not log.state.header.hidden
    )


def _values(header: HeaderRow | None) -> list[Any] | None:
    if header is None:
        return None
    return [_text(value) if isinstance(value, bytes) else value for value in _facts(header)]


def _header(values: list[Any] | None) -> HeaderRow | None:
    if values is None:
        return None
    header = HeaderRow(*values)
    header.preview = _bytes(values[-2])
    header.payload = None if values[-1] is None else _bytes(values[-1])
    return header


def _text(data: bytes) -> str:
    """Encode any bytes as JSON text; the inverse of `_bytes`."""
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
