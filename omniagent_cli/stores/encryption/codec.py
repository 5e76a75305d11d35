"""The payload codec: compression, then encryption, of one payload at a time.

The first byte of a payload is its type:

    ``{`` or ``"``   canonical JSON
    0x01             zlib (RFC 1950) of canonical JSON
    0x00             encrypted: an envelope (see `cipher`) of one of the two above
    0x02             8 bytes with the position that the envelope after them is bound to, if the message has another
                     one because two copies of its session were merged; only in memory

SQLite, PostgreSQL and Redis store these bytes unchanged; a JSON-lines log contains them as base64 (see
`backends.jsonl.lines`), unless they are plain JSON.
The associated data of an encrypted payload is its identity (format version, kind, session uid, position and message id;
for a header also the visible id), so a payload that was swapped, moved or copied cannot be decrypted. The module
`manifest` describes how a store records that it is encrypted.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, cast

from omniagent_cli.errors import CorruptSession, DecryptionError, EncryptedStore, NewerVersion
from omniagent_cli.stores.encryption.cipher import (
    ENCRYPTED,
    ENVELOPE_VERSION,
    NONCE_BYTES,
    PREFIX_BYTES,
    TAG_BYTES,
    Cipher,
    Key,
    TamperedError,
    check_key,
    derive,
)

COMPRESSED = 0x01
_REBOUND = b"\x02"
_BOUND_BYTES = 9

MIN_COMPRESSED_BYTES = 150
"""Size below which compression saves next to nothing."""

MAX_PAYLOAD_BYTES = 256 << 20
"""Maximum size of a decompressed payload; a larger one is a decompression bomb."""

HOW_TO_GIVE_KEY = (
    "give its key: by with_encryption() in code, by store.key_file or OMNIAGENT_ENCRYPTION_KEY[_FILE]"
    " on the command line"
)


class PayloadCodec:
    """Encoder and decoder of the payloads of one store.

    Args:
        compress: compress payloads that become smaller; compressed payloads are always read.
        key: the encryption key; None reads and writes no encrypted payloads.
        old_key: the previous key, while the store's key is being changed.
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

    def attach(self, stored: Mapping[str, Any] | None) -> dict[str, Any]:
        """Derive the keys for a store from its encryption manifest and return the manifest it should have.

        After an error the codec refuses to encrypt, and each encrypted payload raises an error of its own.

        Args:
            stored: the store's manifest; None: the store has none yet.

        Raises:
            DecryptionError: the store is encrypted with another key, or the manifest was changed.
            NewerVersion: the manifest has an unknown version.
        """
        from omniagent_cli.stores.encryption import manifest

        self.accepts_plain = False
        if stored is None:
            self._cipher, kdf = derive(cast("Key", self.key), None)
            self._ciphers = {self._cipher.id: self._cipher}
            if kdf is not None:
                self._derived[cast("Key", self.key), kdf["salt"]] = self._cipher
            return manifest.sign({"version": manifest.MANIFEST_VERSION, "kdf": kdf}, self._cipher)
        try:
            cipher = manifest.current_cipher(stored, self.candidates)
        except DecryptionError:
            self._ciphers, self._cipher = {}, None
            raise
        known = {cipher.id: cipher}
        if stored.get("state") == manifest.REKEYING:
            old = manifest.old_cipher(stored, cipher)
            known[old.id] = old
        self._ciphers, self._cipher = known, cipher
        self.accepts_plain = stored.get("state") == manifest.ENCRYPTING
        return dict(stored)

    def candidates(self, kdf: Mapping[str, Any] | None) -> list[Cipher]:
        """Return the ciphers of the given keys; passphrases need the salt and cost of `kdf`."""
        found = []
        for key in (self.key, self.old_key):
            if isinstance(key, bytes):
                found.append(Cipher(key))
            elif key is not None and kdf is not None:
                salted = key, str(kdf.get("salt"))
                if salted not in self._derived:
                    self._derived[salted] = derive(key, kdf)[0]
                found.append(self._derived[salted])
        return found

    @property
    def cipher(self) -> Cipher:
        """The cipher of new payloads; only after `attach`."""
        return cast("Cipher", self._cipher)

    def encode(self, kind: str, binding: tuple[str, ...], data: bytes) -> bytes:
        """Encode one payload; the binding is the identity it is encrypted for.

        Raises:
            EncryptedStore: the store's key is not known.
        """
        if self.compress and len(data) >= MIN_COMPRESSED_BYTES:
            packed = zlib.compress(data)
            if len(packed) + 1 < len(data):
                data = bytes((COMPRESSED,)) + packed
        if self._cipher is not None:
            return self._cipher.encrypt(data, _associated(kind, binding))
        if self.secret:
            raise EncryptedStore(
                "cannot write plain content to an encrypted store: its key is not known"
            )
        return data

    def decode(self, kind: str, binding: tuple[str, ...], data: bytes) -> bytes:
        """Decode one payload to canonical JSON.

        Raises:
            DecryptionError: the key is wrong, or the payload was changed, moved or replaced by a plain one.
            CorruptSession: it cannot be decompressed, or is too large.
            EncryptedStore: it is encrypted and there is no key.
        """
        bound, data = unbound(data)
        if bound is not None:
            binding = (binding[0], str(bound), *binding[2:])
        first = data[0] if data else -1
        if first == ENCRYPTED:
            data = self._decrypt(kind, binding, data)
            first = data[0] if data else -1
        elif not self.accepts_plain:
            raise DecryptionError(
                f"a {kind} is not encrypted although the store is; another program replaced it"
            )
        return _unpack(data) if first == COMPRESSED else data

    def open_foreign(
        self, kind: str, binding: tuple[str, ...], data: bytes, kdf: Mapping[str, Any] | None
    ) -> bytes:
        """Decode a payload that another store wrote with the same key or passphrase.

        Args:
            kind: its kind.
            binding: the identity it is encrypted for.
            data: the payload.
            kdf: salt and cost of that store's passphrase.

        Raises:
            DecryptionError: it was encrypted with another key, or was changed.
        """
        cipher = next((one for one in self.candidates(kdf) if data.startswith(one.prefix)), None)
        if cipher is None:
            raise DecryptionError(f"a {kind} is encrypted with another key")
        try:
            data = cipher.decrypt(data, _associated(kind, binding))
        except TamperedError as error:
            raise DecryptionError(f"an encrypted {kind} was changed, moved or swapped") from error
        return _unpack(data) if data[:1] == bytes((COMPRESSED,)) else data

    def is_current(self, data: bytes) -> bool:
        """Return True if a payload is encrypted with the current key, or plain if there is no key."""
        if self._cipher is None:
            return data[:1] != bytes((ENCRYPTED,))
        return data.startswith(self._cipher.prefix)

    def _decrypt(self, kind: str, binding: tuple[str, ...], data: bytes) -> bytes:
        if not self.secret:
            raise EncryptedStore(f"it is encrypted; {HOW_TO_GIVE_KEY}")
        if len(data) < PREFIX_BYTES + NONCE_BYTES + TAG_BYTES:
            raise DecryptionError(f"an encrypted {kind} is truncated")
        if data[1] != ENVELOPE_VERSION:
            raise NewerVersion(f"a {kind} has an unknown encryption version; update omniagent")
        cipher = self._ciphers.get(data[2:PREFIX_BYTES])
        if cipher is None:
            raise DecryptionError(f"a {kind} is encrypted with another key")
        try:
            return cipher.decrypt(data, _associated(kind, binding))
        except TamperedError as error:
            raise DecryptionError(f"an encrypted {kind} was changed, moved or swapped") from error


def rebound(position: int, payload: bytes) -> bytes:
    """Return an encrypted payload that is bound to another position than its message has."""
    return _REBOUND + position.to_bytes(8, "big") + payload


def unbound(payload: bytes) -> tuple[int | None, bytes]:
    """Return the position that `rebound` added, or None, and the payload without it."""
    if payload[:1] != _REBOUND:
        return None, payload
    return int.from_bytes(payload[1:_BOUND_BYTES], "big"), payload[_BOUND_BYTES:]


def _associated(kind: str, binding: tuple[str, ...]) -> bytes:
    """Return the associated data of a payload; only the last part, an id, can contain any character."""
    return "\x00".join(("1", kind, *binding)).encode("utf-8", "surrogatepass")


def _unpack(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(memoryview(data)[1:], MAX_PAYLOAD_BYTES)
    except zlib.error as error:
        raise CorruptSession(f"a compressed payload is damaged: {error}") from error
    if unpacker.unconsumed_tail:
        raise CorruptSession(f"a compressed payload is larger than {MAX_PAYLOAD_BYTES >> 20} MiB")
    if not unpacker.eof:
        raise CorruptSession("a compressed payload is truncated")
    return unpacked
