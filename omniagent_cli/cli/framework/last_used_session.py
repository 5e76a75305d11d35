"""The session a person used last, per store: what ``@`` and ``chat -c`` mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from omniagent_cli import private_files as files
from omniagent_cli.config.paths import state_dir
from omniagent_cli.errors import ConfigError

_FILE_NAME = "recent.json"
_STORES_AT_MOST = 100


class Recent:
    """The last session of one store, in a private file of the state directory.

    Losing it costs a convenience and no word of anybody, so a file that cannot be read or written is no error:
    it counts as empty, and a chat goes on.
    """

    def __init__(self, store_url: str, environ: Mapping[str, str]) -> None:
        self._store_url = store_url
        self._environ = environ

    def get(self) -> str | None:
        """Return the id of the session used last, which may be gone by now; None when there was none."""
        try:
            return self._load(self._path()).get(self._store_url)
        except ConfigError:
            return None

    def remember(self, session_id: str) -> None:
        """Note that a session was used."""
        if self._store_url.startswith("memory:") or self.get() == session_id:
            return
        try:
            path = self._path()
            with files.locked_directory(path.parent):
                known = self._load(path)
                known.pop(self._store_url, None)
                known[self._store_url] = session_id
                kept = dict(list(known.items())[-_STORES_AT_MOST:])
                files.write_private(path, json.dumps(kept, ensure_ascii=True, indent=1).encode())
        except ConfigError:
            return

    def renamed(self, old_id: str, new_id: str) -> None:
        """Follow a session to its new id."""
        if self.get() == old_id:
            self.remember(new_id)

    def _path(self) -> Path:
        return state_dir(self._environ) / _FILE_NAME

    def _load(self, path: Path) -> dict[str, str]:
        try:
            known = json.loads(files.read_bounded(path))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(known, dict):
            return {}
        return {key: value for key, value in known.items() if isinstance(value, str)}


def remember(store_url: str, session_id: str, environ: Mapping[str, str]) -> None:
    """Note that a session of a store was used; for chat and ask."""
    Recent(store_url, environ).remember(session_id)
