"""Compression and encryption: stages of one codec over one payload at a time, always compress, then encrypt.

A payload's first byte says what it is:

    ``{`` or ``"``   canonical JSON as it is
    0x01             zlib (RFC 1950) of canonical JSON
    0x00             encrypted: an envelope (see `stores.ciphers`) of one of the two above

The associated data of an encrypted payload is what it belongs to (format version, kind, session uid, position and
message id; a header's also the visible id), so that a payload that was swapped, moved or copied does not open.
How a store records that it is encrypted stands in `stores.marks`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from omniagent_cli.errors import CorruptSession, DecryptionError, EncryptedStore, NewerVersion
from omniagent_cli.stores.encryption.cipher import (
    ENCRYPTED,
    ENVELOPE_VERSION,
    NONCE_BYTES,
    PREFIX_BYTES,
    TAG_BYTES,
    Cipher,
    Key,
    Passphrase,
    TamperedError,
    check_key,
    derive,
    parse_key,
)

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore

    Store = TypeVar("Store", bound=SessionStore)

__all__ = [
    "COMPRESSED",
    "ENCRYPTED",
    "Key",
    "Passphrase",
    "PayloadCodec",
    "check_key",
    "parse_key",
    "with_compression",
    "with_encryption",
]

COMPRESSED = 0x01

MIN_COMPRESSED_BYTES = 150
"""Shorter payloads hardly shrink; see the measurements in the README."""

MAX_PAYLOAD_BYTES = 256 << 20
"""No payload of ours is larger unpacked; a larger one is a decompression bomb."""

HOW_TO_GIVE_KEY = (
    "give its key: by with_encryption() in code, by store.key_file or OMNIAGENT_ENCRYPTION_KEY[_FILE]"
    " on the command line"
)


class PayloadCodec:
    """What a store does to its payloads on their way to the backend and back.

    Args:
        compress: make payloads smaller where that makes them smaller; compressed ones are always read.
        key: encrypt with it; None reads and writes no encrypted payloads.
        old_key: what part of the store may still be encrypted with, while its key is being changed.
    """

    def __init__(
        self, *, compress: bool = False, key: Key | None = None, old_key: Key | None = None
    ) -> None:
        self.compress = compress
        self.key = None if key is None else check_key(key)
        self.old_key = None if old_key is None else check_key(old_key)
        self.secret = key is not None
        self.accepts_plain = key is None
        self._cipher: Cipher | None = None
        self._ciphers: dict[bytes, Cipher] = {}
        self._derived: dict[tuple[Key, str], Cipher] = {}

    def attach(self, mark: Mapping[str, Any] | None) -> dict[str, Any]:
        """Make ready for a store by its mark and return the mark it should have.

        After an error the codec encrypts nothing, and what it decrypts is told payload by payload.

        Args:
            mark: what the store records of its encryption; None: nothing yet.

        Raises:
            DecryptionError: the store is encrypted with another key, or the mark was changed.
            NewerVersion: the store is encrypted in a way this version does not know.
        """
        from omniagent_cli.stores.encryption import manifest as marks

        self.accepts_plain = False
        if mark is None:
            self._cipher, kdf = derive(cast("Key", self.key), None)
            self._ciphers = {self._cipher.id: self._cipher}
            if kdf is not None:
                self._derived[cast("Key", self.key), kdf["salt"]] = self._cipher
            return marks.signed({"version": marks.MARK_VERSION, "kdf": kdf}, self._cipher)
        try:
            cipher = marks.opened(mark, self.candidates)
        except DecryptionError:
            self._ciphers, self._cipher = {}, None
            raise
        known = {cipher.id: cipher}
        if mark.get("state") == marks.REKEYING:
            old = marks.old_cipher(mark, cipher)
            known[old.id] = old
        self._ciphers, self._cipher = known, cipher
        self.accepts_plain = mark.get("state") == marks.ENCRYPTING
        return dict(mark)

    def candidates(self, kdf: Mapping[str, Any] | None) -> list[Cipher]:
        """Return the ciphers of the keys given, passphrases with this salt; without one they are none."""
        found = []
        for key in (self.key, self.old_key):
            if isinstance(key, bytes):
                found.append(Cipher(key))
            elif key is not None and kdf is not None:
                place = key, str(kdf.get("salt"))
                if place not in self._derived:
                    self._derived[place] = derive(key, kdf)[0]
                found.append(self._derived[place])
        return found

    @property
    def cipher(self) -> Cipher:
        """What payloads are encrypted with now; only after `attach`."""
        return cast("Cipher", self._cipher)

    def encode(self, kind: str, binding: tuple[str, ...], data: bytes) -> bytes:
        """Wrap one payload; the binding is what it belongs to.

        Raises:
            EncryptedStore: it should be encrypted and the store's key is not known.
        """
        if self.compress and len(data) >= MIN_COMPRESSED_BYTES:
            packed = zlib.compress(data)
            if len(packed) + 1 < len(data):
                data = bytes((COMPRESSED,)) + packed
        if self._cipher is not None:
            return self._cipher.encrypt(data, _associated(kind, binding))
        if self.secret:
            raise EncryptedStore("nothing plain can be written: the store's key is not known")
        return data

    def decode(self, kind: str, binding: tuple[str, ...], data: bytes) -> bytes:
        """Unwrap one payload to canonical JSON.

        Raises:
            DecryptionError: the key is another one, or the payload was changed, moved or replaced by a plain one.
            CorruptSession: it cannot be unpacked, or unpacks to more than any payload has.
            EncryptedStore: it is encrypted and there is no key.
        """
        first = data[0] if data else -1
        if first == ENCRYPTED:
            data = self._decrypt(kind, binding, data)
            first = data[0] if data else -1
        elif not self.accepts_plain:
            raise DecryptionError(
                f"a {kind} is not encrypted, in a store that is: it was put there by somebody else"
            )
        return _unpack(data) if first == COMPRESSED else data

    def is_current(self, data: bytes) -> bool:
        """Tell whether a payload is wrapped as this codec would wrap it now, as far as its key goes."""
        if self._cipher is None:
            return data[:1] != bytes((ENCRYPTED,))
        return data.startswith(self._cipher.prefix)

    def _decrypt(self, kind: str, binding: tuple[str, ...], data: bytes) -> bytes:
        if not self.secret:
            raise EncryptedStore(f"it is encrypted; {HOW_TO_GIVE_KEY}")
        if len(data) < PREFIX_BYTES + NONCE_BYTES + TAG_BYTES:
            raise DecryptionError(f"an encrypted {kind} is cut short")
        if data[1] != ENVELOPE_VERSION:
            raise NewerVersion(
                f"a {kind} is encrypted in a way this omniagent does not know; update omniagent"
            )
        cipher = self._ciphers.get(data[2:PREFIX_BYTES])
        if cipher is None:
            raise DecryptionError(f"a {kind} is encrypted with another key")
        try:
            return cipher.decrypt(data, _associated(kind, binding))
        except TamperedError as error:
            raise DecryptionError(f"an encrypted {kind} was changed, moved or swapped") from error


def _associated(kind: str, binding: tuple[str, ...]) -> bytes:
    """Join what a payload belongs to; only the last part, an id, can hold any character."""
    return "\x00".join(("1", kind, *binding)).encode("utf-8", "surrogatepass")


def _unpack(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(memoryview(data)[1:], MAX_PAYLOAD_BYTES)
    except zlib.error as error:
        raise CorruptSession(f"a compressed payload is damaged: {error}") from error
    if unpacker.unconsumed_tail:
        raise CorruptSession(
            f"a compressed payload unpacks to more than {MAX_PAYLOAD_BYTES >> 20} MiB"
        )
    if not unpacker.eof:
        raise CorruptSession("a compressed payload is cut short")
    return unpacked


def with_compression(store: Store) -> Store:
    """Compress the payloads that a store writes from now on; what is there is read either way.

    The store itself is changed and returned. Around or inside `with_encryption` it is the same store.
    """
    return _wrapped(
        store, lambda codec: PayloadCodec(compress=True, key=codec.key, old_key=codec.old_key)
    )


def with_encryption(store: Store, key: Key, *, old_key: Key | None = None) -> Store:
    """Encrypt the payloads of a store with AES-GCM, and refuse plain ones.

    The store itself is changed and returned, and takes no plain content any more. Messages, titles, previews,
    metadata, state, attachments and summaries are encrypted; ids, roles, times, counts, model, agent, pinned and
    archived are not. That the whole store was rolled back or cut is not noticed.

    Args:
        store: an empty store, or one that is encrypted with this key; `SessionStore.encrypt` changes a plain one.
        key: 16, 24 or 32 bytes, or a `Passphrase`.
        old_key: the key it had, while `SessionStore.rekey` was interrupted.

    Raises:
        ConfigError: it is not a key.
    """
    check_key(key)
    return _wrapped(
        store, lambda codec: PayloadCodec(compress=codec.compress, key=key, old_key=old_key)
    )


def _wrapped(store: Store, change: Callable[[PayloadCodec], PayloadCodec]) -> Store:
    store.use_codec(change(store.codec))
    return store
