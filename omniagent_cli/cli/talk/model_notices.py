"""Notices about a model that are shown once: its shutdown, and the extra that its provider profits from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from omniagent_cli.agent.models.discovery import ModelChoice
from omniagent_cli.agent.models.providers import PROVIDERS, native_installed
from omniagent_cli.config import Settings, state_dir
from omniagent_cli.errors import ConfigError
from omniagent_cli.private_files import locked_directory, read_bounded, write_private

_NOTICES_FILE = "shown-notices"
_NOTICES_AT_MOST = 1000


class ModelNotices:
    """The notices of one run about its model.

    Args:
        settings: the settings.
        tell: prints a line.
    """

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self._shown = ShownNotices(settings.environ)
        self._tell = tell

    def warn_of_shutdown(self, session_id: str, warning: str) -> None:
        """Print a warning of `shutdown_warning` once per session; an empty one is none."""
        if warning:
            self._shown.once(
                session_id, warning.partition(";")[0], show=lambda: self._tell(warning)
            )

    def suggest_extra(self, choice: ModelChoice) -> None:
        """Suggest the extra, once, for a provider that caches prompts only in its own protocol."""
        provider = PROVIDERS.get(choice.model.partition(":")[0])
        if provider is None or not provider.caches_on_request or choice.base_url:
            return
        if not native_installed(provider):
            text = (
                f"The extra adds {provider.title}'s prompt cache, which makes long sessions cheaper, signed thinking "
                "and PDF attachments. Install: pip install 'omniagent-cli[providers]'"
            )
            self._shown.once("extra", provider.name, show=lambda: self._tell(text))


class ShownNotices:
    """The notices that are shown once, such as a warning for a session, as hashes in a private file."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def once(self, *about: str, show: Callable[[], None]) -> None:
        """Call `show` unless it was called for the same subject before."""
        line = hashlib.sha256("\0".join(about).encode("utf-8", "replace")).hexdigest()[:32]
        if line in self._lines():
            return
        show()
        try:
            path = self._path()
            with locked_directory(path.parent):
                lines = [*self._lines(), line][-_NOTICES_AT_MOST:]
                write_private(path, "".join(f"{one}\n" for one in lines).encode())
        except (OSError, ConfigError):
            return  # a read-only home shows it each time

    def _lines(self) -> list[str]:
        try:
            return read_bounded(self._path()).decode("utf-8").splitlines()
        except (OSError, ValueError, ConfigError):
            return []

    def _path(self) -> Path:
        return state_dir(self._environ) / _NOTICES_FILE
