"""`omniagent sessions import`."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Annotated, Any, BinaryIO, cast

import typer

from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import FAILED
from omniagent_cli.cli.framework.options import DryRun, Yes, completed_by
from omniagent_cli.cli.sessions.import_found import FoundFiles
from omniagent_cli.cli.sessions.import_report import interruption_note, print_report, report_record
from omniagent_cli.errors import UsageError
from omniagent_cli.formats import imported_formats, open_importer
from omniagent_cli.formats.importer import CONFLICTS, ImportReport, import_path, import_stream
from omniagent_cli.formats.input_sources import files_under
from omniagent_cli.parsing import alternatives
from omniagent_cli.stores import SessionStore
from omniagent_cli.ui.progress import steps_to

_FORMATS = ("auto", *imported_formats())


def import_(
    ctx: typer.Context,
    *,
    file: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="files or directories to read; - is stdin"),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=", ".join(_FORMATS),
            **completed_by(_FORMATS),
        ),
    ] = "auto",
    as_id: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NEW", help="id for the imported session; the file must contain one"
        ),
    ] = None,
    on_conflict: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help=f"if a session exists and differs: {alternatives(CONFLICTS)}",
            **completed_by(CONFLICTS),
        ),
    ] = None,
    dry_run: DryRun = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="import nothing if any record is invalid")
    ] = False,
    branches: Annotated[
        bool,
        typer.Option(
            "--branches", help="also import edited and regenerated branches, as separate sessions"
        ),
    ] = False,
    discover: Annotated[
        bool,
        typer.Option("--discover", help="find histories of other tools on this machine"),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="keep importing what is new until Ctrl-C"),
    ] = False,
    yes: Yes = False,
) -> None:
    """Import sessions from files or stdin. Importing a file twice changes nothing."""
    context = current_context(ctx)
    if format_ != "auto":
        open_importer(format_)
    if discover == bool(file):
        raise UsageError("no files given; name them, or use --discover")
    if as_id is not None and (discover or watch or len(file or ()) > 1):
        raise UsageError("--as needs exactly one file")
    how: dict[str, Any] = {
        "format_name": format_,
        "as_id": None if as_id is None else session_ids.parse_session_id(as_id),
        "on_conflict": on_conflict,
        "dry_run": dry_run,
        "strict": strict,
        "branches": branches,
    }
    if discover or watch:
        if watch and dry_run:
            raise UsageError("use either --watch or --dry-run, not both")
        del how["as_id"]
        source = FoundFiles(context, how, file, yes=yes)
        reports = source.watch() if watch else source.import_once()
    else:
        reports = _import_named(context, file or [], how)
    if not dry_run:
        context.directory_sessions.forget()
    if context.json and (reports or not discover):
        context.terminal.json([report_record(name, report) for name, report in reports])
    if not all(report.ok for _, report in reports):
        raise typer.Exit(FAILED)


def _import_named(
    context: Context, names: list[str], how: dict[str, Any]
) -> list[tuple[str, ImportReport]]:
    reports = []
    store = context.store if how["dry_run"] else context.store_to_create
    for name in names:
        with interruption_note(context):
            report = _imported(context, store, name, how)
        reports.append((name, report))
        print_report(context, report, dry_run=how["dry_run"])
    return reports


def _imported(
    context: Context, store: SessionStore, name: str, how: dict[str, Any]
) -> ImportReport:
    with context.terminal.progress(f"reading {name}", _size(name), steps="bytes") as advance:
        steps = steps_to(advance)
        if name == "-":
            return import_stream(store, _stdin(context), name="stdin", progress=steps, **how)
        return import_path(store, Path(name), name=name, progress=steps, **how)


def _stdin(context: Context) -> BinaryIO:
    if context.terminal.reads_terminal:
        raise UsageError("stdin is a terminal; name a file, or pipe one in")
    stdin = context.terminal.stdin or sys.stdin
    if stdin is None:  # closed before the start
        raise UsageError("stdin is closed; name a file, or pipe one in")
    return cast("BinaryIO", stdin.buffer)


def _size(name: str) -> int | None:
    """Return the number of bytes to read, or None if unknown."""
    if name == "-":
        return None
    try:
        path = Path(name)
        if path.is_dir():
            return sum(file.stat().st_size for file in files_under(path))
        status = path.stat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
