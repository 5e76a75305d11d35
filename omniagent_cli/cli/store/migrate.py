"""`omniagent store migrate`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import FAILED
from omniagent_cli.cli.framework.options import DryRun
from omniagent_cli.errors import UsageError
from omniagent_cli.stores.transfer.migrate import MigrationReport
from omniagent_cli.stores.transfer.migrate import migrate as migrate_sessions
from omniagent_cli.ui.progress import steps_to
from omniagent_cli.ui.views import counted, quoted

_MAX_REPORTED = 20


def migrate(
    ctx: typer.Context,
    *,
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="the source store: a URL, a path, or @NAME")
    ],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="the target store: a URL, a path, or @NAME")
    ],
    id_: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...", help="full ids of sessions (default: all)", show_default=False
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="replace sessions of TO that differ; the old ones go to its trash"
        ),
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="merge sessions of TO that differ, as 'store sync' does")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Copy sessions and the trash to another store. Run it again to copy what is missing."""
    if replace and merge:
        raise UsageError("--replace and --merge exclude each other; choose one")
    context = current_context(ctx)
    with (
        contextlib.closing(context.with_store(source)) as reading,
        contextlib.closing(context.with_store(target)) as writing,
    ):
        wanted = [session_ids.resolve_for_change(reading, name) for name in id_] if id_ else None
        with _showing(context) as progress:
            report = migrate_sessions(
                reading.store,
                writing.store_to_create,
                wanted,
                on_existing="merge" if merge else "replace" if replace else "refuse",
                dry_run=dry_run,
                progress=progress,
            )
        _tell(context, report, dry_run=dry_run)
    context.directory_sessions.forget()
    if not report.ok:
        raise typer.Exit(FAILED)


@contextlib.contextmanager
def _showing(context: Context) -> Iterator[Callable[[MigrationReport], object]]:
    """Show a progress bar of messages; the total is known with the first report."""
    with contextlib.ExitStack() as stack:
        show: Callable[[int], None] | None = None

        def progress(report: MigrationReport) -> None:
            nonlocal show
            if show is None:
                bar = context.terminal.progress("migrating messages", report.total)
                show = steps_to(stack.enter_context(bar))
            show(report.seen)

        yield progress


def _tell(context: Context, report: MigrationReport, *, dry_run: bool) -> None:
    terminal = context.terminal
    for refused in report.refused[:_MAX_REPORTED]:
        terminal.warn(f"{quoted(refused.session_id)} was not copied: {refused.reason}")
    if len(report.refused) > _MAX_REPORTED:
        terminal.warn(f"and {counted(len(report.refused) - _MAX_REPORTED, 'session')} more")
    if context.json:
        terminal.json(_record(report))
    else:
        terminal.note(_summed_up(report, dry_run=dry_run))


def _summed_up(report: MigrationReport, *, dry_run: bool) -> str:
    counts = [
        f"{word} {what}"
        for word, number, what in (
            ("copied", report.copied, counted(report.copied, "session")),
            ("replaced", report.replaced, counted(report.replaced, "session")),
            ("copied", report.trash, f"{report.trash:,} of the trash"),
            ("merged", report.merged, counted(report.merged, "session")),
            ("found", report.equal, f"{counted(report.equal, 'session')} already there"),
            ("refused", len(report.refused), counted(len(report.refused), "session")),
        )
        if number
    ]
    summary = ", ".join(counts) or "nothing copied"
    summary += f" ({counted(report.messages, 'message')})" if report.messages else ""
    return f"Dry run: would have {summary}" if dry_run else summary.capitalize()


def _record(report: MigrationReport) -> dict[str, Any]:
    return {
        "copied": report.copied,
        "replaced": report.replaced,
        "merged": report.merged,
        "equal": report.equal,
        "trash": report.trash,
        "messages": report.messages,
        "refused": [
            {"id": refused.session_id, "reason": refused.reason} for refused in report.refused
        ],
    }
