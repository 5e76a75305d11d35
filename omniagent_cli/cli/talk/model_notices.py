"""Notices about a model that are shown once: its shutdown, and the extra that supports more features of its provider."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from omniagent_cli.agent.models.discovery import ModelChoice
from omniagent_cli.agent.models.providers import PROVIDERS, native_installed
from omniagent_cli.config.remembered_lines import RememberedLines
from omniagent_cli.config.settings import Settings

_LIMIT = 1000


class ModelNotices:
    """The notices of one run about its model.

    Args:
        settings: the settings.
        tell: prints a line.
    """

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self._shown = RememberedLines("shown-notices", _LIMIT, settings.environ)
        self._tell = tell

    def warn_of_shutdown(self, session_id: str, warning: str) -> None:
        """Print the result of `shutdown_warning`, unless it is empty, once per session."""
        if warning:
            self._once(session_id, warning.partition(";")[0], text=warning)

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
            self._once("extra", provider.name, text=text)

    def _once(self, *about: str, text: str) -> None:
        """Print a line unless one about the same subject was printed before; subjects are stored as hashes."""
        line = hashlib.sha256("\0".join(about).encode("utf-8", "replace")).hexdigest()[:32]
        if line not in self._shown:
            self._tell(text)
            self._shown.add(line)
