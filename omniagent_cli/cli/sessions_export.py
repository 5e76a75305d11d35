"""`omniagent sessions export`."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from omniagent_cli.cli import ids
from omniagent_cli.cli.context import Context, running
from omniagent_cli.cli.exits import FAILED
from omniagent_cli.cli.options import WHICH
from omniagent_cli.cli.stdin_ids import FromStdin, Null, named_and_piped
from omniagent_cli.errors import OmniAgentError, UsageError
from omniagent_cli.formats import FORMATS, exporter
from omniagent_cli.formats.transfer import ExportReport, export_sessions
from omniagent_cli.ui.views import counted, quoted

Write = Callable[[bytes], object]


class FileFailed(OmniAgentError):
    """A file to write cannot be written; what it held before is untouched."""


def export(
    ctx: typer.Context,
    *,
    id_: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...", help="sessions: ids, beginnings of ids, or @", show_default=False
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="all sessions, archived ones too", rich_help_panel=WHICH),
    ] = False,
    stdin: FromStdin = False,
    null: Null = False,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{', '.join(row.name for row in FORMATS.values() if row.can_export)}; without it, told from FILE's ending",
        ),
    ] = None,
    redact: Annotated[
        bool,
        typer.Option("--redact", help="mask what looks like a key, token or password; best effort"),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="write here instead of stdout"),
    ] = None,
) -> None:
    """Write sessions in a format of your choice."""
    context = running(ctx)
    if (bool(id_) or stdin) == everything:
        raise UsageError("give either ids to export or --all")
    named = named_and_piped(context, id_, stdin=stdin, null=null)
    format_name = format_ or _format_for(output, many=everything or stdin or len(named) > 1)
    exporter(format_name)
    wanted: Iterable[str]
    if everything:
        wanted = iter([summary.id for summary in context.store.list(archived=None)])
    else:
        wanted = list(dict.fromkeys(ids.to_read(context, name) for name in named))
    with _destination(context, output) as write, _counting(context, output) as progress:
        report = export_sessions(
            context.store, wanted, format_name, write, redact=redact, progress=progress
        )
    _tell_export(context, report, redact=redact)


def _format_for(output: Path | None, *, many: bool) -> str:
    if output is not None:
        for row in FORMATS.values():
            if row.can_export and output.suffix.lower() == row.suffixes[0]:
                return row.name
    return "jsonl" if many else "json"


@contextlib.contextmanager
def _destination(context: Context, output: Path | None) -> Iterator[Write]:
    if output is None or str(output) == "-":
        yield context.terminal.write_bytes
        return
    with _written(output) as file:
        yield file.write


@contextlib.contextmanager
def _written(output: Path) -> Iterator[BinaryIO]:
    """Give a file that takes the name, private and whole, only when everything went well."""
    try:
        mode = output.stat().st_mode if output.exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise FileFailed(f"{output} is a directory; name the file to write")
        if not stat.S_ISREG(mode):  # /dev/null, a named pipe
            with output.open("wb") as special:
                yield special
            return
        target = Path(os.path.realpath(output))
        with (
            tempfile.NamedTemporaryFile(  # made 0600
                dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".tmp", delete=False
            ) as file
        ):
            try:
                yield cast("BinaryIO", file)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise FileFailed(
            f"cannot write {output}: {error.strerror or error}; nothing was left there"
        ) from error


@contextlib.contextmanager
def _counting(
    context: Context, output: Path | None
) -> Iterator[Callable[[ExportReport], object] | None]:
    if output is None and context.terminal.is_terminal:
        yield None
        return
    seen = 0
    with context.terminal.progress("exporting messages") as advance:

        def progress(report: ExportReport) -> None:
            nonlocal seen
            advance(report.messages - seen)
            seen = report.messages

        yield progress


def _tell_export(context: Context, report: ExportReport, *, redact: bool) -> None:
    terminal = context.terminal
    terminal.flush()
    terminal.detail(
        f"exported {counted(report.sessions, 'session')}, {counted(report.messages, 'message')}"
    )
    if redact:
        found = ", ".join(f"{kind} {number}" for kind, number in sorted(report.redactions.items()))
        terminal.note(f"masked: {found or 'nothing'}")
    if report.left_out:
        terminal.note(f"left out {counted(report.left_out, 'attachment')}, which cannot be masked")
    for session_id in report.missing:
        terminal.warn(f"{quoted(session_id)} was removed while the export ran")
    if report.missing:
        raise typer.Exit(FAILED)
