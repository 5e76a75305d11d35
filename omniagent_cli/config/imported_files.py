"""Files that were imported completely, so that a repeated import reads only what changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from omniagent_cli.config.paths import state_dir
from omniagent_cli.formats.input_sources import FileState
from omniagent_cli.private_files import make_private_directory, replace_file
from omniagent_cli.stores.location import StoreLocation

_NAME = "imported_files.json"
_MAX_BYTES = 64 * 1024 * 1024


class ImportedFiles:
    """States of the files imported into one store; lost without harm, since importing twice changes nothing.

    Args:
        environ: the environment variables; they name the state directory.
        location: the store; a local store that was replaced counts as another one.
    """

    def __init__(self, environ: Mapping[str, str], location: StoreLocation) -> None:
        self._path = state_dir(environ) / _NAME
        self._location = location
        self._is_changed = False
        self._stores = _read(self._path)
        self._files = self._stores.get(_store_key(location), {})

    def changed(self, files: Iterable[FileState]) -> list[FileState]:
        """Return the files that were written since they were imported."""
        return [file for file in files if self._files.get(file.path) != [file.size, file.changed]]

    def add(self, file: FileState) -> None:
        """Record a file as imported in this state."""
        self._files[file.path] = [file.size, file.changed]
        self._is_changed = True

    def save(self) -> None:
        """Write the record if it changed; it is dropped if it cannot be written."""
        if not self._is_changed:
            return
        # A store that this import created has another key than the missing one.
        self._stores[_store_key(self._location)] = self._files
        with suppress(OSError):
            make_private_directory(self._path.parent)
            replace_file(self._path, json.dumps(self._stores).encode(), durable=False)


def _store_key(location: StoreLocation) -> str:
    if location.path is None:
        return location.masked
    try:
        status = Path(location.path).expanduser().stat()
    except OSError:
        return location.masked
    return f"{location.masked} {status.st_dev}:{status.st_ino}"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}
        stores = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(stores, dict):
        return {}
    return {key: files for key, files in stores.items() if isinstance(files, dict)}
