"""Compression and encryption: stages of one codec over one payload at a time, always compress, then encrypt.

A payload's first byte says what it is:

    ``{`` or ``"``   canonical JSON as it is
    0x01             zlib (RFC 1950) of canonical JSON
    0x00             encrypted: 0x00, envelope version (1 byte), key id (4), nonce (12), AES-GCM ciphertext and tag
                     of one of the two above; NIST SP 800-38D, by the `cryptography` library

The associated data of an encrypted payload is what it belongs to (format version, kind, session uid, position and
message id; a header's also the visible id), so that a payload that was swapped, moved or copied does not open.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from omniagent_cli.canonical import dump, load
from omniagent_cli.errors import (
    ConfigError,
    CorruptSession,
    DecryptionError,
    EncryptedStore,
    NewerVersion,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from omniagent_cli.stores.base import SessionStore

    Store = TypeVar("Store", bound=SessionStore)

ENCRYPTED = 0x00
COMPRESSED = 0x01
ENVELOPE_VERSION = 1
MARK_VERSION = 1

MIN_COMPRESSED_BYTES = 150
"""Shorter payloads hardly shrink; see the measurements in the README."""

MAX_PAYLOAD_BYTES = 256 << 20
"""No payload of ours is larger unpacked; a larger one is a decompression bomb."""

SCRYPT = {"n": 1 << 15, "r": 8, "p": 1}
"""Cost of turning a passphrase into a key, about 0.1 s once a process: RFC 7914."""

_KEY_SIZES = (16, 24, 32)
_NONCE_BYTES = 12
_ID_BYTES = 4
_PREFIX_BYTES = 2 + _ID_BYTES


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A key that a person can remember; its salt is kept in the store."""

    text: str

    def __repr__(self) -> str:
        return "Passphrase(...)"


Key = bytes | Passphrase


def check_key(key: Key) -> Key:
    """Return the key if it is one.

    Raises:
        ConfigError: raw bytes of another length than 16, 24 or 32, or an empty passphrase.
    """
    if isinstance(key, Passphrase):
        if not key.text:
            raise ConfigError("the passphrase is empty")
        return key
    if not isinstance(key, bytes) or len(key) not in _KEY_SIZES:
        size = len(key) if isinstance(key, bytes | bytearray | str) else type(key).__name__
        raise ConfigError(
            f"an encryption key is 16, 24 or 32 bytes, not {size}; a Passphrase may have any length"
        )
    return key


def parse_key(text: str) -> Key:
    """Read a key as people write it: hex or base64 of 16, 24 or 32 bytes, else a passphrase.

    Raises:
        ConfigError: it is empty.
    """
    import base64
    import binascii

    cleaned = text.strip()
    for decode in (bytes.fromhex, lambda value: base64.b64decode(value, validate=True)):
        try:
            raw = decode(cleaned)
        except (ValueError, binascii.Error):
            continue
        if len(raw) in _KEY_SIZES:
            return raw
    return check_key(Passphrase(cleaned))


class _Cipher:
    """One AES-GCM key and its id."""

    __slots__ = ("_aes", "id", "prefix")

    def __init__(self, key: bytes) -> None:
        self.id = hashlib.sha256(b"omniagent key id\x00" + key).digest()[:_ID_BYTES]
        self.prefix = bytes((ENCRYPTED, ENVELOPE_VERSION)) + self.id
        self._aes = _aes_gcm(key)

    def encrypt(self, data: bytes, associated: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return self.prefix + nonce + self._aes.encrypt(nonce, data, associated)

    def decrypt(self, envelope: bytes, associated: bytes) -> bytes:
        start = _PREFIX_BYTES + _NONCE_BYTES
        return self._aes.decrypt(envelope[_PREFIX_BYTES:start], envelope[start:], associated)


def _aes_gcm(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise ConfigError(
            "encryption needs a library; install it with: pip install 'omniagent-cli[encryption]'"
        ) from error
    return AESGCM(key)


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
        self._cipher: _Cipher | None = None
        self._ciphers: dict[bytes, _Cipher] = {}

    def attach(self, mark: Mapping[str, Any] | None) -> dict[str, Any]:
        """Make ready for a store by its mark and return the mark it should have.

        Args:
            mark: what the store records of its encryption; None: nothing yet.

        Raises:
            DecryptionError: the store is encrypted with another key.
            NewerVersion: the store is encrypted in a way this version does not know.
        """
        facts = dict(mark or {"version": MARK_VERSION})
        if facts["version"] > MARK_VERSION:
            raise NewerVersion("this store is encrypted by a newer omniagent; update omniagent")
        cipher, kdf = _derive(cast("Key", self.key), facts.get("kdf"))
        self._ciphers = {cipher.id: cipher}
        if self.old_key is not None:
            old, _ = _derive(self.old_key, facts.get("old_kdf") or facts.get("kdf"))
            self._ciphers[old.id] = old
        key_id = cipher.id.hex()
        if mark is not None and key_id != facts.get("key_id") and key_id != facts.get("old_key_id"):
            raise DecryptionError(
                "this store is encrypted with another key; give the key it was made with"
            )
        self._cipher = cipher
        self.accepts_plain = facts.get("state") == "encrypting"
        return {**facts, "key_id": facts.get("key_id", key_id), "kdf": facts.get("kdf", kdf)}

    @property
    def key_id(self) -> bytes:
        """The id of the key in use."""
        return cast("_Cipher", self._cipher).id

    def encode(self, kind: str, binding: tuple[str, ...], data: bytes) -> bytes:
        """Wrap one payload; the binding is what it belongs to."""
        if self.compress and len(data) >= MIN_COMPRESSED_BYTES:
            packed = zlib.compress(data)
            if len(packed) + 1 < len(data):
                data = bytes((COMPRESSED,)) + packed
        return (
            data if self._cipher is None else self._cipher.encrypt(data, _associated(kind, binding))
        )

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
        if self._cipher is None:
            raise EncryptedStore("this store is encrypted; give its key")
        if len(data) < _PREFIX_BYTES + _NONCE_BYTES + 16:
            raise DecryptionError(f"an encrypted {kind} is cut short")
        if data[1] != ENVELOPE_VERSION:
            raise NewerVersion(
                f"a {kind} is encrypted in a way this omniagent does not know; update omniagent"
            )
        cipher = self._ciphers.get(data[2:_PREFIX_BYTES])
        if cipher is None:
            raise DecryptionError(f"a {kind} is encrypted with another key")
        from cryptography.exceptions import InvalidTag

        try:
            return cipher.decrypt(data, _associated(kind, binding))
        except InvalidTag as error:
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


def unpack(data: bytes) -> bytes:
    """Return the canonical JSON of a payload that is not encrypted."""
    return _unpack(data) if data[:1] == bytes((COMPRESSED,)) else data


def _derive(key: Key, kdf: Mapping[str, Any] | None) -> tuple[_Cipher, dict[str, Any] | None]:
    """Return the cipher of a key, and what the store must remember to derive it again."""
    if isinstance(key, bytes):
        return _Cipher(key), None
    facts: dict[str, Any] = (
        dict(kdf) if kdf else {"name": "scrypt", "salt": os.urandom(16).hex(), **SCRYPT}
    )
    raw = hashlib.scrypt(
        key.text.encode("utf-8", "surrogatepass"),
        salt=bytes.fromhex(facts["salt"]),
        n=facts["n"],
        r=facts["r"],
        p=facts["p"],
        maxmem=256 << 20,
        dklen=32,
    )
    return _Cipher(raw), facts


def read_mark(mark: bytes | None) -> dict[str, Any] | None:
    """Read what a store records of its encryption."""
    return None if not mark else cast("dict[str, Any]", load(mark))


def write_mark(mark: Mapping[str, Any]) -> bytes:
    """Write what a store records of its encryption."""
    return dump(dict(mark))


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
