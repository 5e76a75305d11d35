"""What a store does to payloads on their way to the backend and back, and whether it may: see `stores.codecs`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from omniagent_cli.errors import CorruptSession, DecryptionError, EncryptedStore, NewerVersion
from omniagent_cli.json_format import dump, load
from omniagent_cli.stores.backend import HeaderRow, ListQuery, Transaction
from omniagent_cli.stores.encryption.codec import (
    ENCRYPTED,
    HOW_TO_GIVE_KEY,
    Key,
    PayloadCodec,
)

T = TypeVar("T")

_ENCRYPTED = bytes((ENCRYPTED,))
_PLAIN = PayloadCodec()


class Sealing(ABC):
    """Owns the codec of a store, and keeps plain and encrypted content apart.

    Attributes:
        ask_key: called when the store turns out to be encrypted and there is no key: returns the key, or None to
            go on without one. It is called outside of any unit of work.
    """

    ask_key: Callable[[], Key | None] | None = None

    def __init__(self) -> None:
        self._codec: PayloadCodec | None = None
        self._mark: bytes | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the store is, without any password."""

    @abstractmethod
    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        """Call `work` with one atomic unit of work and return its result.

        `work` may be called again when someone else got in between. With `durable`, what was written is
        on disk when this returns; without, it survives the end of the process but perhaps not of the machine.
        """

    @property
    def codec(self) -> PayloadCodec:
        """What the store does to payloads; see `stores.codecs`."""
        return PayloadCodec() if self._codec is None else self._codec

    def use_codec(self, codec: PayloadCodec) -> None:
        """Compress or encrypt from now on; see `with_compression` and `with_encryption`."""
        self._codec, self._mark = codec, None

    @property
    def has_key(self) -> bool:
        """Whether content is encrypted here, with a key that this object was given."""
        return self._secret

    def encryption(self) -> dict[str, Any] | None:
        """Return what the store records of its encryption, which needs no key; None: it is plain.

        Returns:
            ``state`` is ``encrypted``, or ``encrypting`` or ``rekeying`` while that goes on; ``passphrase`` tells
            whether its key is one.
        """
        from omniagent_cli.stores.encryption.manifest import read_mark

        mark = read_mark(self._run(_encryption, write=False))
        if mark is None:
            return None
        return {
            "state": mark.get("state", "encrypted"),
            "key_id": mark["key_id"],
            "passphrase": mark.get("kdf") is not None,
        }

    def opens_with(self, key: Key) -> bool:
        """Tell whether a key is the one that the store is encrypted with; False when it is plain."""
        from omniagent_cli.stores.encryption.manifest import read_mark

        mark = read_mark(self._run(_encryption, write=False))
        if mark is None:
            return False
        try:
            PayloadCodec(key=key).attach(mark)
        except DecryptionError:
            return False
        return True

    def check_key(self) -> None:
        """Make sure that the key this object was given is the store's, before anything is built on it.

        Raises:
            DecryptionError: it is another one.
            EncryptedStore: the store is not encrypted, and not empty.
        """
        if self._secret:
            self._run(self._attach, write=False)

    def unlock(self) -> None:
        """Ask for the key now, if the store is encrypted and there is none."""
        if not self._secret and self.ask_key is not None and self.encryption() is not None:
            key = self.ask_key()
            if key is not None:
                self.use_codec(PayloadCodec(compress=self.codec.compress, key=key))

    @property
    def _secret(self) -> bool:
        """Whether content is encrypted, so that nothing readable may be left anywhere."""
        return self._codec is not None and self._codec.secret

    def _with_key(self, run: Callable[[], T]) -> T:
        """Run a unit of work; again with the key when it needs one and there is somebody to ask."""
        try:
            return run()
        except DecryptionError:
            if not self._secret or self._mark == self._run(_encryption, write=False):
                raise
            return run()  # the key was changed while we looked
        except EncryptedStore:
            if self._secret or self.ask_key is None:
                raise
            key = self.ask_key()
            if key is None:
                raise
            self.use_codec(PayloadCodec(compress=self.codec.compress, key=key))
            return run()

    def _reading(self, work: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
        """Return work that reads through the codec; a wrong key is told by the first payload, which names its session."""
        if not self._secret:
            return work

        def attached(tx: Transaction) -> T:
            try:
                self._attach(tx)
            except DecryptionError:
                self._mark = None
            return work(tx)

        return attached

    def _attach(self, tx: Transaction) -> bytes | None:
        """Make the codec ready for what the store records of its encryption, and return that.

        Raises:
            EncryptedStore: the store is not encrypted, and not empty.
            DecryptionError: the store is encrypted with another key.
        """
        mark = tx.encryption()
        if mark is None and tx.count(ListQuery(hidden=None)):
            raise EncryptedStore(
                f"the store {self.url} is not encrypted; run `omniagent store encrypt` to encrypt what is there"
            )
        if mark is not None and mark != self._mark:
            from omniagent_cli.stores.encryption.manifest import read_mark

            self._mark = None
            self.codec.attach(read_mark(mark))
            self._mark = mark
        return mark

    def _writable(self, tx: Transaction) -> Transaction:
        """Keep plain content out of an encrypted store, and encrypted content out of a plain one.

        Raises:
            EncryptedStore: the store and this object do not agree.
            DecryptionError: the store is encrypted with another key.
        """
        if not self._secret:
            if tx.encryption() is not None:
                raise EncryptedStore(f"the store {self.url} is encrypted; {HOW_TO_GIVE_KEY}")
        elif self._attach(tx) is None:
            from omniagent_cli.stores.encryption.manifest import write_mark

            # An empty store: it remembers a salt made now, so that the next start derives the same key.
            tx.put_meta("encryption", write_mark(self.codec.attach(None)))
        return tx

    def _seal(self, kind: str, binding: tuple[str, ...], value: Any) -> bytes:
        data = dump(value)
        return data if self._codec is None else self._codec.encode(kind, binding, data)

    def _unseal(
        self, kind: str, header: HeaderRow, binding: tuple[str, ...], payload: bytes
    ) -> Any:
        try:
            return load(self._opened(kind, header, binding, payload))
        except ValueError as error:
            raise self._damaged(header, f"a {kind} cannot be read") from error

    def _opened(
        self, kind: str, header: HeaderRow, binding: tuple[str, ...], payload: bytes
    ) -> bytes:
        """Return the canonical JSON of a payload.

        Raises:
            EncryptedStore: it is encrypted and there is no key.
            CorruptSession: it was damaged, moved, or made with another key.
            NewerVersion: a newer omniagent encrypted it.
        """
        codec = _PLAIN if self._codec is None else self._codec
        try:
            return codec.decode(kind, binding, payload)
        except NewerVersion as error:
            raise NewerVersion(f"the session {header.id!r}: {error}") from error
        except (CorruptSession, EncryptedStore) as error:
            told = f"the session {header.id!r}: {error}"
            raise type(error)(told, session_id=header.id) from error

    def _damaged(self, header: HeaderRow, what: str) -> CorruptSession:
        return CorruptSession(
            f"the session {header.id!r} is damaged: {what}; `omniagent store check` says more",
            session_id=header.id,
        )

    def _is_closed_book(self, payload: bytes | None) -> bool:
        """Whether a payload is encrypted and there is no key; ids and counts are listed all the same."""
        return not self._secret and payload is not None and payload[:1] == _ENCRYPTED


def _encryption(tx: Transaction) -> bytes | None:
    return tx.encryption()
