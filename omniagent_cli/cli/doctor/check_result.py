"""The finding of a check, and the context of checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.config.settings import Settings

OK, INFO, WARNING, PROBLEM = "ok", "info", "warning", "problem"


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        state: ``ok``, ``info`` (optional and not there, or not checked), ``warning`` (it works, but may not be as intended) or
            ``problem`` (it does not work).
        what: one line that describes it.
        do: the remedy; empty if there is nothing to do.
    """

    state: str
    what: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The context of the checks.

    Attributes:
        settings: the settings; None if they cannot be read.
        offline: make no request beyond this machine.
        deep: include checks that are slow or start other programs.
    """

    context: Context
    settings: Settings | None
    offline: bool = False
    deep: bool = False


Check = Callable[[CheckContext], Iterable[Finding]]


def format_finding(error: Exception, state: str = PROBLEM) -> Finding:
    """Return the finding for an OmniAgentError, whose message has the form ``problem; remedy``."""
    what, _, do = str(error).rpartition("; ")
    return Finding(state, what, do) if what else Finding(state, do)
