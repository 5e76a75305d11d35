"""`omniagent sessions export` and `import`."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO, cast

import typer

from omniagent_cli.cli import ids
from omniagent_cli.cli.context import Context, running
from omniagent_cli.cli.exits import FAILED
from omniagent_cli.cli.options import DryRun
from omniagent_cli.errors import FormatError, OmniAgentError, UsageError
from omniagent_cli.formats import FORMATS, exporter, importer
from omniagent_cli.formats.transfer import (
    CONFLICTS,
    ExportReport,
    ImportReport,
    export_sessions,
    import_stream,
)
from omniagent_cli.ui.views import counted, quoted

Write = Callable[[bytes], object]
_TOLD_AT_MOST = 20


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
        bool, typer.Option("--all", help="all sessions, archived ones too")
    ] = False,
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
    if bool(id_) == everything:
        raise UsageError("give either ids to export or --all")
    format_name = format_ or _format_for(output, many=everything or len(id_ or ()) > 1)
    exporter(format_name)
    wanted: Iterable[str]
    if everything:
        wanted = iter([summary.id for summary in context.store.list(archived=None)])
    else:
        wanted = list(dict.fromkeys(ids.to_read(context, name) for name in id_ or ()))
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


def import_(
    ctx: typer.Context,
    *,
    file: Annotated[list[str], typer.Argument(metavar="FILE...", help="files to read; - is stdin")],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"auto, {', '.join(row.name for row in FORMATS.values() if row.can_import)}",
        ),
    ] = "auto",
    as_id: Annotated[
        str | None, typer.Option("--as", metavar="NEW", help="the id to give to the one session")
    ] = None,
    on_conflict: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help=f"for a session that is here and differs: {', '.join(CONFLICTS[:-1])} or {CONFLICTS[-1]}",
        ),
    ] = None,
    dry_run: DryRun = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="take nothing when anything is wrong")
    ] = False,
) -> None:
    """Read sessions from files or stdin. Importing twice changes nothing."""
    context = running(ctx)
    if format_ != "auto":
        importer(format_)
    if as_id is not None and len(file) > 1:
        raise UsageError("--as names one session; import the files one by one")
    reports = []
    for name in file:
        with (
            _opened(context, name) as stream,
            context.terminal.progress(f"reading {name}", _size(stream)) as advance,
        ):
            report = import_stream(
                context.store if dry_run else context.store_to_create,
                stream,
                name="stdin" if name == "-" else name,
                format_name=format_,
                as_id=None if as_id is None else ids.named(as_id),
                on_conflict=on_conflict,
                dry_run=dry_run,
                strict=strict,
                progress=_steps(advance),
            )
        reports.append((name, report))
        _tell_import(context, report, dry_run=dry_run)
    if context.json:
        context.terminal.json([_report_record(name, report) for name, report in reports])
    if not all(report.ok for _, report in reports):
        raise typer.Exit(FAILED)


@contextlib.contextmanager
def _opened(context: Context, name: str) -> Iterator[BinaryIO]:
    if name == "-":
        if context.terminal.reads_terminal:
            raise UsageError("nothing is piped to stdin; name a file, or pipe one in")
        yield cast("BinaryIO", getattr(context.terminal.stdin, "buffer", sys.stdin.buffer))
        return
    try:
        stream = Path(name).open("rb")  # noqa: SIM115  # closed below; what goes wrong inside is not about opening
    except OSError as error:
        raise FormatError(
            f"it cannot be read: {error.strerror}; name a file that can", place=name
        ) from error
    with stream:
        yield stream


def _size(stream: BinaryIO) -> int | None:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _steps(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Turn how far it is into how far it went."""
    before = 0

    def progress(consumed: int) -> None:
        nonlocal before
        advance(consumed - before)
        before = consumed

    return progress


def _tell_import(context: Context, report: ImportReport, *, dry_run: bool) -> None:
    terminal = context.terminal
    for problem in report.problems[:_TOLD_AT_MOST]:
        terminal.warn(f"{problem.place}: {problem.text}")
    if report.problem_count > _TOLD_AT_MOST:
        terminal.warn(f"and {counted(report.problem_count - _TOLD_AT_MOST, 'problem')} more")
    for outcome in report.sessions:
        words = f"{quoted(outcome.session_id)} {outcome.action}"
        told = f"{words}: {outcome.reason}" if outcome.reason else words
        if outcome.action == "refused":
            terminal.warn(f"{told}; see --on-conflict")
        else:
            terminal.detail(told)
    terminal.note(_summed_up(report, dry_run=dry_run))


def _summed_up(report: ImportReport, *, dry_run: bool) -> str:
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
    told = ", ".join(counts) or "imported nothing"
    told += f" ({counted(report.messages, 'message')})" if report.messages else ""
    return f"this would have {told}" if dry_run else told


def _report_record(name: str, report: ImportReport) -> dict[str, Any]:
    return {
        "file": name,
        "format": report.format_name,
        "imported": report.imported,
        "merged": report.merged,
        "skipped": report.skipped,
        "refused": report.refused,
        "messages": report.messages,
        "sessions": [
            {
                "id": outcome.session_id,
                "action": outcome.action,
                "messages": outcome.messages,
                "reason": outcome.reason,
            }
            for outcome in report.sessions
        ],
        "problems": [_problem_record(problem) for problem in report.problems],
    }


def _problem_record(problem: Sequence[str]) -> dict[str, str]:
    place, text = problem
    return {"place": place, "problem": text}
