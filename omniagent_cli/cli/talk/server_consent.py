"""Which servers on this machine a person agreed to talk with.

A server that nobody named was only found on its usual port, and on a machine with several people anybody may listen
there. So the person is asked once before the first word goes to it. Where nobody can be asked, in scripts, it is used
and named in a note: a script that went on with `recall` instead would be wrong without failing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omniagent_cli.agent.models.discovery import Choice
from omniagent_cli.config import state_dir
from omniagent_cli.errors import ConfigError
from omniagent_cli.private_files import locked_directory, read_bounded, write_private
from omniagent_cli.text.sanitize import one_line

_FILE_NAME = "local-servers"
_AT_MOST = 100


class Agreed:
    """The servers a person agreed to, in a private file; one that cannot be read or written costs a question."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def knows(self, choice: Choice) -> bool:
        """Tell whether nobody has to be asked: somebody named this model, or agreed to its server before."""
        return not choice.found or _line(choice) in self._lines()

    def add(self, choice: Choice) -> None:
        """Note that the person agreed."""
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


def question(choice: Choice) -> str:
    """Return what a person is asked about a server that was found."""
    return f"{one_line(choice.reason)}, on this machine. Let {one_line(choice.model)} answer?"


def _line(choice: Choice) -> str:
    return f"{choice.model.partition(':')[0]}\t{choice.base_url}"
