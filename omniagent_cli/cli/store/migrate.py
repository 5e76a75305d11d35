"""`omniagent store migrate`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from omniagent_cli.cli.framework import session_ids as ids
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import FAILED
from omniagent_cli.cli.framework.options import DryRun
from omniagent_cli.errors import StoreUnreachable
from omniagent_cli.stores.transfer.migrate import MigrationReport
from omniagent_cli.stores.transfer.migrate import migrate as migrate_sessions
from omniagent_cli.ui.views import counted, quoted

_TOLD_AT_MOST = 20


def migrate(
    ctx: typer.Context,
    *,
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="the store to read: a URL, a path, or @NAME")
    ],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="the store to write: a URL, a path, or @NAME")
    ],
    id_: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...", help="sessions' whole ids; without any, all", show_default=False
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="put a session of TO that differs in its trash, and take FROM's"
        ),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Copy sessions, and what can be restored, into another store. Running it again copies what is missing."""
    context = current_context(ctx)
    with (
        contextlib.closing(context.with_store(source)) as reading,
        contextlib.closing(context.with_store(target)) as writing,
    ):
        _check_there(reading)
        wanted = [ids.to_change(reading, name) for name in id_] if id_ else None
        with _showing(context) as progress:
            report = migrate_sessions(
                reading.store,
                writing.store_to_create,
                wanted,
                on_existing="replace" if replace else "refuse",
                dry_run=dry_run,
                progress=progress,
            )
        _tell(context, report, dry_run=dry_run)
    if not report.ok:
        raise typer.Exit(FAILED)


def _check_there(context: Context) -> None:
    """Refuse a local store that is not there; elsewhere it reads as an empty one, here it was mistyped."""
    location = context.store_choice.location
    if location.is_local and not os.path.exists(location.files()[0]):  # noqa: PTH110  # pathlib's raises where nobody may look
        raise StoreUnreachable(
            f"there is no store {context.store_choice.shown} to migrate from; check how it is written"
        )


@contextlib.contextmanager
def _showing(context: Context) -> Iterator[Callable[[MigrationReport], object]]:
    """Show a bar of messages; how many there are is known with the first report."""
    with contextlib.ExitStack() as stack:
        advance: Callable[[int], None] | None = None
        seen = 0

        def progress(report: MigrationReport) -> None:
            nonlocal advance, seen
            if advance is None:
                bar = context.terminal.progress("migrating messages", report.total)
                advance = stack.enter_context(bar)
            advance(report.seen - seen)
            seen = report.seen

        yield progress


def _tell(context: Context, report: MigrationReport, *, dry_run: bool) -> None:
    terminal = context.terminal
    for refused in report.refused[:_TOLD_AT_MOST]:
        terminal.warn(f"{quoted(refused.session_id)} was not copied: {refused.reason}")
    if len(report.refused) > _TOLD_AT_MOST:
        terminal.warn(f"and {counted(len(report.refused) - _TOLD_AT_MOST, 'session')} more")
    if context.json:
        terminal.json(_record(report))
    else:
        terminal.note(_summed_up(report, dry_run=dry_run))


def _summed_up(report: MigrationReport, *, dry_run: bool) -> str:
    counts = [
        f"{word} {told}"
        for word, number, told in (
            ("copied", report.copied, counted(report.copied, "session")),
            ("replaced", report.replaced, counted(report.replaced, "session")),
            ("copied", report.trash, f"{report.trash:,} of the trash"),
            ("found", report.equal, f"{counted(report.equal, 'session')} there already"),
            ("refused", len(report.refused), counted(len(report.refused), "session")),
        )
        if number
    ]
    told = ", ".join(counts) or "copied nothing"
    told += f" ({counted(report.messages, 'message')})" if report.messages else ""
    return f"this would have {told}" if dry_run else told


def _record(report: MigrationReport) -> dict[str, Any]:
    return {
        "copied": report.copied,
        "replaced": report.replaced,
        "equal": report.equal,
        "trash": report.trash,
        "messages": report.messages,
        "refused": [{"id": told.session_id, "reason": told.reason} for told in report.refused],
    }
