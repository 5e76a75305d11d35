"""One thing that was looked at, and how it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.config import Settings

OK, WARNING, PROBLEM = "ok", "warning", "problem"


class Finding(NamedTuple):
    """What was found.

    Attributes:
        state: ``ok``, ``warning`` (it works, and might not be as wanted) or ``problem`` (something does not work).
        what: a line about it.
        do: what to do about it; empty when there is nothing.
    """

    state: str
    what: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at.

    Attributes:
        settings: None when they cannot be read.
        offline: ask nobody but this machine.
        deep: also what takes long or starts programs of others.
    """

    context: Context
    settings: Settings | None
    offline: bool = False
    deep: bool = False


Check = Callable[[Patient], Iterable[Finding]]


def told(error: Exception, state: str = PROBLEM) -> Finding:
    """Return a finding of an error of ours, whose message says what is wrong and then what to do."""
    what, _, do = str(error).rpartition("; ")
    return Finding(state, what, do) if what else Finding(state, do)
