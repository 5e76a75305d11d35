"""`omniagent store sync`, the far side of it, `serve-sync`, and `merge-driver`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import FAILED
from omniagent_cli.cli.framework.options import DryRun
from omniagent_cli.errors import StoreNotFound, UsageError
from omniagent_cli.stores.sync.carrier import sync_directory
from omniagent_cli.stores.sync.driver import SessionChange, SyncReport, sync_with
from omniagent_cli.stores.sync.driver import sync as sync_stores
from omniagent_cli.stores.sync.ssh import SCHEME, connect
from omniagent_cli.text.sanitize import plain_field
from omniagent_cli.ui.progress import steps_to
from omniagent_cli.ui.sync_report import sync_summary
from omniagent_cli.ui.views import counted, quoted


def sync(
    ctx: typer.Context,
    *,
    other: Annotated[
        str,
        typer.Argument(
            metavar="OTHER",
            help="a store (URL, path, @NAME), ssh://[USER@]HOST[:PORT][/STORE], or a directory",
        ),
    ],
    pull: Annotated[bool, typer.Option("--pull", help="only change this store")] = False,
    push: Annotated[bool, typer.Option("--push", help="only change OTHER")] = False,
    remote_program: Annotated[
        str,
        typer.Option("--remote-program", metavar="PATH", help="omniagent on the other machine"),
    ] = "omniagent",
    dry_run: DryRun = False,
) -> None:
    """Bring this store and another one to the same content. Run it again to continue."""
    if pull and push:
        raise UsageError("--pull and --push exclude each other; without them, both stores change")
    context = current_context(ctx)
    options: dict[str, Any] = {"dry_run": dry_run, "pull": not push, "push": not pull}
    with _showing(context) as progress:
        report = sync_other(context, other, program=remote_program, progress=progress, **options)
    _print(context, report, dry_run=dry_run)
    if not report.ok:
        raise typer.Exit(FAILED)


def sync_other(
    context: Context,
    other: str,
    *,
    program: str = "omniagent",
    batch: bool = False,
    **options: Any,
) -> SyncReport:
    """Synchronize the store of a context with another one.

    Args:
        context: the context.
        other: the other store, as on the command line.
        program: omniagent on the other machine.
        batch: ask nothing, because a chat has the terminal.
        options: as for `sync_with`.
    """
    report = _sync_other(context, other, program=program, batch=batch, **options)
    if any(one.status == "new here" or one.renamed_from for one in report.changes):
        context.directory_sessions.forget()
    return report


def _sync_other(
    context: Context, other: str, *, program: str, batch: bool, **options: Any
) -> SyncReport:
    if other.startswith(SCHEME):
        with connect(other, program=program, batch=batch) as peer:
            return sync_with(context.store_to_create, peer, **options)
    _check_exists(other, context.cwd)
    if is_meeting_place(other, context.cwd):
        directory = context.cwd / Path(other).expanduser()
        return sync_directory(context.store_to_create, directory, **options)
    with contextlib.closing(context.with_store(other)) as opened:
        return sync_stores(context.store_to_create, opened.store_to_create, **options)


def _check_exists(other: str, cwd: Path) -> None:
    """Refuse a directory that does not exist, such as that of a disk that is not mounted, rather than create a store there."""
    is_path = not other.startswith("@") and ":" not in other
    path = cwd / Path(other).expanduser()
    if is_path and not path.suffix and not path.exists():
        raise StoreNotFound(
            f"no store or directory at {path}; create the directory, or write a URL to create a store: file://{path}"
        )


def is_meeting_place(other: str, cwd: Path) -> bool:
    """Return True if OTHER is an existing directory that is not a JSON-file store, such as a fresh clone of one."""
    path = cwd / Path(other).expanduser()
    if not path.is_dir() or (path / ".omniagent").exists():
        return False
    return not any(map(_is_session_log, path.glob("*.jsonl")))


def _is_session_log(path: Path) -> bool:
    start = b'{"format":"omniagent-session"'
    with path.open("rb") as file:
        return file.read(len(start)) == start


def merge_driver(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="the common version (%O)")],
    ours: Annotated[Path, typer.Argument(metavar="OURS", help="our version (%A), replaced")],
    theirs: Annotated[Path, typer.Argument(metavar="THEIRS", help="the other version (%B)")],
) -> None:
    """Merge two versions of a file of a JSON-file store, for git. Exit code 1 if they conflict."""
    from omniagent_cli.stores.backends.jsonl.merge_driver import merge_files

    del base  # a merge by ids and stamps needs no common version
    if not merge_files(ours, theirs):
        raise typer.Exit(FAILED)


def serve_sync(ctx: typer.Context) -> None:
    """Answer `omniagent store sync` of another machine on stdin and stdout."""
    from omniagent_cli.stores.sync.remote import serve

    context = current_context(ctx)
    try:
        serve(context.store_to_create, sys.stdin.buffer, sys.stdout.buffer)
    finally:
        context.directory_sessions.forget()


@contextlib.contextmanager
def _showing(context: Context) -> Iterator[Callable[[SyncReport], object]]:
    """Show a progress bar of sessions; the total is known with the first report."""
    with contextlib.ExitStack() as stack:
        show: Callable[[int], None] | None = None

        def progress(report: SyncReport) -> None:
            nonlocal show
            if show is None:
                bar = context.terminal.progress("synchronizing sessions", report.total)
                show = steps_to(stack.enter_context(bar))
            show(report.seen)

        yield progress


def _print(context: Context, report: SyncReport, *, dry_run: bool) -> None:
    terminal = context.terminal
    for note in report.notes:
        terminal.note(note[0].upper() + note[1:])
    for session_id, reason in report.refused:
        terminal.warn(f"{quoted(session_id)} was not synchronized: {reason}")
    if context.json:
        terminal.json(_record(report))
        return
    for change in report.changes:
        terminal.fields([plain_field(change.session_id), plain_field(_describe(change))])
    terminal.note(sync_summary(report, dry_run=dry_run))


def _describe(change: SessionChange) -> str:
    parts = [] if change.status == "changed" else [change.status]
    if change.renamed_from:
        parts.append(f"renamed from {change.renamed_from}")
    for number, what in (
        (change.received, "received"),
        (change.sent, "sent"),
        (change.removed_here, "removed here"),
        (change.removed_there, "removed there"),
    ):
        if number:
            parts.append(f"{counted(number, 'message')} {what}")
    if change.restored:
        parts.append("brought back by messages written after its deletion")
    return ", ".join(parts) or "title, tags or metadata"


def _record(report: SyncReport) -> dict[str, Any]:
    return {
        "sessions": [
            {
                "id": change.session_id,
                "status": change.status,
                "renamed_from": change.renamed_from or None,
                "received": change.received,
                "sent": change.sent,
                "removed_here": change.removed_here,
                "removed_there": change.removed_there,
                "restored": change.restored,
            }
            for change in report.changes
        ],
        "refused": [{"id": name, "reason": reason} for name, reason in report.refused],
        "notes": report.notes,
    }
