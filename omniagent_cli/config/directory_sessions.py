"""The sessions that began in each directory of this machine, by store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from omniagent_cli.config.paths import directory
from omniagent_cli.errors import ConfigError, InvalidRecord
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.private_files import read_bounded, write_private


class DirectorySessions:
    """Ids of the sessions of one store by the directory where they began, in private files.

    An index for ``--here``, for which every session of the store would have to be read. Its ids may be gone. A file
    that cannot be read or written is ignored: then all sessions are read.
    """

    def __init__(self, store_url: str, environ: Mapping[str, str]) -> None:
        self._store = _hash(store_url)
        self._environ = environ

    def get(self, cwd: str) -> tuple[datetime, list[str]] | None:
        """Return the time of the last `record` of a directory and its ids; None without one."""
        try:
            moment, *ids = read_bounded(self._file(cwd)).decode("utf-8", "replace").splitlines()
            return parse_time(moment), ids
        except (OSError, ValueError, ConfigError, InvalidRecord):
            return None

    def record(self, cwd: str, now: datetime, ids: Sequence[str]) -> None:
        """Record all ids of a directory."""
        lines = [format_time(now), *ids]
        try:
            write_private(self._file(cwd), "".join(f"{line}\n" for line in lines).encode())
        except ConfigError:
            return

    def forget(self) -> None:
        """Remove the records of the store, after older sessions came from elsewhere or changed their ids."""
        try:
            for file in self._directory().iterdir():
                file.unlink(missing_ok=True)
        except (OSError, ConfigError):
            return

    def _directory(self) -> Path:
        return Path(directory("state", self._environ), "directories", self._store)

    def _file(self, cwd: str) -> Path:
        return self._directory() / _hash(cwd)


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
