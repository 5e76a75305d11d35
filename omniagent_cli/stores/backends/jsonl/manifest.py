"""Values of the store as a whole: the manifest ``store.json`` and, for values of this machine only, ``local.json``.

The manifest has program, version and encryption, so that a copy of the store without it could not be decrypted.
"""

from __future__ import annotations

import contextlib
from typing import Any

from omniagent_cli.errors import NewerVersion, NotOurStore, StoreCorrupt
from omniagent_cli.json_format import dump, load
from omniagent_cli.private_files import replace_file
from omniagent_cli.stores.backends.jsonl.names import Layout

_SHARED = "encryption"
"""Key of the only value that other machines need."""

STORE_FORMAT = "omniagent-files"
STORE_VERSION = 2
"""2: logs in the form of the manual page ``file-format``; `maintenance.MIGRATIONS` leads there."""


class Manifest:
    """The manifest, read again after it was replaced."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._stamp: tuple[int, int, int] | None = None
        self._record: dict[str, Any] = {}

    def check(self) -> bool:
        """Return True if the directory is a store.

        Raises:
            NotOurStore: the file belongs to another program.
            NewerVersion: a newer omniagent created the store.
            StoreCorrupt: the file cannot be read.
        """
        path = self._layout.marker
        try:
            status = path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._record = self._parse(path.read_bytes())
                self._stamp = stamp
        except (FileNotFoundError, NotADirectoryError):
            self._stamp, self._record = None, {}
            return False
        return True

    @property
    def version(self) -> int:
        """Version of the store; the current one if it has no manifest yet."""
        return int(self._record.get("version", STORE_VERSION))

    def meta(self) -> dict[str, bytes]:
        """Return the values of the store as a whole."""
        self.check()
        texts = {**self._record.get("meta", {}), **self._local()}
        return {key: text.encode("utf-8", "surrogateescape") for key, text in texts.items()}

    def put(self, facts: dict[str, bytes]) -> None:
        """Add values, under the lock; create the manifest if it does not exist."""
        texts = {key: value.decode("utf-8", "surrogateescape") for key, value in facts.items()}
        local = {key: text for key, text in texts.items() if key != _SHARED}
        if local:
            replace_file(self._layout.local, dump(self._local() | local) + b"\n", durable=True)
        if not self.check() or _SHARED in texts:
            shared = {key: text for key, text in texts.items() if key == _SHARED}
            self._write({"meta": {**self._record.get("meta", {}), **shared}})

    def upgrade(self) -> None:
        """Record that all logs have the current form, under the lock."""
        self._write({})

    def _write(self, changes: dict[str, Any]) -> None:
        record = {"meta": {}, **self._record, **changes}
        record |= {"format": STORE_FORMAT, "version": STORE_VERSION}
        replace_file(self._layout.marker, dump(record) + b"\n", durable=True)
        self.check()

    def _local(self) -> dict[str, str]:
        with contextlib.suppress(OSError, ValueError):
            values = load(self._layout.local.read_bytes().strip())
            return values if isinstance(values, dict) else {}
        return {}

    def _parse(self, data: bytes) -> dict[str, Any]:
        path = self._layout.marker
        try:
            record = load(data.strip())
            if record["format"] != STORE_FORMAT:
                raise NotOurStore(
                    f"{path} belongs to another program; the directory was not changed"
                )
            if record["version"] > STORE_VERSION:
                raise NewerVersion(
                    f"the store {self._layout.root} has version {record['version']}; this omniagent supports up to"
                    f" {STORE_VERSION}; update omniagent"
                )
        except (ValueError, TypeError, KeyError) as error:
            raise StoreCorrupt(
                f"{path} cannot be read; the sessions are not affected. Move it away to continue"
            ) from error
        return record  # type: ignore[no-any-return]
