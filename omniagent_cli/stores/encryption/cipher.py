"""Encryption keys and AES-GCM (NIST SP 800-38D), from the `cryptography` library.

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
"""Cost of deriving a key from a passphrase, about 0.1 s per process: RFC 7914."""

_KEY_SIZES = (16, 24, 32)
_LARGEST_SCRYPT = 256 << 20


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A passphrase from which the key is derived; its salt is stored in the encryption manifest."""

    text: str

    def __repr__(self) -> str:
        return "Passphrase(...)"


Key = bytes | Passphrase


def check_key(key: Key) -> Key:
    """Return the key if it is valid.

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
            f"invalid encryption key: it must have 16, 24 or 32 bytes, not {size}; a Passphrase may have any length"
        )
    return key


def parse_key(text: str) -> Key:
    """Parse the text form of a key: hex or base64 of 16, 24 or 32 bytes, else a passphrase.

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
    """An envelope that was changed, or bound to other data."""


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
        """Return the content of an envelope.

        Raises:
            TamperedError: it was changed, or is bound to other data.
        """
        start = PREFIX_BYTES + NONCE_BYTES
        try:
            return self._aes.decrypt(envelope[PREFIX_BYTES:start], envelope[start:], associated)
        except (self._invalid, ValueError) as error:
            raise TamperedError from error


def require_library() -> None:
    """Check that the encryption library is installed, before anything is created.

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
            "the encryption extra is not installed; install it with: pip install 'omniagent-cli[encryption]'"
        ) from error
    return AESGCM(key), InvalidTag


def derive(key: Key, kdf: Mapping[str, Any] | None) -> tuple[Cipher, dict[str, Any] | None]:
    """Return the cipher of a key, and the KDF parameters from which a passphrase derives it again.

    Args:
        key: raw bytes, or a passphrase.
        kdf: the stored KDF parameters; None generates a new salt for a passphrase.

    Raises:
        StoreCorrupt: the stored KDF parameters are invalid.
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
            "the KDF parameters in the encryption manifest are damaged; restore a backup"
        ) from error
    return Cipher(raw), facts
