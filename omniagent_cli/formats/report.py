"""What an import did: an outcome per session, and what could not be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from omniagent_cli.formats.types import Problem

MAX_REPORTED = 10_000
"""How many problems and outcomes a report holds; the counts go on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one session of an import.

    Attributes:
        session_id: the id it has here, or would have.
        action: ``imported``, ``renamed``, ``replaced``, ``merged``, ``skipped`` or ``refused``.
        messages: how many messages came in with it.
        reason: why, where that is not plain.
    """

    session_id: str
    action: str
    messages: int = 0
    reason: str = ""


@dataclass(slots=True)
class ImportReport:
    """What an import did, or with ``dry_run`` would have done.

    Attributes:
        sessions: an outcome per session, and `problems` what could not be read: the first `MAX_REPORTED` of each.
        problem_count: how many problems there were in all.
        messages: how many messages came in.
        stopped: the import ended early: ``fail`` met a conflict, or ``strict`` a problem.
    """

    format_name: str = ""
    sessions: list[Outcome] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    problem_count: int = 0
    messages: int = 0
    stopped: bool = False

    @property
    def imported(self) -> int:
        """How many sessions came in as new ones, renamed and replacing ones included."""
        return self.counts["imported"] + self.counts["renamed"] + self.counts["replaced"]

    @property
    def merged(self) -> int:
        """How many sessions here were continued."""
        return self.counts["merged"]

    @property
    def skipped(self) -> int:
        """How many sessions were known already."""
        return self.counts["skipped"]

    @property
    def refused(self) -> int:
        """How many sessions stayed out because they contradict what is here."""
        return self.counts["refused"]

    @property
    def ok(self) -> bool:
        """Whether everything in the file is here now."""
        return not (self.problem_count or self.refused or self.stopped)

    def add(self, outcome: Outcome) -> None:
        """Note what became of a session."""
        self.counts[outcome.action] += 1
        self.messages += outcome.messages
        if len(self.sessions) < MAX_REPORTED:
            self.sessions.append(outcome)

    def add_problem(self, problem: Problem) -> None:
        """Note what could not be read."""
        self.problem_count += 1
        if len(self.problems) < MAX_REPORTED:
            self.problems.append(problem)
