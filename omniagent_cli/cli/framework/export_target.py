"""Target of an export: stdout, a file, or a directory with one file per session."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import typer

from omniagent_cli.cli.framework.confirmation import confirm
from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.framework.exits import FAILED
from omniagent_cli.config.exported_files import ExportedFiles
from omniagent_cli.errors import OmniAgentError, SessionNotFound, UsageError
from omniagent_cli.formats import FORMATS, open_exporter
from omniagent_cli.formats.exporter import ExportReport, export_sessions
from omniagent_cli.formats.file_names import file_name
from omniagent_cli.json_format import format_time
from omniagent_cli.text.sanitize import plain_field
from omniagent_cli.ui.progress import steps_to
from omniagent_cli.ui.views import counted, quoted

Write = Callable[[bytes], object]


class FileFailed(OmniAgentError):
    """A file cannot be written; its previous content is unchanged."""


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """Format, target and options of an export.

    Attributes:
        format_name: a key of `FORMATS`; None derives it from the suffix of `output`.
        output: a file or a directory; None and ``-`` are stdout.
        redact: whether secrets are masked.
        only: roles of the exported messages; None for all.
        front_matter: whether the file starts with metadata.
        yes: whether files that no export wrote are replaced without a question.
    """

    format_name: str | None = None
    output: Path | None = None
    redact: bool = False
    only: Collection[str] | None = None
    front_matter: bool = False
    yes: bool = False

    @property
    def to_stdout(self) -> bool:
        """True if the export is written to stdout."""
        return self.output is None or str(self.output) == "-"

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `export_sessions`."""
        return {"redact": self.redact, "only": self.only, "front_matter": self.front_matter}


def is_folder(given: str | None) -> bool:
    """Return True if a path means a directory: it ends with a slash, or is one."""
    if given is None or given == "-":
        return False
    try:
        return given.endswith(("/", os.sep)) or Path(given).is_dir()
    except OSError:
        return False  # an impossible name, which writing reports


def write(context: Context, ids: Iterable[str], target: ExportTarget, *, many: bool) -> None:
    """Write sessions to stdout or into one file.

    Args:
        context: the context of the command.
        ids: ids of the sessions; see `export_sessions`.
        target: the target.
        many: whether there may be several sessions.

    Raises:
        UsageError: the format does not exist.
        FileFailed: the file cannot be written.
    """
    if target.output is not None and context.store_choice.location.is_same_file(target.output):
        raise FileFailed(f"{target.output} is the store itself; choose another file")
    name = target.format_name or _format_for(target.output, many=many)
    open_exporter(name, front_matter=target.front_matter)
    if many and FORMATS[name].is_single:
        raise UsageError(
            f"{name} holds one session per file; export one, or into a directory: -o DIR/"
        )
    if many and target.front_matter:
        raise UsageError(
            "--front-matter needs one session per file; export one session, or into a directory: -o DIR/"
        )
    with _destination(context, target) as write_bytes, _progress(context, target) as seen:
        report = export_sessions(
            context.store, ids, name, write_bytes, progress=seen, **target.options
        )
    sessions, messages = counted(report.sessions, "session"), counted(report.messages, "message")
    context.terminal.flush()
    context.terminal.detail(f"Exported {sessions}, {messages}")
    _print_report(context, report, redact=target.redact)


def write_folder(context: Context, ids: Iterable[str], target: ExportTarget) -> None:
    """Write one file per session into a directory, which is created; the names are the same each time.

    Each file is replaced as a whole, and finished files stay when the export is interrupted. In a pipe, each session
    and its file are printed on one line.

    Raises:
        UsageError: the format does not exist.
        FileFailed: the directory or a file cannot be written, or the directory belongs to a JSON-file store.
    """
    name, folder = target.format_name or "jsonl", cast("Path", target.output)
    exporter = open_exporter(name, front_matter=target.front_matter)
    _create_directory(folder)
    total, rows = ExportReport(), []
    with _Replacing(context, yes=target.yes) as replacing, _progress(context, target) as seen:
        for session_id in ids:
            try:
                if FORMATS[name].is_single:
                    header = context.store.header(session_id).header_record()
                    path = folder / exporter.file_name(header)
                else:
                    path = folder / file_name(session_id, FORMATS[name].suffixes[0])
                if not path.is_symlink():  # a link is replaced, and its target is not written to
                    replacing.check(path)
                report = _write_one(context, session_id, name, path, target)
                replacing.done(path)
            except SessionNotFound:
                total.missing.append(session_id)
                continue
            total.add(report)
            rows.append({"id": session_id, "file": str(path), "messages": report.messages})
            seen(total)
        if hasattr(exporter, "index_page"):
            replacing.check(folder / "index.html")
            _write_index(context, folder, exporter, rows)
            replacing.done(folder / "index.html")
    _print_files(context, folder, rows)
    _print_report(context, total, redact=target.redact)


def _write_one(
    context: Context, session_id: str, name: str, path: Path, target: ExportTarget
) -> ExportReport:
    with _replaced_file(path, follow=False) as file:
        report = export_sessions(context.store, [session_id], name, file.write, **target.options)
        if report.missing:  # deleted since it was listed
            raise SessionNotFound(f"{quoted(session_id)} was deleted", session_id=session_id)
        return report


def _write_index(context: Context, folder: Path, exporter: Any, rows: list[dict[str, Any]]) -> None:
    """Write a page with a link to each file."""
    entries = []
    for row in rows:
        summary = context.store.summary(row["id"])
        title, at = summary.title or row["id"], format_time(summary.updated_at)
        entries.append((title, Path(row["file"]).name, at, row["messages"]))
    with _replaced_file(folder / "index.html", follow=False) as file:
        for piece in exporter.index_page(entries):
            file.write(piece)


def _create_directory(folder: Path) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise FileFailed(f"{folder} is a file; choose a directory")
        if (folder / ".omniagent" / "store.json").exists():
            raise FileFailed(f"{folder} is the directory of a store; choose another directory")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileFailed(f"cannot write into {folder}: {error.strerror or error}") from error


def _print_files(context: Context, folder: Path, rows: list[dict[str, Any]]) -> None:
    terminal = context.terminal
    if not terminal.is_terminal:
        for row in rows:
            terminal.fields(
                [plain_field(row["id"]), plain_field(row["file"]), str(row["messages"])]
            )
    messages = counted(sum(row["messages"] for row in rows), "message")
    terminal.flush()
    terminal.note(f"Exported {messages} to {counted(len(rows), 'file')} in {folder}")


def _format_for(output: Path | None, *, many: bool) -> str:
    """Return the format of a file by its suffix; without one, that of stdout.

    Raises:
        UsageError: no format has this suffix.
    """
    suffix = "" if output is None else output.suffix.lower()
    if not suffix:
        return "jsonl" if many else "json"
    known = {row.suffixes[0]: row.name for row in reversed(FORMATS.values()) if row.can_export}
    if suffix not in known:
        raise UsageError(
            f"unknown file extension {suffix!r}; use one of {', '.join(sorted(known))}, or give --format"
        )
    return known[suffix]


@contextlib.contextmanager
def _destination(context: Context, target: ExportTarget) -> Iterator[Write]:
    if target.to_stdout:
        yield context.terminal.write_bytes
        return
    output = cast("Path", target.output)
    with _Replacing(context, yes=target.yes) as replacing:
        replacing.check(output)
        with _replaced_file(output, follow=True) as file:
            yield file.write
        replacing.done(output)


class _Replacing:
    """Confirmation that files which no export wrote are replaced; one yes holds for all files of a command."""

    def __init__(self, context: Context, *, yes: bool) -> None:
        self._context = context
        self._yes = yes
        self._exported = ExportedFiles(context.environ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exported.save()

    def check(self, file: Path) -> None:
        """Ask before a file of the user is replaced.

        Raises:
            Aborted: the answer was no.
            Refused: there is no terminal for the question.
        """
        if self._yes or not _is_file(file):
            return
        if not self._exported.may_replace(Path(os.path.realpath(file))):
            confirm(self._context, f"replace {file}", yes=False)
            self._yes = True

    def done(self, file: Path) -> None:
        """Record a file that was written."""
        if _is_file(file):
            self._exported.add(Path(os.path.realpath(file)))


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False  # an impossible name, which writing reports


@contextlib.contextmanager
def _replaced_file(output: Path, *, follow: bool) -> Iterator[BinaryIO]:
    """Open a private temporary file that replaces the target when the block succeeds.

    Args:
        output: the target.
        follow: whether to replace the target of a symbolic link instead of the link.
    """
    try:
        mode = output.stat().st_mode if follow and output.exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise FileFailed(f"{output} is a directory; choose a file")
        if not stat.S_ISREG(mode):  # /dev/null, a named pipe
            with output.open("wb") as special:
                yield special
            return
        final = Path(os.path.realpath(output)) if follow else output
        with (
            tempfile.NamedTemporaryFile(  # made 0600
                dir=final.parent, prefix=f".{final.name[:50]}.", suffix=".tmp", delete=False
            ) as file
        ):
            try:
                yield cast("BinaryIO", file)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(final)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise FileFailed(
            f"cannot write {output}: {error.strerror or error}; nothing was written"
        ) from error


@contextlib.contextmanager
def _progress(context: Context, target: ExportTarget) -> Iterator[Callable[[ExportReport], object]]:
    if target.to_stdout and context.terminal.is_terminal:
        yield lambda _: None
        return
    with context.terminal.progress("exporting messages") as advance:
        progress = steps_to(advance)
        yield lambda report: progress(report.messages)


def _print_report(context: Context, report: ExportReport, *, redact: bool) -> None:
    terminal = context.terminal
    if redact:
        found = ", ".join(f"{kind} {number}" for kind, number in sorted(report.redactions.items()))
        terminal.note(f"Masked: {found or 'nothing'}")
    if report.omitted_attachments:
        number = counted(report.omitted_attachments, "attachment")
        terminal.note(f"Skipped {number}, which cannot be masked")
    for session_id in report.missing:
        terminal.warn(f"{quoted(session_id)} was deleted during the export")
    if report.missing:
        raise typer.Exit(FAILED)
