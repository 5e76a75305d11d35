"""Where an export goes: stdout, a file, or a directory with a file for each session; and what is told about it."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import typer

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.framework.exits import FAILED
from omniagent_cli.errors import OmniAgentError, SessionNotFound, UsageError
from omniagent_cli.formats import FORMATS, open_exporter
from omniagent_cli.formats.exporter import ExportReport, export_sessions
from omniagent_cli.formats.file_names import file_name
from omniagent_cli.text.sanitize import plain_field
from omniagent_cli.ui.views import counted, quoted

Write = Callable[[bytes], object]


class FileFailed(OmniAgentError):
    """A file to write cannot be written; what it held before is untouched."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of an export.

    Attributes:
        format_name: a key of `FORMATS`; without one it is told from the ending of `output`.
        output: a file, or a directory; None and ``-`` are stdout.
        only: roles whose messages are taken.
    """

    format_name: str | None = None
    output: Path | None = None
    redact: bool = False
    only: Collection[str] | None = None
    front_matter: bool = False

    @property
    def to_stdout(self) -> bool:
        """Whether it goes to stdout."""
        return self.output is None or str(self.output) == "-"

    @property
    def options(self) -> dict[str, Any]:
        """What `export_sessions` is told of it."""
        return {"redact": self.redact, "only": self.only, "front_matter": self.front_matter}


def is_folder(given: str | None) -> bool:
    """Tell whether a path as written means a directory: it ends like one, or is one."""
    if given is None or given == "-":
        return False
    try:
        return given.endswith(("/", os.sep)) or Path(given).is_dir()
    except OSError:
        return False  # a name no disk can hold; to write there tells why


def write(context: Context, wanted: Iterable[str], request: Request, *, many: bool) -> None:
    """Write sessions to stdout or into one file.

    Args:
        context: the run.
        wanted: their ids; see `export_sessions`.
        request: how, and where.
        many: there may be several.

    Raises:
        UsageError: there is no such format.
        FileFailed: the file cannot be written.
    """
    name = request.format_name or _format_for(request.output, many=many)
    open_exporter(name, front_matter=request.front_matter)
    if many and request.front_matter:
        raise UsageError(
            "front matter stands at the top of a file; export one session, or into a directory: -o DIR/"
        )
    with _destination(context, request) as target, _counting(context, request) as seen:
        report = export_sessions(
            context.store, wanted, name, target, progress=seen, **request.options
        )
    sessions, messages = counted(report.sessions, "session"), counted(report.messages, "message")
    context.terminal.flush()
    context.terminal.detail(f"exported {sessions}, {messages}")
    _tell(context, report, redact=request.redact)


def write_folder(context: Context, wanted: Iterable[str], request: Request) -> None:
    """Write a file for each session into a directory, which is made; the same names each time.

    Each file is whole or as it was; stopping in the middle leaves those that are done. In a pipe a line tells each
    session and its file.

    Raises:
        UsageError: there is no such format.
        FileFailed: the directory or a file cannot be written, or it is where a store keeps its sessions.
    """
    name, folder = request.format_name or "jsonl", cast("Path", request.output)
    open_exporter(name, front_matter=request.front_matter)
    _make(folder)
    total, rows = ExportReport(), []
    with _counting(context, request) as seen:
        for session_id in wanted:
            path = folder / file_name(session_id, FORMATS[name].suffixes[0])
            try:
                report = _write_one(context, session_id, name, path, request)
            except SessionNotFound:
                total.missing.append(session_id)
                continue
            total.add(report)
            rows.append({"id": session_id, "file": str(path), "messages": report.messages})
            seen(total)
    _tell_files(context, folder, rows)
    _tell(context, total, redact=request.redact)


def _write_one(
    context: Context, session_id: str, name: str, path: Path, request: Request
) -> ExportReport:
    with _written(path, follow=False) as file:
        report = export_sessions(context.store, [session_id], name, file.write, **request.options)
        if report.missing:  # it went in this moment: no file for it
            raise SessionNotFound(f"{quoted(session_id)} is gone", session_id=session_id)
        return report


def _make(folder: Path) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise FileFailed(f"{folder} is a file; name a directory to write into")
        if (folder / ".omniagent" / "store.json").exists():
            raise FileFailed(
                f"{folder} is where a store keeps its sessions; name another directory"
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileFailed(f"cannot write into {folder}: {error.strerror or error}") from error


def _tell_files(context: Context, folder: Path, rows: list[dict[str, Any]]) -> None:
    terminal = context.terminal
    if not terminal.is_terminal:
        for row in rows:
            terminal.fields(
                [plain_field(row["id"]), plain_field(row["file"]), str(row["messages"])]
            )
    messages = counted(sum(row["messages"] for row in rows), "message")
    terminal.flush()
    terminal.note(f"{counted(len(rows), 'file')} with {messages} written into {folder}")


def _format_for(output: Path | None, *, many: bool) -> str:
    if output is not None:
        for row in FORMATS.values():
            if row.can_export and output.suffix.lower() == row.suffixes[0]:
                return row.name
    return "jsonl" if many else "json"


@contextlib.contextmanager
def _destination(context: Context, request: Request) -> Iterator[Write]:
    if request.to_stdout:
        yield context.terminal.write_bytes
        return
    output = cast("Path", request.output)
    _spare_store(context, output)
    with _written(output, follow=True) as file:
        yield file.write


def _spare_store(context: Context, output: Path) -> None:
    """Refuse to write an export over the store it is made of."""
    if context.store_choice.location.is_same_file(output):
        raise FileFailed(f"{output} is the store itself; name another file")


@contextlib.contextmanager
def _written(output: Path, *, follow: bool) -> Iterator[BinaryIO]:
    """Give a file that takes the name, private and whole, only when everything went well.

    Args:
        output: its name.
        follow: a link of that name stays, and what it leads to is replaced; else the link is.
    """
    try:
        mode = output.stat().st_mode if follow and output.exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise FileFailed(f"{output} is a directory; name the file to write")
        if not stat.S_ISREG(mode):  # /dev/null, a named pipe
            with output.open("wb") as special:
                yield special
            return
        target = Path(os.path.realpath(output)) if follow else output
        with (
            tempfile.NamedTemporaryFile(  # made 0600
                dir=target.parent, prefix=f".{target.name[:50]}.", suffix=".tmp", delete=False
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
def _counting(context: Context, request: Request) -> Iterator[Callable[[ExportReport], object]]:
    if request.to_stdout and context.terminal.is_terminal:
        yield lambda _: None
        return
    seen = 0
    with context.terminal.progress("exporting messages") as advance:

        def progress(report: ExportReport) -> None:
            nonlocal seen
            advance(report.messages - seen)
            seen = report.messages

        yield progress


def _tell(context: Context, report: ExportReport, *, redact: bool) -> None:
    terminal = context.terminal
    if redact:
        found = ", ".join(f"{kind} {number}" for kind, number in sorted(report.redactions.items()))
        terminal.note(f"masked: {found or 'nothing'}")
    if report.omitted_attachments:
        terminal.note(
            f"left out {counted(report.omitted_attachments, 'attachment')}, which cannot be masked"
        )
    for session_id in report.missing:
        terminal.warn(f"{quoted(session_id)} was removed while the export ran")
    if report.missing:
        raise typer.Exit(FAILED)
