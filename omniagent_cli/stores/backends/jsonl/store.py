"""The readable store: a directory with one log of JSON lines per session.

See `lines` for the format, `journal` for changes of several files at once, `index` for listings.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from omniagent_cli.errors import (
    StoreCorrupt,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnreachable,
    UsageError,
)
from omniagent_cli.fork_safety import register
from omniagent_cli.json_format import format_time
from omniagent_cli.private_files import make_private_directory
from omniagent_cli.stores.backend import Transaction
from omniagent_cli.stores.backends.jsonl import maintenance
from omniagent_cli.stores.backends.jsonl.disk import locked, open_private, write_all
from omniagent_cli.stores.backends.jsonl.index import Index
from omniagent_cli.stores.backends.jsonl.journal import recover
from omniagent_cli.stores.backends.jsonl.line_reader import Shrunk, link_message
from omniagent_cli.stores.backends.jsonl.manifest import STORE_VERSION, Manifest
from omniagent_cli.stores.backends.jsonl.names import Layout
from omniagent_cli.stores.backends.jsonl.unit import JsonlUnit
from omniagent_cli.stores.disk_errors import write_error
from omniagent_cli.stores.location import local_url
from omniagent_cli.stores.store import SessionStore

if TYPE_CHECKING:
    from omniagent_cli.stores.backend import Problem

T = TypeVar("T")

_IGNORED = (
    b"# written by omniagent: caches, locks, the trash\n.omniagent/*\n!.omniagent/store.json\n"
)
"""The file ``.gitignore``; the manifest has what a copy needs to be decrypted."""


class JsonlFilesStore(SessionStore):
    """Sessions in a directory, one JSON-lines file each, on disk when an operation returns.

    Args:
        path: the directory; the first write creates it, private.
        read_only: never write.
    """

    backend = "file"

    def __init__(
        self, path: str | os.PathLike[str], *, read_only: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self._layout = Layout(Path(path).expanduser().absolute())
        self.path = str(self._layout.root)
        self._read_only = read_only
        self._lock = threading.RLock()
        self._index = Index(self._layout, read_only=read_only)
        self._marker = Manifest(self._layout)
        self._purged = threading.local()
        self._tidy = False
        with self._translate_errors(write=False):
            self._inspect()
        register(self)

    @property
    def url(self) -> str:
        """The directory as a URL."""
        return local_url("file", self.path)

    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        with self._translate_errors(write=write):
            return self._change(work, durable=durable) if write else self._look(work)

    def _look(self, work: Callable[[Transaction], T]) -> T:
        self._inspect()
        if self._layout.journal.exists():
            self._settle()
        unit = self._transaction(settle=self._settle, locking=self._shared)
        with contextlib.closing(unit):
            return work(unit)

    def _change(self, work: Callable[[Transaction], T], *, durable: bool) -> T:
        with self._lock, self._exclusive():
            unit = self._transaction(settle=None, locking=contextlib.nullcontext)
            with contextlib.closing(unit):
                result = work(unit)
                unit.commit(durable=durable)
            self._purged.uids = unit.purged
            return result

    def _transaction(
        self,
        settle: Callable[[], None] | None,
        locking: Callable[[], AbstractContextManager[object]],
    ) -> JsonlUnit:
        return JsonlUnit(
            self._layout, self._index, self._marker, self._clock, settle=settle, locking=locking
        )

    def _inspect(self) -> None:
        root = self._layout.root
        if root.exists() and not root.is_dir():
            raise StoreUnreachable(
                f"{root} is a file, and a JSON-file store is a directory; for a SQLite store write sqlite://{root}"
            )
        self._marker.check()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the exclusive lock, after creating the store and recovering from a crash."""
        if self._read_only:
            raise StoreReadOnly(f"the store {self.path} cannot be written; it was opened read-only")
        self._inspect()
        if not self._layout.cache.is_dir():  # the one that is made last
            for directory in self._layout.directories():
                make_private_directory(directory)
        with locked(self._layout.lock):
            if recover(self._layout) or not self._tidy:
                maintenance.remove_leftovers(self._layout)
                self._write_ignore()
                self._tidy = True
            if not self._marker.check():
                self._marker.put({})
            if self._marker.version < STORE_VERSION:
                self._migrate()
            yield

    def _migrate(self) -> None:
        """Rewrite a store of an earlier version, under the lock, after a backup; an interrupted run is repeated."""
        before = f"{self.path}.before-version-{STORE_VERSION}-"
        noted = self._marker.meta().get("backups", b"")
        if not any(os.fsdecode(path).startswith(before) for path in noted.splitlines()):
            target = Path(f"{before}{self._clock():%Y%m%d-%H%M%S}")
            maintenance.remove_partial_backups(target)
            if not target.exists():  # an interrupted run may have completed it
                maintenance.back_up(self._layout, target, contextlib.nullcontext)
            self._marker.put({"backups": noted + os.fsencode(target) + b"\n"})
        for step in maintenance.MIGRATIONS[self._marker.version - 1 :]:
            step(self._layout)
        self._marker.upgrade()
        self._index.drop()

    def _write_ignore(self) -> None:
        with contextlib.suppress(FileExistsError):
            descriptor = open_private(self._layout.ignore, os.O_WRONLY | os.O_EXCL)
            try:
                write_all(descriptor, _IGNORED)
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def _shared(self) -> Iterator[None]:
        """Hold the shared lock, if the lock file can be opened."""
        with contextlib.ExitStack() as stack:
            if not self._read_only:
                with contextlib.suppress(OSError):
                    stack.enter_context(locked(self._layout.lock, shared=True))
            yield

    def _settle(self) -> None:
        """Wait for a running change of several files, or finish one that a crash interrupted."""
        try:
            with self._lock, self._exclusive():
                pass
        except (StoreReadOnly, OSError) as error:
            self._wait_for_journal()
            if self._layout.journal.exists():
                raise StoreReadOnly(
                    f"the store {self.path} has an interrupted change, which can only be completed where"
                    " it can be written"
                ) from error

    def _wait_for_journal(self) -> None:
        deadline = time.monotonic() + 1
        while self._layout.journal.exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    @contextlib.contextmanager
    def _translate_errors(self, *, write: bool) -> Iterator[None]:
        """Translate errors of the disk."""
        try:
            yield
        except Shrunk as error:
            raise StoreUnreachable(
                f"a file of the store {self.path} was truncated while it was read; try again"
            ) from error
        except OSError as error:
            if write:
                raise write_error(self.path, error) from error
            raise StoreUnreachable(
                f"the store {self.path} cannot be read: {error.strerror}"
            ) from error

    def after_fork_in_child(self) -> None:
        """Replace the locks and state that another thread of the parent may have held."""
        self._lock = threading.RLock()
        self._index = Index(self._layout, read_only=self._read_only)

    def _close(self) -> None:
        self._index.drop()

    def _scrub(self) -> None:
        """Remove purged messages from all logs, and incomplete writes of purged sessions."""
        with self._translate_errors(write=True), self._lock, self._exclusive():
            self._index.headers(contextlib.nullcontext)
            for path in self._index.dead():
                if maintenance.compact_log(self._layout, path, format_time(self._clock())):
                    self._index.states.forget(path)
            purged: set[str] = getattr(self._purged, "uids", set())
            self._index.forget(purged)
            for uid in purged:
                self._layout.torn_path(uid).unlink(missing_ok=True)
            maintenance.remove_leftovers(self._layout)

    def wipe(self) -> None:
        """Rewrite every log that contains older content, and remove side files, incomplete writes and the index."""
        self.compact()
        with self._translate_errors(write=True), self._lock, self._exclusive():
            maintenance.remove_torn(self._layout)
            for cached in (self._layout.index, *self._layout.cache.iterdir()):
                cached.unlink(missing_ok=True)
            self._index.drop()
            unread = maintenance.unreadable(self._layout)
        if unread:
            raise StoreCorrupt(
                f"{unread[0]} cannot be read as a session and may hold plain text; `omniagent store check --repair`"
                " may repair it, or move it away, and try again"
            )

    def outdated_backups(self) -> list[str]:
        return [path for path in self.known_backups() if not self._has_same_key(path)]

    def _has_same_key(self, path: str) -> bool:
        """Return True if a copy is encrypted with the same key."""
        try:
            with JsonlFilesStore(path, read_only=True) as copy:
                theirs = copy.encryption()
        except StoreUnavailable:
            return False
        return theirs is not None and theirs == self.encryption()

    def backup(self, target: str | os.PathLike[str]) -> None:
        """Copy the whole store to a new directory, consistently, during use.

        Raises:
            UsageError: the target exists, or is inside the store.
        """
        self._check_open()
        path = Path(target).expanduser().absolute()
        if os.path.lexists(path) or path.is_relative_to(self._layout.root):
            raise UsageError(f"{path} exists or is inside the store; choose a new directory")
        with self._translate_errors(write=False):
            self._inspect()
            maintenance.back_up(self._layout, path, self._shared)
        self._note_backup(str(path))

    def compact(self) -> None:
        """Rewrite every log that contains older content, one at a time."""
        self._check_open()
        for path in maintenance.logs(self._layout):
            with self._translate_errors(write=True), self._lock, self._exclusive():
                if maintenance.compact_log(self._layout, path, format_time(self._clock())):
                    self._index.states.forget(path)
        with self._translate_errors(write=True), self._lock, self._exclusive():
            maintenance.remove_leftovers(self._layout)
            maintenance.remove_orphans(self._layout)

    def merge_conflict_copies(self) -> list[str]:
        from omniagent_cli.stores.backends.jsonl.check import check_log, is_conflict_copy

        merged = []
        for path in maintenance.logs(self._layout):
            if is_conflict_copy(path):
                with self._translate_errors(write=True), self._exclusive():
                    check_log(self._layout, path, format_time(self._clock()), repair=True)
                merged.append(path.name)
        return merged

    def check_backend(self, *, repair: bool) -> list[Problem]:
        from omniagent_cli.stores.backend import Problem
        from omniagent_cli.stores.backends.jsonl.check import check_log

        found = []
        for path in maintenance.logs(self._layout):
            with (
                self._translate_errors(write=repair),
                self._exclusive() if repair else self._shared(),
            ):
                found += check_log(self._layout, path, format_time(self._clock()), repair=repair)
        for path in maintenance.links(self._layout):
            found.append(Problem(link_message(path)))
        return found

    def copy_before_repair(self) -> str:
        target = f"{self.path}.before-repair-{self._clock():%Y%m%d-%H%M%S}"
        self.backup(target)
        return target

    def info(self) -> dict[str, Any]:
        """Return facts about the store; sizes in bytes."""
        facts = super().info()
        facts["schema_version"] = STORE_VERSION
        with self._translate_errors(write=False):
            headers = self._index.headers(self._shared)
            facts["messages"] = sum(header.message_count for header in headers)
            facts |= maintenance.sizes(self._layout)
        return facts
