"""Encrypting a store where it is, and changing its key: a session at a time, while others go on, interrupted at will.

The mark comes first (see `stores.marks`): from then on nobody writes anything but what the new key encrypts. So what is
left to do only becomes less, and running it again goes on where it stopped. When every session has been through,
what was replaced is wiped out of the backend's files, and the mark says that all is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

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
    RECODED_AT_ONCE,
    HeaderRow,
    ListQuery,
    MessageRow,
    Transaction,
)
from omniagent_cli.stores.encryption import manifest as marks
from omniagent_cli.stores.encryption.codec import Key, PayloadCodec
from omniagent_cli.stores.operations.search import CHUNK

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore

T = TypeVar("T")
Progress = Callable[[int], object]

_KINDS = ("attachment", "summary")
_PASSES = 2
"""The second finds what a listing of the first missed, where listings are no snapshots."""

_WIPES = 5
"""So often we try again when somebody reads what is to be wiped out."""


@dataclass(slots=True)
class Recoded:
    """What became of a store.

    Attributes:
        sessions: how many sessions it has, in the trash too.
        messages: how many messages they have.
        damaged: sessions with something that could not be decrypted before either; it was left as it is.
        copies: backups that can still be read without the key, or with the old one.
    """

    sessions: int = 0
    messages: int = 0
    damaged: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)


def encrypt(store: SessionStore, key: Key, progress: Progress | None = None) -> Recoded:
    """See `SessionStore.encrypt`."""
    codec = PayloadCodec(compress=store.codec.compress, key=key)

    def begin(tx: Transaction) -> None:
        mark = marks.read_mark(tx.encryption())
        if mark is None:
            facts = codec.attach(None) | {"state": marks.ENCRYPTING}
            tx.put_meta("encryption", marks.write_mark(marks.signed(facts, codec.cipher)))
        else:
            codec.attach(mark)
            if mark.get("state") == marks.REKEYING:
                raise EncryptedStore(
                    "this store is encrypted, and its key is being changed; finish that with"
                    " `omniagent store rekey`"
                )

    store._run(begin, write=True)
    store.use_codec(codec)
    return _Recoding(store, codec, progress, keeps_unreadable=False).run()


def rekey(store: SessionStore, new_key: Key, progress: Progress | None = None) -> Recoded:
    """See `SessionStore.rekey`."""
    old, new = store.codec, PayloadCodec(compress=store.codec.compress, key=new_key)

    def begin(tx: Transaction) -> None:
        mark = marks.read_mark(tx.encryption())
        if mark is None:
            raise EncryptedStore(
                f"the store {store.url} is not encrypted; `omniagent store encrypt` encrypts it"
            )
        state = mark.get("state")
        if state == marks.ENCRYPTING:
            raise EncryptedStore(
                "this store is only partly encrypted; finish that with `omniagent store encrypt`"
            )
        if state == marks.REKEYING or _fits(new, mark):
            new.attach(mark)  # it was begun, or even done, before
            return
        if not old.secret:
            raise EncryptedStore("give the key that the store has now, to change it")
        old.attach(mark)
        facts = new.attach(None)
        changing = {
            "state": marks.REKEYING,
            "old_key_id": old.cipher.id.hex(),
            "old_kdf": mark.get("kdf"),
            "old_key": marks.sealed_key(old.cipher, new.cipher),
        }
        mark = marks.signed(facts | changing, new.cipher)
        tx.put_meta("encryption", marks.write_mark(mark))

    store._run(begin, write=True)
    store.use_codec(new)
    return _Recoding(store, new, progress, keeps_unreadable=True).run()


def _fits(codec: PayloadCodec, mark: dict[str, Any]) -> bool:
    try:
        marks.opened(mark, codec.candidates)
    except DecryptionError:
        return False
    return True


class _Place(NamedTuple):
    """How far a session is done: the position to go on from, None at the end, and how many messages stand before it."""

    first: int | None
    passed: int


class _Recoding:
    """One run over a store whose mark says that it goes on."""

    def __init__(
        self,
        store: SessionStore,
        codec: PayloadCodec,
        progress: Progress | None,
        *,
        keeps_unreadable: bool,
    ) -> None:
        self._store = store
        self._codec = codec
        self._progress = progress
        self._keeps_unreadable = keeps_unreadable
        self._result = Recoded()
        self._unread: list[str] = []
        self._damaged: dict[str, None] = {}

    def run(self) -> Recoded:
        done: set[str] = set()
        for _ in range(_PASSES):
            for uid in [uid for uid in _uids(self._store) if uid not in done]:
                self._session(uid)
                done.add(uid)
        if self._unread:
            raise StoreCorrupt(
                f"{len(self._unread)} damaged sessions could not be read and are not encrypted yet:"
                f" {'; '.join(self._unread[:5])}. Mend them with `omniagent store check --repair`, and repeat"
            )
        self._wipe()
        self._store._run(self._finish, write=True)
        self._wipe()  # the mark that held the old key
        self._result.sessions = len(done)
        self._result.damaged = list(self._damaged)
        self._result.copies = self._store._stale_copies()
        return self._result

    def _session(self, uid: str) -> None:
        try:
            for kind in _KINDS:
                for key in self._store._read(lambda tx: [k for k, _ in tx.records(uid, kind)]):  # noqa: B023
                    self._politely(lambda tx: self._record(tx, uid, kind, key))  # noqa: B023
            place = _Place(0, 0)
            while place.first is not None:
                start = place
                place = self._politely(lambda tx: self._portion(tx, uid, start))  # noqa: B023
                self._advance(place.passed - start.passed)
        except CorruptSession as error:
            self._unread.append(str(error))

    def _politely(self, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work, and then let others have their turn: they poll for it."""
        began = time.monotonic()
        result = self._store._write(lambda tx, _: work(tx))
        time.sleep(min((time.monotonic() - began) / 4, 0.02))
        return result

    def _record(self, tx: Transaction, uid: str, kind: str, key: str) -> None:
        header, payload = tx.find_uid(uid, payload=False), tx.record(uid, kind, key)
        if header is not None and payload is not None:
            changed = self._recoded(kind, header, (uid, key), payload)
            if changed is not payload:
                tx.put_record(uid, kind, key, changed)

    def _portion(self, tx: Transaction, uid: str, start: _Place) -> _Place:
        """Recode some of a session and return where to go on."""
        header = tx.find_uid(uid)
        if header is None:
            return _Place(None, start.passed)
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
        passed = header.message_count if following is None else start.passed + RECODED_AT_ONCE
        return _Place(following, max(start.passed, passed))

    def _advance(self, count: int) -> None:
        self._result.messages += count
        if self._progress is not None and count > 0:
            self._progress(count)

    def _recoded(
        self, kind: str, header: HeaderRow, binding: tuple[str, ...], payload: bytes
    ) -> bytes:
        """Return a payload as the new key encrypts it; the very same object when it is so already."""
        if self._codec.is_current(payload):
            return payload
        try:
            data = self._codec.decode(kind, binding, payload)
        except (CorruptSession, NewerVersion):
            self._damaged[header.id.removeprefix(HIDDEN)] = None
            if self._keeps_unreadable:
                return payload
            data = payload  # damaged or not, it may be read by anybody who looks
        return self._codec.encode(kind, binding, data)

    def _wipe(self) -> None:
        for left in reversed(range(_WIPES)):
            try:
                return self._store._wipe()
            except StoreLocked:
                if not left:
                    raise
        return None

    def _finish(self, tx: Transaction) -> None:
        mark = marks.read_mark(tx.encryption()) or {}
        facts = {key: mark.get(key) for key in ("version", "kdf")}
        tx.put_meta("encryption", marks.write_mark(marks.signed(facts, self._codec.cipher)))


def _uids(store: SessionStore) -> Iterator[str]:
    """Return the uids of all sessions, hidden ones too, from one look at the store: names may change meanwhile."""

    def work(tx: Transaction) -> list[str]:
        query, found = ListQuery(hidden=None, sort="id", limit=CHUNK), []
        while page := tx.headers(query):
            found += [header.uid for header in page]
            if len(page) < CHUNK:
                break
            query = replace(query, after=query.cursor(page[-1]))
        return found

    return iter(store._read(work))
