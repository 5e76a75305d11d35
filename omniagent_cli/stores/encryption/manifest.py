"""What a store records of its encryption: a small JSON object beside the sessions, called the mark.

``version``      1
``key_id``       which key new payloads are encrypted with, in hexadecimal digits
``kdf``          salt and cost when that key is a passphrase (scrypt, RFC 7914), else null
``state``        absent, or ``encrypting`` (plain payloads may be left: they are read, by holders of the key alone), or
                 ``rekeying`` (payloads of the old key may be left)
``old_key_id`` ``old_kdf`` ``old_key``   while rekeying: the same of the old key, and itself, encrypted with the new one,
                 so that a holder of the new key can read everything and finish an interrupted change
``proof``        an envelope of nothing, bound to all of the above: only a holder of the key can change the mark
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any, cast

from omniagent_cli.errors import DecryptionError, NewerVersion, StoreCorrupt
from omniagent_cli.json_format import dump, load
from omniagent_cli.stores.encryption.cipher import Cipher, TamperedError

MARK_VERSION = 1
ENCRYPTING = "encrypting"
REKEYING = "rekeying"

_OLD_KEY = b"omniagent old key"

Mark = dict[str, Any]


def read_mark(mark: bytes | None) -> Mark | None:
    """Read what a store records of its encryption.

    Raises:
        StoreCorrupt: it cannot be read.
        NewerVersion: a newer omniagent encrypted the store.
    """
    if not mark:
        return None
    try:
        facts = load(mark)
        version = facts["version"]
        newer = version > MARK_VERSION
        sound = isinstance(facts["key_id"], str)
    except (ValueError, TypeError, KeyError, IndexError):
        newer, sound = False, False
    if newer:
        raise NewerVersion("this store is encrypted by a newer omniagent; update omniagent")
    if not sound:
        raise StoreCorrupt(
            "the store's record of its encryption is damaged; put a backup in its place"
        )
    return cast("Mark", facts)


def write_mark(mark: Mapping[str, Any]) -> bytes:
    """Write what a store records of its encryption."""
    return dump(dict(mark))


def signed(facts: Mapping[str, Any], cipher: Cipher) -> Mark:
    """Return the mark with these facts for a store that is encrypted with this key."""
    mark = {key: value for key, value in facts.items() if key != "proof" and value is not None}
    mark["key_id"] = cipher.id.hex()
    mark["proof"] = _text(cipher.encrypt(b"", _bound(mark)))
    return mark


def opened(
    mark: Mapping[str, Any], candidates: Callable[[Mapping[str, Any] | None], list[Cipher]]
) -> Cipher:
    """Return the cipher that a store's new payloads are encrypted with.

    Args:
        mark: the store's mark.
        candidates: the ciphers of the keys at hand for a salt and cost.

    Raises:
        DecryptionError: it is none of them, or the mark was changed.
    """
    for cipher in candidates(mark.get("kdf")):
        if cipher.id.hex() == mark["key_id"]:
            _prove(mark, cipher)
            return cipher
    if mark.get("state") == REKEYING:
        for cipher in candidates(mark.get("old_kdf")):
            if cipher.id.hex() == mark.get("old_key_id"):
                raise DecryptionError(
                    "the key of this store is being changed; give the new one, or finish the change with"
                    " `omniagent store rekey`"
                )
    raise DecryptionError(
        "this store is encrypted with another key; give the key it was encrypted with"
    )


def _prove(mark: Mapping[str, Any], cipher: Cipher) -> None:
    try:
        cipher.decrypt(_bytes(mark.get("proof")), _bound(mark))
    except (TamperedError, ValueError) as error:
        raise DecryptionError(
            "the store's record of its encryption was changed by somebody without the key; put a backup in its place"
        ) from error


def sealed_key(old: Cipher, new: Cipher) -> str:
    """Return the old key as the mark holds it while the key is changed."""
    return _text(new.encrypt(old.key, _OLD_KEY))


def old_cipher(mark: Mapping[str, Any], cipher: Cipher) -> Cipher:
    """Return the cipher of the key that a store had before.

    Raises:
        DecryptionError: the mark does not hold it.
    """
    try:
        return Cipher(cipher.decrypt(_bytes(mark.get("old_key")), _OLD_KEY))
    except (TamperedError, ValueError) as error:
        raise DecryptionError("the store's record of its old key is damaged") from error


def _bound(mark: Mapping[str, Any]) -> bytes:
    return dump(["mark", *sorted([key, value] for key, value in mark.items() if key != "proof")])


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not text")  # noqa: TRY004  # as what is no base64
    return b64decode(text, validate=True)
