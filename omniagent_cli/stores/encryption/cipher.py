"""Keys, and what they encrypt with: AES-GCM (NIST SP 800-38D), by the `cryptography` library.

An envelope is 0x00, envelope version (1 byte), key id (4), nonce (12), ciphertext and tag (16).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omniagent_cli.errors import ConfigError, StoreCorrupt

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENCRYPTED = 0x00
ENVELOPE_VERSION = 1

ID_BYTES = 4
PREFIX_BYTES = 2 + ID_BYTES
NONCE_BYTES = 12
TAG_BYTES = 16

SCRYPT = {"n": 1 << 15, "r": 8, "p": 1}
"""Cost of turning a passphrase into a key, about 0.1 s once a process: RFC 7914."""

_KEY_SIZES = (16, 24, 32)
_LARGEST_SCRYPT = 256 << 20


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


class TamperedError(Exception):
    """An envelope was changed, or belongs elsewhere."""


class Cipher:
    """One AES-GCM key and its id."""

    __slots__ = ("_aes", "_invalid", "id", "key", "prefix")

    def __init__(self, key: bytes) -> None:
        import hashlib

        self.key = key
        self.id = hashlib.sha256(b"omniagent key id\x00" + key).digest()[:ID_BYTES]
        self.prefix = bytes((ENCRYPTED, ENVELOPE_VERSION)) + self.id
        self._aes, self._invalid = _aes_gcm(key)

    def __repr__(self) -> str:
        return f"Cipher({self.id.hex()})"

    def encrypt(self, data: bytes, associated: bytes) -> bytes:
        """Return an envelope with a fresh random nonce."""
        nonce = os.urandom(NONCE_BYTES)
        return self.prefix + nonce + self._aes.encrypt(nonce, data, associated)

    def decrypt(self, envelope: bytes, associated: bytes) -> bytes:
        """Return what is in an envelope.

        Raises:
            TamperedError: it was changed, or is bound to something else.
        """
        start = PREFIX_BYTES + NONCE_BYTES
        try:
            return self._aes.decrypt(envelope[PREFIX_BYTES:start], envelope[start:], associated)
        except (self._invalid, ValueError) as error:
            raise TamperedError from error


def require_library() -> None:
    """Make sure that encryption can be done, before anything is made for it.

    Raises:
        ConfigError: the extra is not installed.
    """
    _aes_gcm(bytes(16))


def _aes_gcm(key: bytes) -> tuple[AESGCM, type[Exception]]:
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise ConfigError(
            "encryption needs a library; install it with: pip install 'omniagent-cli[encryption]'"
        ) from error
    return AESGCM(key), InvalidTag


def derive(key: Key, kdf: Mapping[str, Any] | None) -> tuple[Cipher, dict[str, Any] | None]:
    """Return the cipher of a key, and what the store must remember to derive it again.

    Args:
        key: raw bytes, or a passphrase.
        kdf: what the store remembers; None makes a new salt for a passphrase.

    Raises:
        StoreCorrupt: what the store remembers is no salt and cost.
    """
    if isinstance(key, bytes):
        return Cipher(key), None
    import hashlib

    facts: dict[str, Any] = (
        dict(kdf) if kdf else {"name": "scrypt", "salt": os.urandom(16).hex(), **SCRYPT}
    )
    try:
        raw = hashlib.scrypt(
            key.text.encode("utf-8", "surrogatepass"),
            salt=bytes.fromhex(facts["salt"]),
            n=facts["n"],
            r=facts["r"],
            p=facts["p"],
            maxmem=_LARGEST_SCRYPT,
            dklen=32,
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise StoreCorrupt(
            "the store's record of how its passphrase becomes a key is damaged; put a backup in its place"
        ) from error
    return Cipher(raw), facts
