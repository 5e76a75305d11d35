"""Consent to the use of local servers that were discovered automatically.

On a shared machine any user may listen on the default port of a local server, so the user is asked once before the
first message is sent to it. In scripts, where no question is possible, the server is used with a notice: continuing
with `recall` instead would give wrong results without an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omniagent_cli.agent.models.discovery import ModelChoice
from omniagent_cli.config import state_dir
from omniagent_cli.errors import ConfigError
from omniagent_cli.private_files import locked_directory, read_bounded, write_private
from omniagent_cli.text.sanitize import one_line

_FILE_NAME = "local-servers"
_AT_MOST = 100


class ConsentStore:
    """The servers that the user allowed, in a private file; if it is unreadable, the user is asked again."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def allows(self, choice: ModelChoice) -> bool:
        """Return True if no consent is needed: the model was named, or its server is already allowed."""
        return not choice.found or _line(choice) in self._lines()

    def add(self, choice: ModelChoice) -> None:
        """Store the consent to a server."""
        try:
            path = self._path()
            with locked_directory(path.parent):
                lines = [*self._lines(), _line(choice)][-_AT_MOST:]
                write_private(path, "".join(f"{line}\n" for line in lines).encode())
        except ConfigError:
            return

    def _lines(self) -> list[str]:
        try:
            return read_bounded(self._path()).decode("utf-8").splitlines()
        except (OSError, ValueError, ConfigError):
            return []

    def _path(self) -> Path:
        return state_dir(self._environ) / _FILE_NAME


def question(choice: ModelChoice) -> str:
    """Return the question about a discovered server."""
    return f"{one_line(choice.reason)} on this machine. Use {one_line(choice.model)}?"


def _line(choice: ModelChoice) -> str:
    return f"{choice.model.partition(':')[0]}\t{choice.base_url}"
