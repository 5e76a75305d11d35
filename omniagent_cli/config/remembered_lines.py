"""Lines remembered between runs, such as confirmed servers, in a private file of the state directory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from omniagent_cli.config.paths import state_dir
from omniagent_cli.errors import ConfigError
from omniagent_cli.private_files import locked_directory, read_bounded, write_private


class RememberedLines:
    """A set of lines; an unreadable file counts as empty, and write errors are ignored.

    Args:
        name: name of the file.
        limit: the newest lines that are kept.
        environ: the environment variables, for the state directory.
    """

    def __init__(self, name: str, limit: int, environ: Mapping[str, str]) -> None:
        self._name = name
        self._limit = limit
        self._environ = environ

    def __contains__(self, line: object) -> bool:
        return line in self._read()

    def add(self, line: str) -> None:
        """Append a line."""
        with suppress(OSError, ConfigError):
            path = self._path()
            with locked_directory(path.parent):
                lines = [*self._read(), line][-self._limit :]
                write_private(path, "".join(f"{one}\n" for one in lines).encode())

    def _read(self) -> list[str]:
        try:
            return read_bounded(self._path()).decode("utf-8").splitlines()
        except (OSError, ValueError, ConfigError):
            return []

    def _path(self) -> Path:
        return state_dir(self._environ) / self._name
