"""Memory of the protocols and options that servers support, kept for a day in this process and optionally in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from omniagent_cli.errors import ConfigError
from omniagent_cli.private_files import read_bounded, write_private

KEPT_SECONDS = 86_400.0


class ProtocolMemory:
    """Short texts by key: the protocol of a model at an address, or the options that it rejects.

    Args:
        path: a file shared by processes; errors are ignored, because its content can be learned again.
        clock: the time in seconds since the epoch.
    """

    def __init__(self, path: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._known: dict[str, list[Any]] | None = None

    def get(self, key: str) -> str | None:
        """Return the value of a key; None if it is missing or expired."""
        value, learned_at = self._entries().get(key, ("", 0.0))
        fresh = 0 <= self._clock() - learned_at < KEPT_SECONDS
        return value if value and fresh else None

    def set(self, key: str, value: str | None) -> None:
        """Store a value; None removes it."""
        known = self._entries()
        known.pop(key, None)
        if value is not None:
            known[key] = [value, self._clock()]
        if self._path is not None:
            fresh = {name: entry for name, entry in known.items() if self.get(name)}
            with suppress(ConfigError):
                write_private(self._path, json.dumps(fresh).encode())

    def _entries(self) -> dict[str, list[Any]]:
        if self._known is None:
            self._known = {} if self._path is None else _read(self._path)
        return self._known


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        value = json.loads(read_bounded(path))
    except (OSError, ValueError, RecursionError, ConfigError):
        return {}
    entries = value.items() if isinstance(value, dict) else ()
    return {
        key: entry
        for key, entry in entries
        if isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and isinstance(entry[1], int | float)
    }
