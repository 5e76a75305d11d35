"""The store manifest ``store.json``: program, version, and values of the store as a whole."""

from __future__ import annotations

from typing import Any

from omniagent_cli.errors import NewerVersion, NotOurStore, StoreCorrupt
from omniagent_cli.json_format import dump, load
from omniagent_cli.private_files import replace_file
from omniagent_cli.stores.backends.jsonl.names import Layout

STORE_FORMAT = "omniagent-files"
STORE_VERSION = 1


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

    def meta(self) -> dict[str, bytes]:
        """Return the values of the store as a whole."""
        self.check()
        return {
            key: text.encode("utf-8", "surrogateescape")
            for key, text in self._record.get("meta", {}).items()
        }

    def put(self, facts: dict[str, bytes]) -> None:
        """Add values, under the lock; create the file if it does not exist."""
        meta = {**self.meta(), **facts}
        texts = {key: value.decode("utf-8", "surrogateescape") for key, value in meta.items()}
        record = {**self._record, "format": STORE_FORMAT, "version": STORE_VERSION, "meta": texts}
        replace_file(self._layout.marker, dump(record) + b"\n", durable=True)

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
