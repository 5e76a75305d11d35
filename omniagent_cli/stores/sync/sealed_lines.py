"""Lines of files in a directory that others can read: encrypted, and bound to their file and place, if the store is."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, BinaryIO

from omniagent_cli.errors import DecryptionError, EncryptedStore
from omniagent_cli.json_format import dump
from omniagent_cli.stores.encryption.codec import HOW_TO_GIVE_KEY
from omniagent_cli.stores.journal import CARRIER
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.sync.loading import Record


class Sealer:
    """Writer of lines, encrypted if the store is."""

    def __init__(self, store: StoreBase, file: BinaryIO, name: tuple[str, str]) -> None:
        self._codec = store.codec if store.has_key else None
        self._file = file
        self._name = name
        self._number = 0

    def write(self, value: Record) -> None:
        """Write an object as a line."""
        self._number += 1
        data = dump(value)
        if self._codec is not None:
            sealed = self._codec.encode(CARRIER, (*self._name, str(self._number)), data)
            data = base64.b64encode(sealed)
        self._file.write(data + b"\n")


class Opener:
    """Reader of the lines that `Sealer` wrote, maybe with another salt."""

    def __init__(
        self, store: StoreBase, path: str, name: tuple[str, str], facts: Mapping[str, Any]
    ) -> None:
        self._store = store
        self._path = path
        self._name = name
        self._kdf = facts.get("kdf")
        self._number = 0
        self._codec = store.codec

    def open(self, line: bytes) -> bytes:
        """Return the JSON of a line.

        Raises:
            EncryptedStore: only one of the file and the store is encrypted.
            DecryptionError: it is encrypted with another key, or was changed.
        """
        self._number += 1
        line = line.rstrip(b"\r\n")
        if line[:1] == b"{":
            if self._store.has_key:
                raise EncryptedStore(
                    f"{self._path} is not encrypted, but this store is; encrypt the store that wrote it"
                )
            return line
        if not self._store.has_key:
            raise EncryptedStore(f"{self._path} is encrypted; {HOW_TO_GIVE_KEY}")
        try:
            sealed = base64.b64decode(line, validate=True)
            return self._codec.open_foreign(
                CARRIER, (*self._name, str(self._number)), sealed, self._kdf
            )
        except (binascii.Error, DecryptionError) as error:
            raise DecryptionError(
                f"{self._path} is encrypted with another key, or was changed"
            ) from error
