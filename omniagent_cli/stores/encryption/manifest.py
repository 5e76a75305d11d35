"""The encryption manifest: key id, KDF parameters and state, stored as a small JSON object beside the sessions.

``version``      1
``key_id``       id of the key of new payloads, hexadecimal
``kdf``          salt and cost if that key is derived from a passphrase (scrypt, RFC 7914), else null
``state``        absent, or ``encrypting`` (plain payloads may remain, readable with the key), or ``rekeying`` (payloads
                 of the old key may remain)
``old_key_id`` ``old_kdf`` ``old_key``   during rekeying: the same for the old key, and that key encrypted with the new
                 one, so that a holder of the new key can read everything and finish an interrupted change
``proof``        an envelope of empty data, bound to all of the above: only a holder of the key can change the manifest
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any, cast

from omniagent_cli.errors import DecryptionError, NewerVersion, StoreCorrupt
from omniagent_cli.json_format import dump, load
from omniagent_cli.stores.encryption.cipher import Cipher, TamperedError

MANIFEST_VERSION = 1
ENCRYPTING = "encrypting"
REKEYING = "rekeying"

_OLD_KEY = b"omniagent old key"

Manifest = dict[str, Any]


def read_manifest(data: bytes | None) -> Manifest | None:
    """Parse a stored manifest; None if there is none.

    Raises:
        StoreCorrupt: it is damaged.
        NewerVersion: a newer omniagent encrypted the store.
    """
    if not data:
        return None
    try:
        facts = load(data)
        version = facts["version"]
        newer = version > MANIFEST_VERSION
        sound = isinstance(facts["key_id"], str)
    except (ValueError, TypeError, KeyError, IndexError):
        newer, sound = False, False
    if newer:
        raise NewerVersion("this store is encrypted by a newer omniagent; update omniagent")
    if not sound:
        raise StoreCorrupt("the encryption manifest of the store is damaged; restore a backup")
    return cast("Manifest", facts)


def write_manifest(manifest: Mapping[str, Any]) -> bytes:
    """Return a manifest as it is stored."""
    return dump(dict(manifest))


def sign(facts: Mapping[str, Any], cipher: Cipher) -> Manifest:
    """Return a manifest with these facts and a proof made with the store's key."""
    manifest = {key: value for key, value in facts.items() if key != "proof" and value is not None}
    manifest["key_id"] = cipher.id.hex()
    manifest["proof"] = _text(cipher.encrypt(b"", _associated(manifest)))
    return manifest


def current_cipher(
    manifest: Mapping[str, Any], candidates: Callable[[Mapping[str, Any] | None], list[Cipher]]
) -> Cipher:
    """Return the cipher of a store's new payloads.

    Args:
        manifest: the store's manifest.
        candidates: returns the ciphers of the available keys for a salt and cost.

    Raises:
        DecryptionError: none of them matches, or the manifest was changed.
    """
    for cipher in candidates(manifest.get("kdf")):
        if cipher.id.hex() == manifest["key_id"]:
            _prove(manifest, cipher)
            return cipher
    if manifest.get("state") == REKEYING:
        for cipher in candidates(manifest.get("old_kdf")):
            if cipher.id.hex() == manifest.get("old_key_id"):
                raise DecryptionError(
                    "the key of this store is being changed; give the new one, or finish the change with"
                    " `omniagent store rekey`"
                )
    raise DecryptionError(
        "this store is encrypted with another key; give the key it was encrypted with"
    )


def _prove(manifest: Mapping[str, Any], cipher: Cipher) -> None:
    try:
        cipher.decrypt(_bytes(manifest.get("proof")), _associated(manifest))
    except (TamperedError, ValueError) as error:
        raise DecryptionError(
            "the encryption manifest of the store was changed without the key; restore a backup"
        ) from error


def sealed_key(old: Cipher, new: Cipher) -> str:
    """Return the old key, encrypted with the new one, for the manifest."""
    return _text(new.encrypt(old.key, _OLD_KEY))


def old_cipher(manifest: Mapping[str, Any], cipher: Cipher) -> Cipher:
    """Return the cipher of a store's previous key.

    Raises:
        DecryptionError: the manifest does not contain it.
    """
    try:
        return Cipher(cipher.decrypt(_bytes(manifest.get("old_key")), _OLD_KEY))
    except (TamperedError, ValueError) as error:
        raise DecryptionError("the old key in the encryption manifest is damaged") from error


def _associated(manifest: Mapping[str, Any]) -> bytes:
    return dump(
        ["mark", *sorted([key, value] for key, value in manifest.items() if key != "proof")]
    )


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not text")  # noqa: TRY004  # as for invalid base64
    return b64decode(text, validate=True)
