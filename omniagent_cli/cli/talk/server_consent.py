"""Consent to the use of local servers that were discovered automatically.

On a shared machine any user may listen on the default port of a local server, so the user is asked once before the
first message is sent to it. In scripts, where no question is possible, the server is used with a notice: continuing
with `recall` instead would give wrong results without an error.
"""

from __future__ import annotations

from collections.abc import Mapping

from omniagent_cli.agent.models.discovery import ModelChoice
from omniagent_cli.config.remembered_lines import RememberedLines
from omniagent_cli.text.sanitize import one_line

_LIMIT = 100


class ConsentStore:
    """The servers that the user allowed; if their file is unreadable, the user is asked again."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._servers = RememberedLines("local-servers", _LIMIT, environ)

    def allows(self, choice: ModelChoice) -> bool:
        """Return True if no consent is needed: the model was named, or its server is already allowed."""
        return not choice.found or _line(choice) in self._servers

    def add(self, choice: ModelChoice) -> None:
        """Store the consent to a server."""
        self._servers.add(_line(choice))


def question(choice: ModelChoice) -> str:
    """Return the question about a discovered server."""
    return f"{one_line(choice.reason)} on this machine. Use {one_line(choice.model)}?"


def _line(choice: ModelChoice) -> str:
    return f"{choice.model.partition(':')[0]}\t{choice.base_url}"
