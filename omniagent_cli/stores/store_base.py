"""The base of all store operations: lifecycle, units of work, events, and the hooks that a backend implements."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Self, TypeVar

from omniagent_cli.durations import Clock, ttl_seconds, utc_now
from omniagent_cli.errors import (
    DecryptionError,
    EncryptedStore,
    StoreClosed,
    StoreReadOnly,
    UsageError,
)
from omniagent_cli.fork_safety import ForkAware
from omniagent_cli.models import Message, content_text, new_uid
from omniagent_cli.stores.backend import HeaderRow, ListQuery, Problem, Transaction, walk
from omniagent_cli.stores.encryption.access import EncryptionAccess
from omniagent_cli.stores.encryption.cipher import Key
from omniagent_cli.stores.encryption.codec import PayloadCodec
from omniagent_cli.stores.events import EventBus, Handler
from omniagent_cli.stores.registry import BACKENDS, Capabilities
from omniagent_cli.stores.rows import RowCodec
from omniagent_cli.stores.unit_of_work import Retention, UnitOfWork

DEFAULT_SESSION_TTL = timedelta(days=7)
"""Default time to live of a session after its last activity."""

DEFAULT_TRASH_TTL = timedelta(days=30)
"""Default time during which removed messages can be restored."""

T = TypeVar("T")


class StoreBase(ForkAware, ABC):
    """A store without operations.

    Args:
        ttl: time to live of new sessions: a timedelta, seconds, text like ``7d``, or None for never.
        trash_ttl: how long removed messages can be restored; None disables the trash.
        clock: returns the current time; for tests.

    Attributes:
        ask_key: called outside of any unit of work when the store is encrypted and no key was given; returns the key,
            or None to continue without one.
        on_encrypted: called once when the first write made a new store an encrypted one.
        host: name of this machine, which user messages record in their ``origin``; "" records none.
        row_codec: converts rows that were read before, without a unit of work.
    """

    backend: ClassVar[str]
    """Name of the technology, such as ``sqlite``."""

    ask_key: Callable[[], Key | None] | None = None
    host = ""
    on_encrypted: Callable[[], object] | None = None

    def __init__(
        self,
        *,
        ttl: timedelta | float | str | None = DEFAULT_SESSION_TTL,
        trash_ttl: timedelta | float | str | None = DEFAULT_TRASH_TTL,
        clock: Clock = utc_now,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise UsageError(
                f"unknown option {next(iter(unknown))!r} of a store of the kind {self.backend!r}"
            )
        self._retention = Retention(ttl_seconds(ttl), ttl_seconds(trash_ttl))
        self._clock = clock
        # A cycle would keep the files of a dropped store open for a while.
        store, backend = weakref.ref(self), self.backend
        self._access = EncryptionAccess(lambda: getattr(store(), "url", backend))
        self.row_codec = RowCodec(self._access)
        self._events = EventBus()
        self._closed = False
        self.has_written = False
        """A unit of work that can change the store was begun."""

    # Hooks: a backend implements the first three and overrides others.

    @property
    @abstractmethod
    def url(self) -> str:
        """The store's URL, without any password."""

    @abstractmethod
    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        """Call `work` with one atomic transaction and return its result.

        `work` may be called again after a conflict with another writer. With `durable`, the changes are on disk when
        this returns; without, they survive the end of the process but perhaps not of the machine.
        """

    @abstractmethod
    def _close(self) -> None:
        """Close files and connections."""

    def _scrub(self) -> None:  # most backends have nothing to do
        """Make removed content unreadable in the backend's own files."""

    def index_text(self, text: str) -> str | None:  # most backends have no index
        """Return what the search index of this backend holds of a text; None to leave it out."""
        return None

    def append_texts(self, messages: Sequence[Message]) -> list[str | None]:
        """Return the `index_texts` of messages that are appended; a backend may index them later."""
        return self.index_texts(messages)

    def unit_texts(self, messages: Sequence[Message]) -> list[str | None]:
        """Return the `index_texts` of messages that a transaction reads; a backend may index them later."""
        return self.index_texts(messages)

    def prepare_search(self) -> None:  # most backends index every message with its commit
        """Bring the search index up to date, if that is worthwhile; called outside of any unit of work."""

    def check_can_wipe(self) -> None:  # most backends always can
        """Check that removed content can be made unreadable, before anything is removed.

        Raises:
            StoreUnavailable: it cannot; nothing was changed.
        """

    def wipe(self) -> None:
        """Make all replaced and removed content unreadable, in side files too, after the store was encrypted.

        Raises:
            StoreError: this is not possible now, or an unreadable file may contain plain text; says which.
        """
        self._scrub()

    def known_backups(self) -> list[str]:
        """Return the copies of the store that still exist, made by `backup`, a repair or a migration.

        They still contain what was purged after they were made.
        """
        known = self.read_unit(lambda unit: unit.tx.meta("backups")) or b""
        return [path for path in map(os.fsdecode, known.splitlines()) if os.path.exists(path)]  # noqa: PTH110  # pathlib is not imported here

    def _note_backup(self, path: str) -> None:
        """Remember a copy for `known_backups`, unless the store is read-only."""
        line = os.fsencode(os.path.realpath(path))

        def work(tx: Transaction) -> None:
            known = tx.meta("backups") or b""
            if line not in known.split(b"\n"):
                tx.put_meta("backups", known + line + b"\n")

        with suppress(StoreReadOnly):
            self.transact(work, write=True)  # a path is not content: it needs no key

    def outdated_backups(self) -> list[str]:
        """Return the known backups that are not encrypted with the store's current key."""
        return []

    def check_backend(self, *, repair: bool) -> list[Problem]:
        """Return damage that only this backend can have; `check` calls it before it reads all sessions.

        A repair never discards anything: what cannot stay in its place goes to the trash, to a side file or to a
        session of its own, and the `Problem` is marked ``repaired``. Damage that prevents reading sessions belongs here.
        """
        return []

    def merge_conflict_copies(self) -> list[str]:  # most backends have none
        """Merge the copies of sessions that a sync tool left beside them, and return their names."""
        return []

    def copy_before_repair(self) -> str | None:
        """Copy the whole store and return where to; None if nothing outlives this process."""
        return None

    @property
    def capabilities(self) -> Capabilities:
        """The guarantees of this store; a backend of another package overrides it."""
        row = BACKENDS.get(self.backend)
        known = Capabilities() if row is None else row.capabilities
        return known.without_index() if self.has_key else known

    # Lifecycle.

    @property
    def ttl(self) -> timedelta | None:
        """The time to live of new sessions; None: they never expire."""
        return _timedelta(self._retention.session_seconds)

    @property
    def trash_ttl(self) -> timedelta | None:
        """Time during which removed messages can be restored; None without a trash."""
        return _timedelta(self._retention.trash_seconds)

    def close(self) -> None:
        """Close the store; afterwards every operation raises `StoreClosed`. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def on(self, event: str, handler: Handler) -> Callable[[], None]:
        """Call the handler after each event of that name in this object; see `EventBus.on`."""
        return self._events.on(event, handler)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"the store {self.url} was closed; open it again with open_store()")

    # Encryption.

    @property
    def codec(self) -> PayloadCodec:
        """The codec of payloads; see `stores.encryption.codec`."""
        return self._access.codec

    def use_codec(self, codec: PayloadCodec) -> None:
        """Set the codec of all later reads and writes; see `with_compression` and `with_encryption`."""
        self._access.use(codec)

    @property
    def has_key(self) -> bool:
        """True if content is encrypted and this object has the key."""
        return self._access.has_key

    @property
    def found_encrypted(self) -> bool:
        """True if this object read encrypted content without a key, or the encryption manifest."""
        return self._access.found_encrypted

    def encryption(self) -> dict[str, Any] | None:
        """Return facts from the encryption manifest, which needs no key; None if the store is not encrypted.

        Returns:
            ``state`` is ``encrypted``, or ``encrypting`` or ``rekeying`` during that operation; ``key_id`` is
            hexadecimal; ``passphrase`` is True if the key is derived from one.
        """
        from omniagent_cli.stores.encryption.manifest import read_manifest

        manifest = read_manifest(self._manifest())
        if manifest is None:
            return None
        return {
            "state": manifest.get("state", "encrypted"),
            "key_id": manifest["key_id"],
            "passphrase": manifest.get("kdf") is not None,
        }

    def key_matches(self, key: Key) -> bool:
        """Return True if the store is encrypted with this key."""
        from omniagent_cli.stores.encryption.manifest import read_manifest

        manifest = read_manifest(self._manifest())
        if manifest is None:
            return False
        try:
            PayloadCodec(key=key).attach(manifest)
        except DecryptionError:
            return False
        return True

    def check_key(self) -> None:
        """Check the key that this object was given against the store.

        Raises:
            DecryptionError: the store is encrypted with another key.
            EncryptedStore: the store is not encrypted and not empty.
        """
        if self.has_key:
            self._run(self._access.attach, write=False)

    def unlock(self) -> None:
        """Ask for the key now, if the store is encrypted and no key was given."""
        if not self.has_key and self.ask_key is not None and self.encryption() is not None:
            key = self.ask_key()
            if key is not None:
                self._access.use_key(key)

    def _manifest(self) -> bytes | None:
        manifest: bytes | None = self._run(lambda tx: tx.encryption(), write=False)
        self._access.found_encrypted |= manifest is not None
        return manifest

    # Units of work.

    @contextmanager
    def one_operation(self) -> Iterator[None]:
        """Mark all removals inside as one operation, which `sessions restore` undoes as a whole; not for many threads."""
        self._retention = replace(self._retention, operation=new_uid())
        try:
            yield
        finally:
            self._retention = replace(self._retention, operation="")

    def transact(self, work: Callable[[Transaction], T], *, write: bool) -> T:
        """Run work in one bare transaction: without rules, encryption checks or events."""
        self._check_open()
        return self._run(work, write=write)

    def read_unit(self, work: Callable[[UnitOfWork], T]) -> T:
        """Run work in one unit of work that only reads, and return its result."""
        self._check_open()

        def attempt(tx: Transaction) -> T:
            self._access.prepare_read(tx)
            return work(self._unit(tx))

        return self._with_key(lambda: self._run(attempt, write=False))

    def write_unit(self, work: Callable[[UnitOfWork], T], *, durable: bool = True) -> T:
        """Run work in one unit of work, emit its events once they are stored, and return its result."""
        self._check_open()
        self.has_written = True
        unit: UnitOfWork | None = None
        encrypted = False

        def attempt(tx: Transaction) -> T:
            nonlocal unit, encrypted
            encrypted = self._access.check_writable(tx)
            unit = self._unit(tx)
            return work(unit)

        result = self._with_key(lambda: self._run(attempt, write=True, durable=durable))
        if encrypted and self.on_encrypted is not None:
            self.on_encrypted()
        for event in unit.events if unit is not None else ():
            self._events.emit(event)
        return result

    def iter_headers(self, query: ListQuery) -> Iterator[HeaderRow]:
        """Yield all headers of a query, each page in a unit of work of its own."""
        return walk(lambda page: self.read_unit(lambda unit: unit.tx.headers(page)), query)

    def _unit(self, tx: Transaction) -> UnitOfWork:
        return UnitOfWork(tx, self._access, self._retention, self._events.wants, self.unit_texts)

    def index_texts(self, messages: Sequence[Message]) -> list[str | None]:
        """Return what the search index holds of messages; None for each that it leaves out."""
        if self.has_key:
            return [None] * len(messages)
        return [self.index_text(content_text(message.content)) for message in messages]

    def _with_key(self, run: Callable[[], T]) -> T:
        """Run a unit of work; repeat it if the key was changed by another program, or if `ask_key` provides one."""
        try:
            return run()
        except DecryptionError:
            if not self.has_key or self._access.manifest == self._manifest():
                raise
            return run()
        except EncryptedStore:
            if self.has_key or self.ask_key is None:
                raise
            key = self.ask_key()
            if key is None:
                raise
            self._access.use_key(key)
            return run()


def _timedelta(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
