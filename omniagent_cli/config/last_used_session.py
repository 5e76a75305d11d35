"""The session used last in each store: the meaning of ``@`` and ``chat -c``."""

from __future__ import annotations

from omniagent_cli.config.paths import directory
from omniagent_cli.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FILE_NAME = "recent.json"
_STORES = 100


class LastUsedSession:
    """The last used session of one store, in a private file of the state directory.

    A file that cannot be read or written is not an error: only a convenience is lost.
    """

    def __init__(self, store_url: str, environ: Mapping[str, str]) -> None:
        self._store_url = store_url
        self._environ = environ

    def get(self) -> str | None:
        """Return the id of the session, which may have been deleted since; None when there is none."""
        try:
            return self._load(self._path()).get(self._store_url)
        except ConfigError:
            return None

    def remember(self, session_id: str) -> None:
        """Record that a session was used."""
        if self._store_url.startswith("memory:") or self.get() == session_id:
            return
        import json

        from omniagent_cli.private_files import locked_directory, write_private

        try:
            path = self._path()
            with locked_directory(path.parent):
                known = self._load(path)
                known.pop(self._store_url, None)
                known[self._store_url] = session_id
                kept = dict(list(known.items())[-_STORES:])
                write_private(path, json.dumps(kept, ensure_ascii=True, indent=1).encode())
        except ConfigError:
            return

    def rename(self, old_id: str, new_id: str) -> None:
        """Follow a session to its new id."""
        if self.get() == old_id:
            self.remember(new_id)

    def _path(self) -> Path:
        from pathlib import Path

        return Path(directory("state", self._environ), _FILE_NAME)

    def _load(self, path: Path) -> dict[str, str]:
        import json

        from omniagent_cli.private_files import read_bounded

        try:
            known = json.loads(read_bounded(path))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(known, dict):
            return {}
        return {key: value for key, value in known.items() if isinstance(value, str)}
