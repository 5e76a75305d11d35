"""The prompt history: typed lines, kept between runs in a private file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.history import FileHistory

from omniagent_cli.durations import utc_now
from omniagent_cli.private_files import make_private_directory


class PrivateHistory(FileHistory):
    """A history file in prompt-toolkit's form; each entry is one write, so that two chats can share it.

    A history that cannot be read or written is not an error: the chat works without it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """Return the entries, newest first."""
        try:
            return super().load_history_strings()
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        """Append an entry in one write."""
        lines = "".join(f"+{line}\n" for line in string.split("\n"))
        entry = f"\n# {utc_now().isoformat()}\n{lines}"
        with suppress(OSError):
            make_private_directory(self._path.parent)
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.name == "posix":
                    os.fchmod(handle, 0o600)  # also a file created by another version
                os.write(handle, entry.encode("utf-8", "replace"))
            finally:
                os.close(handle)
