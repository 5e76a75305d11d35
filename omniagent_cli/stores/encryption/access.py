"""Access to the payloads of a store: the codec it uses, and the checks that keep plain and encrypted content apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omniagent_cli.errors import CorruptSession, DecryptionError, EncryptedStore, NewerVersion
from omniagent_cli.json_format import dump, load
from omniagent_cli.stores.backend import HeaderRow, ListQuery, Transaction
from omniagent_cli.stores.encryption.cipher import ENCRYPTED, Key
from omniagent_cli.stores.encryption.codec import COMPRESSED, HOW_TO_GIVE_KEY, PayloadCodec

_ENCRYPTED = bytes((ENCRYPTED,))
_ENCODED = (_ENCRYPTED, bytes((COMPRESSED,)))
_PLAIN = PayloadCodec()


class EncryptionAccess:
    """The codec of one store object.

    Attributes:
        active: the codec, or None for the default, which writes canonical JSON.
        manifest: the encryption manifest that the codec was attached to, as stored.
        found_encrypted: encrypted content without a key, or a manifest, was read.
        reads_plain: the store was not encrypted when it was last read; with a key it is read, but not written.

    Args:
        location: returns the store's URL for messages.
    """

    __slots__ = ("_location", "active", "found_encrypted", "manifest", "reads_plain")

    def __init__(self, location: Callable[[], str]) -> None:
        self._location = location
        self.active: PayloadCodec | None = None
        self.manifest: bytes | None = None
        self.found_encrypted = False
        self.reads_plain = True

    @property
    def codec(self) -> PayloadCodec:
        """Return the codec."""
        return PayloadCodec() if self.active is None else self.active

    def use(self, codec: PayloadCodec) -> None:
        """Replace the codec."""
        self.active, self.manifest = codec, None

    def use_key(self, key: Key) -> None:
        """Encrypt with a key; compression stays as it is."""
        self.use(PayloadCodec(compress=self.codec.compress, key=key))

    @property
    def has_key(self) -> bool:
        """Return True if content is encrypted, so that no plain text may remain on disk."""
        return self.active is not None and self.active.secret

    def prepare_read(self, tx: Transaction) -> None:
        """Attach the codec; a wrong key is reported by the first payload, whose error names the session."""
        if not self.has_key:
            return
        self.reads_plain = tx.encryption() is None
        if self.reads_plain:
            self.codec.accepts_plain, self.manifest = True, None
            return
        try:
            self.attach(tx)
        except DecryptionError:
            self.manifest = None

    def attach(self, tx: Transaction) -> bytes | None:
        """Attach the codec to the store's encryption manifest and return the manifest.

        Raises:
            EncryptedStore: the store is not encrypted and not empty.
            DecryptionError: the store is encrypted with another key.
        """
        manifest = tx.encryption()
        if manifest is None and tx.count(ListQuery(hidden=None)):
            raise EncryptedStore(
                f"the store {self._location()} is not encrypted, but a key is given; set store.encrypt to false to keep"
                f" it plain, or encrypt it: {_command(self._location())}"
            )
        if manifest is not None and manifest != self.manifest:
            from omniagent_cli.stores.encryption.manifest import read_manifest

            self.manifest = None
            self.codec.attach(read_manifest(manifest))
            self.manifest = manifest
        return manifest

    def check_writable(self, tx: Transaction) -> bool:
        """Check that no plain content is written to an encrypted store, and no encrypted content to a plain one.

        Returns:
            True if the store is new and this transaction makes it an encrypted one.

        Raises:
            EncryptedStore: the store and this codec do not agree.
            DecryptionError: the store is encrypted with another key.
        """
        if not self.has_key:
            if tx.encryption() is not None:
                raise EncryptedStore(
                    f"the store {self._location()} is encrypted; {HOW_TO_GIVE_KEY}"
                )
        elif self.attach(tx) is None:
            from omniagent_cli.stores.encryption.manifest import write_manifest

            # An empty store: it keeps the salt, so that the next start derives the same key.
            tx.put_meta("encryption", write_manifest(self.codec.attach(None)))
            return True
        return False

    def seal(self, kind: str, binding: tuple[str, ...], value: Any) -> bytes:
        """Return the payload of a JSON value; the binding is the identity it is encrypted for."""
        data = dump(value)
        return data if self.active is None else self.active.encode(kind, binding, data)

    def unseal(self, kind: str, header: HeaderRow, binding: tuple[str, ...], payload: bytes) -> Any:
        """Return the JSON value of a payload.

        Raises:
            CorruptSession: it is damaged; see also `decode`.
        """
        plain = self.active is None and payload[:1] not in _ENCODED
        try:
            return load(payload if plain else self.decode(kind, header, binding, payload))
        except ValueError as error:
            raise damaged(header, f"a {kind} cannot be read") from error

    def decode(
        self, kind: str, header: HeaderRow, binding: tuple[str, ...], payload: bytes
    ) -> bytes:
        """Return the canonical JSON of a payload.

        Raises:
            EncryptedStore: it is encrypted and there is no key.
            CorruptSession: it was damaged, moved, or encrypted with another key.
            NewerVersion: a newer omniagent encrypted it.
        """
        codec = _PLAIN if self.active is None else self.active
        try:
            return codec.decode(kind, binding, payload)
        except NewerVersion as error:
            raise NewerVersion(f"the session {header.id!r}: {error}") from error
        except (CorruptSession, EncryptedStore) as error:
            self.found_encrypted |= isinstance(error, EncryptedStore)
            message = f"the session {header.id!r}: {error}"
            raise type(error)(message, session_id=header.id) from error

    def is_locked(self, payload: bytes | None) -> bool:
        """Return True if the payload is encrypted and no key is available."""
        locked = not self.has_key and payload is not None and payload[:1] == _ENCRYPTED
        self.found_encrypted |= locked
        return locked


def _command(url: str) -> str:
    """Return the command that encrypts a store."""
    from shlex import quote

    return f"omniagent --store {quote(url)} store encrypt"


def damaged(header: HeaderRow, what: str) -> CorruptSession:
    """Return the error for a damaged session."""
    return CorruptSession(
        f"the session {header.id!r} is damaged: {what}; run: omniagent store check",
        session_id=header.id,
    )
