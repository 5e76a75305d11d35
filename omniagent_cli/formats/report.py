"""Import report: one outcome per session, and the problems found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from omniagent_cli.formats.types import Problem

MAX_REPORTED = 10_000
"""Limit of stored problems and outcomes; the counts are not limited."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome for one session of an import.

    Attributes:
        session_id: its id in the store.
        action: ``imported``, ``renamed``, ``replaced``, ``merged``, ``skipped`` or ``refused``.
        messages: number of imported messages.
        reason: explanation, if any.
    """

    session_id: str
    action: str
    messages: int = 0
    reason: str = ""


@dataclass(slots=True)
class ImportReport:
    """Result of an import, or the expected result with ``dry_run``.

    Attributes:
        sessions: one outcome per session, at most `MAX_REPORTED`.
        problems: unreadable records, at most `MAX_REPORTED`.
        problem_count: total number of problems.
        messages: total number of imported messages.
        left_out: number of omissions by kind; those of sessions with nothing new are not counted.
        stopped: the import ended early: a conflict with ``fail``, or a problem with ``strict``.
    """

    format_name: str = ""
    sessions: list[Outcome] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    problem_count: int = 0
    messages: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    stopped: bool = False

    @property
    def imported(self) -> int:
        """Number of new sessions, including renamed and replacing ones."""
        return self.counts["imported"] + self.counts["renamed"] + self.counts["replaced"]

    @property
    def merged(self) -> int:
        """Number of extended sessions."""
        return self.counts["merged"]

    @property
    def skipped(self) -> int:
        """Number of skipped sessions."""
        return self.counts["skipped"]

    @property
    def refused(self) -> int:
        """Number of sessions refused because of a conflict."""
        return self.counts["refused"]

    @property
    def ok(self) -> bool:
        """True if everything in the input is in the store now."""
        return not (self.problem_count or self.refused or self.stopped)

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a session."""
        self.counts[outcome.action] += 1
        self.messages += outcome.messages
        if len(self.sessions) < MAX_REPORTED:
            self.sessions.append(outcome)

    def add_problem(self, problem: Problem) -> None:
        """Add a problem."""
        self.problem_count += 1
        if len(self.problems) < MAX_REPORTED:
            self.problems.append(problem)
