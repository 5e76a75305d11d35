"""Files that exports wrote, so that a repeated export replaces its own files only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from omniagent_cli.config.paths import state_dir
from omniagent_cli.private_files import make_private_directory, replace_file

_NAME = "exported_files.json"
_MAX_FILES = 100_000
_MAX_BYTES = 64 * 1024 * 1024


class ExportedFiles:
    """Sizes and times of exported files by path; without the record, replacing a file has to be confirmed."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._path = state_dir(environ) / _NAME
        self._files = _read(self._path)
        self._is_changed = False

    def may_replace(self, file: Path) -> bool:
        """Return True if there is no such file, it is empty, or it is as an export left it."""
        try:
            state = _state(file)
        except OSError:
            return True  # a missing file, or one whose writing reports the error
        return state[0] == 0 or self._files.get(str(file)) == state

    def add(self, file: Path) -> None:
        """Record a file that was written just now."""
        with suppress(OSError):
            self._files.pop(str(file), None)
            self._files[str(file)] = _state(file)
            self._is_changed = True

    def save(self) -> None:
        """Write the record if it changed; it is dropped if it cannot be written."""
        if not self._is_changed:
            return
        newest = dict(list(self._files.items())[-_MAX_FILES:])
        with suppress(OSError):
            make_private_directory(self._path.parent)
            data = json.dumps(newest).encode("utf-8", "surrogateescape")
            replace_file(self._path, data, durable=False)


def _state(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(path: Path) -> dict[str, list[int]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}
        files = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return files if isinstance(files, dict) else {}
