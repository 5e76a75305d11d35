"""Output of an import: problems, outcomes, and the summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.formats.importer import ImportReport
from omniagent_cli.ui.views import counted, quoted

_MAX_REPORTED = 20


@contextmanager
def interruption_note(context: Context) -> Iterator[None]:
    """Print on Ctrl-C that complete sessions are imported."""
    try:
        yield
    except KeyboardInterrupt:
        context.terminal.note(
            "Interrupted; complete sessions were imported. Import again to add the rest"
        )
        raise


def print_report(context: Context, report: ImportReport, *, dry_run: bool) -> None:
    """Print the problems and the summary of an import; with ``--verbose``, each session."""
    terminal = context.terminal
    for problem in report.problems[:_MAX_REPORTED]:
        terminal.warn(f"{problem.location}: {problem.text}")
    if report.problem_count > _MAX_REPORTED:
        terminal.warn(f"and {counted(report.problem_count - _MAX_REPORTED, 'problem')} more")
    for outcome in report.sessions:
        words = f"{quoted(outcome.session_id)} {outcome.action}"
        line = f"{words}: {outcome.reason}" if outcome.reason else words
        if outcome.action == "refused":
            terminal.warn(f"{line}; see --on-conflict")
        else:
            terminal.detail(line)
    terminal.note(_summary(report, dry_run=dry_run))
    if report.left_out:
        kinds = (counted(number, kind) for kind, number in sorted(report.left_out.items()))
        terminal.note(f"Left out: {', '.join(kinds)}")


def _summary(report: ImportReport, *, dry_run: bool) -> str:
    counts = [
        f"{word} {counted(number, 'session')}"
        for word, number in (
            ("imported", report.imported),
            ("continued", report.merged),
            ("skipped", report.skipped),
            ("refused", report.refused),
        )
        if number
    ]
    summary = ", ".join(counts) or "imported nothing"
    summary += f" ({counted(report.messages, 'message')})" if report.messages else ""
    return f"Dry run: would have {summary}" if dry_run else summary.capitalize()


def report_record(name: str, report: ImportReport) -> dict[str, Any]:
    """Return the report of a file for ``--json``."""
    return {
        "file": name,
        "format": report.format_name,
        "imported": report.imported,
        "merged": report.merged,
        "skipped": report.skipped,
        "refused": report.refused,
        "messages": report.messages,
        "left_out": dict(sorted(report.left_out.items())),
        "sessions": [
            {
                "id": outcome.session_id,
                "action": outcome.action,
                "messages": outcome.messages,
                "reason": outcome.reason,
            }
            for outcome in report.sessions
        ],
        "problems": [{"place": place, "problem": text} for place, text in report.problems],
    }
