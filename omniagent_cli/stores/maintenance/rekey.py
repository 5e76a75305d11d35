"""Encryption of a store in place, and change of its key: one session at a time, while other programs continue.

The manifest is written first (see `encryption.manifest`), so from then on everything is written with the new key and the
remaining work only shrinks; an interrupted run resumes where it stopped. After all sessions are encrypted, the replaced
bytes are wiped from the backend's files, and the manifest records that the change is complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from omniagent_cli.errors import (
    CorruptSession,
    DecryptionError,
    EncryptedStore,
    NewerVersion,
    StoreCorrupt,
    StoreLocked,
)
from omniagent_cli.stores.backend import (
    HIDDEN,
    RECODE_BATCH,
    HeaderRow,
    ListQuery,
    MessageRow,
    Transaction,
)
from omniagent_cli.stores.encryption import manifest as manifests
from omniagent_cli.stores.encryption.cipher import Key
from omniagent_cli.stores.encryption.codec import PayloadCodec
from omniagent_cli.stores.journal import JOURNAL_KINDS, REMOVAL
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork

T = TypeVar("T")
Progress = Callable[[int], object]

_KINDS = ("attachment", "summary", REMOVAL, *JOURNAL_KINDS)
_PASSES = 2
"""The second pass finds sessions that the first missed, because listings are not snapshots everywhere."""

_WIPE_ATTEMPTS = 5
"""Attempts to wipe replaced bytes while another program reads them."""


@dataclass(slots=True)
class RekeyReport:
    """The result of encrypting a store or changing its key.

    Attributes:
        sessions: number of sessions, the trash included.
        messages: number of their messages.
        damaged: sessions with content that could not be decrypted before; it was left unchanged.
        copies: backups that can still be read without the key, or with the old one.
    """

    sessions: int = 0
    messages: int = 0
    damaged: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)


def encrypt(store: StoreBase, key: Key, progress: Progress | None = None) -> RekeyReport:
    """Encrypt a store in place; see `SessionStore.encrypt`."""
    codec = PayloadCodec(compress=store.codec.compress, key=key)

    def begin(tx: Transaction) -> None:
        manifest = manifests.read_manifest(tx.encryption())
        if manifest is None:
            facts = codec.attach(None) | {"state": manifests.ENCRYPTING}
            _write_manifest(tx, facts, codec)
        else:
            codec.attach(manifest)
            if manifest.get("state") == manifests.REKEYING:
                raise EncryptedStore(
                    "the key of this store is being changed; finish that with"
                    " `omniagent store rekey`"
                )

    store.check_can_wipe()
    store.transact(begin, write=True)
    store.use_codec(codec)
    return _Recoding(store, codec, progress, keep_unreadable=False).run()


def rekey(store: StoreBase, new_key: Key, progress: Progress | None = None) -> RekeyReport:
    """Change the key of an encrypted store; see `SessionStore.rekey`."""
    old, new = store.codec, PayloadCodec(compress=store.codec.compress, key=new_key)

    def begin(tx: Transaction) -> None:
        manifest = manifests.read_manifest(tx.encryption())
        if manifest is None:
            raise EncryptedStore(
                f"the store {store.url} is not encrypted; run `omniagent store encrypt` to encrypt it"
            )
        state = manifest.get("state")
        if state == manifests.ENCRYPTING:
            raise EncryptedStore(
                "this store is only partly encrypted; finish that with `omniagent store encrypt`"
            )
        if state == manifests.REKEYING or _is_current(new, manifest):
            new.attach(manifest)  # an earlier run started or even finished the change
            return
        if not old.secret:
            raise EncryptedStore("the current key of the store is required to change it")
        old.attach(manifest)
        facts = new.attach(None)
        changing = {
            "state": manifests.REKEYING,
            "old_key_id": old.cipher.id.hex(),
            "old_kdf": manifest.get("kdf"),
            "old_key": manifests.sealed_key(old.cipher, new.cipher),
        }
        _write_manifest(tx, facts | changing, new)

    store.check_can_wipe()
    store.transact(begin, write=True)
    store.use_codec(new)
    return _Recoding(store, new, progress, keep_unreadable=True).run()


def _write_manifest(tx: Transaction, facts: dict[str, Any], codec: PayloadCodec) -> None:
    signed = manifests.sign(facts, codec.cipher)
    tx.put_meta("encryption", manifests.write_manifest(signed))


def _is_current(codec: PayloadCodec, manifest: dict[str, Any]) -> bool:
    try:
        manifests.current_cipher(manifest, codec.candidates)
    except DecryptionError:
        return False
    return True


class _Progress(NamedTuple):
    """The progress in one session: the position to continue at, None at the end, and the number of messages before it."""

    first: int | None
    passed: int


class _Recoding:
    """One run over a store whose manifest says that the change is in progress."""

    def __init__(
        self,
        store: StoreBase,
        codec: PayloadCodec,
        progress: Progress | None,
        *,
        keep_unreadable: bool,
    ) -> None:
        self._store = store
        self._codec = codec
        self._progress = progress
        self._keep_unreadable = keep_unreadable
        self._report = RekeyReport()
        self._unread: list[str] = []
        self._damaged: dict[str, None] = {}

    def run(self) -> RekeyReport:
        done: set[str] = set()
        for _ in range(_PASSES):
            # All uids from one unit of work, because ids may change during the run.
            uids = self._store.read_unit(
                lambda unit: [h.uid for h in unit.headers(ListQuery(hidden=None, sort="id"))]
            )
            for uid in uids:
                if uid not in done:
                    self._session(uid)
                    done.add(uid)
        if self._unread:
            raise StoreCorrupt(
                f"{len(self._unread)} damaged sessions could not be read and are not encrypted yet:"
                f" {'; '.join(self._unread[:5])}. Run `omniagent store check --repair`, then repeat"
            )
        self._wipe()
        self._store.transact(self._finish, write=True)
        self._wipe()  # the manifest that contained the old key
        self._report.sessions = len(done)
        self._report.damaged = list(self._damaged)
        self._report.copies = self._store.outdated_backups()
        return self._report

    def _session(self, uid: str) -> None:
        try:
            for kind in _KINDS:
                for key in self._record_keys(uid, kind):
                    self._run(lambda unit: self._record(unit.tx, uid, kind, key))  # noqa: B023  # run immediately
            position = _Progress(0, 0)
            while position.first is not None:
                start = position
                position = self._run(lambda unit: self._portion(unit.tx, uid, start))  # noqa: B023
                self._advance(position.passed - start.passed)
        except CorruptSession as error:
            self._unread.append(str(error))

    def _record_keys(self, uid: str, kind: str) -> list[str]:
        return self._store.read_unit(lambda unit: unit.record_keys(uid, kind))

    def _run(self, work: Callable[[UnitOfWork], T]) -> T:
        """Run a unit of work, then wait so that other programs, which poll for the lock, can get it."""
        began = time.monotonic()
        result = self._store.write_unit(work)
        time.sleep(min((time.monotonic() - began) / 4, 0.02))
        return result

    def _record(self, tx: Transaction, uid: str, kind: str, key: str) -> None:
        header, payload = tx.find_uid(uid, payload=False), tx.record(uid, kind, key)
        if header is not None and payload is not None:
            changed = self._recoded(kind, header, (uid, key), payload)
            if changed is not payload:
                tx.put_record(uid, kind, key, changed)

    def _portion(self, tx: Transaction, uid: str, start: _Progress) -> _Progress:
        """Recode some messages of a session and return the new progress."""
        header = tx.find_uid(uid)
        if header is None:
            return _Progress(None, start.passed)
        right = replace(header)
        if header.payload is not None:
            right.payload = self._recoded("header", header, (uid, header.id), header.payload)
        if header.preview:
            right.preview = self._recoded("preview", header, (uid,), header.preview)
        if right.payload is not header.payload or right.preview is not header.preview:
            tx.put(right)

        def change(row: MessageRow) -> MessageRow:
            binding = (uid, str(row.position), row.id)
            changed = self._recoded("message", header, binding, row.payload)
            return row if changed is row.payload else row._replace(payload=changed)

        following = tx.recode(uid, change, start.first or 0)
        passed = header.message_count if following is None else start.passed + RECODE_BATCH
        return _Progress(following, max(start.passed, passed))

    def _advance(self, count: int) -> None:
        self._report.messages += count
        if self._progress is not None and count > 0:
            self._progress(count)

    def _recoded(
        self, kind: str, header: HeaderRow, binding: tuple[str, ...], payload: bytes
    ) -> bytes:
        """Return a payload encrypted with the new key; the same object if it already is."""
        if self._codec.is_current(payload):
            return payload
        try:
            data = self._codec.decode(kind, binding, payload)
        except (CorruptSession, NewerVersion):
            self._damaged[header.id.removeprefix(HIDDEN)] = None
            if self._keep_unreadable:
                return payload
            data = payload  # even damaged bytes may contain readable plain text
        return self._codec.encode(kind, binding, data)

    def _wipe(self) -> None:
        for left in reversed(range(_WIPE_ATTEMPTS)):
            try:
                return self._store.wipe()
            except StoreLocked:
                if not left:
                    raise
        return None

    def _finish(self, tx: Transaction) -> None:
        manifest = manifests.read_manifest(tx.encryption()) or {}
        facts = {key: manifest.get(key) for key in ("version", "kdf")}
        _write_manifest(tx, facts, self._codec)
