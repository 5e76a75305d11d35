"""Import of files, directories, zip archives and pipes into a store, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from omniagent_cli.errors import FormatError, UsageError
from omniagent_cli.formats import open_importer
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.detection import detect_format, unrecognized
from omniagent_cli.formats.input_sources import Progress, files_under, open_file, size_of, sources
from omniagent_cli.formats.readers.database import is_database, schema_head
from omniagent_cli.formats.report import ImportReport, Outcome
from omniagent_cli.formats.session_importer import CONFLICTS, SessionImporter
from omniagent_cli.formats.types import Importer, Omission, Problem, problem
from omniagent_cli.models import check_session_id
from omniagent_cli.stores import SessionStore

__all__ = [
    "CONFLICTS",
    "ImportReport",
    "Outcome",
    "Problem",
    "import_files",
    "import_path",
    "import_stream",
]


class FileEnd(NamedTuple):
    """End of the sources of one file."""

    path: Path


Item = ByteSource | Problem | FileEnd

OpenSources = Callable[[], Iterable[Item]]
"""Function that opens the input from the start; a strict import calls it twice."""


@dataclass(frozen=True, slots=True)
class _ImportOptions:
    format_name: str
    as_id: str | None
    on_conflict: str | None
    dry_run: bool
    strict: bool
    branches: bool
    on_imported: Callable[[Path], object] | None = None

    def check(self) -> None:
        if self.on_conflict is not None and self.on_conflict not in CONFLICTS:
            raise UsageError(
                f"unknown conflict rule {self.on_conflict!r}; choose one of {', '.join(CONFLICTS)}"
            )
        if self.as_id is not None:
            check_session_id(self.as_id)
        if self.format_name != "auto":
            open_importer(self.format_name)


def import_stream(
    store: SessionStore,
    source: BinaryIO,
    *,
    name: str,
    format_name: str = "auto",
    as_id: str | None = None,
    on_conflict: str | None = None,
    dry_run: bool = False,
    strict: bool = False,
    branches: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Import the sessions of a stream; each session is imported completely or not at all.

    An existing session is skipped when the input has nothing new, extended when the input continues it, and
    otherwise refused. Messages and sessions without ids get ids derived from their content, so a repeated
    import changes nothing.

    Args:
        store: the target store.
        source: binary stream, read once from the front; zip, gzip and zstd input is decompressed.
        name: prefix of problem locations, such as the file name.
        format_name: a key of `formats.FORMATS`, or ``auto`` to detect it from the content.
        as_id: id for the only session of the input.
        on_conflict: one of `CONFLICTS`: ``skip`` keeps the stored session, ``rename`` imports under a new id, ``merge``
            appends messages after the last common one, ``replace`` moves the stored session to the trash, ``fail`` stops.
        dry_run: change nothing; the report shows the outcome for each session alone.
        strict: import nothing if there is any problem; input that is not seekable is copied first.
        branches: also import edited and regenerated messages, as sessions of their own.
        progress: called with the number of bytes read so far.

    Raises:
        UsageError: the format or conflict rule is unknown.
        InvalidSessionId: `as_id` is not a valid session id.
        StoreUnavailable: the store cannot be used; sessions imported before are kept.
    """
    options = _ImportOptions(format_name, as_id, on_conflict, dry_run, strict, branches)
    options.check()
    if not strict:
        return _run(store, lambda: sources(source, name, progress=progress), options)
    if source.seekable():
        return _run(store, _reopen(source, name, progress), options)
    with ByteSource(source, name).copy() as copy:
        return _run(store, _reopen(copy, name, progress), options)


def import_path(
    store: SessionStore,
    path: Path,
    *,
    name: str = "",
    format_name: str = "auto",
    as_id: str | None = None,
    on_conflict: str | None = None,
    dry_run: bool = False,
    strict: bool = False,
    branches: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Import the sessions of a file, or of all matching files of a directory; see `import_stream`.

    Raises:
        FormatError: the file cannot be opened.
    """
    options = _ImportOptions(format_name, as_id, on_conflict, dry_run, strict, branches)
    options.check()
    if os.path.isdir(path):  # noqa: PTH112  # accepts names of any length
        errors: list[OSError] = []
        return _run(
            store,
            lambda: _file_sources(files_under(path, on_error=errors.append), progress, errors),
            options,
        )
    with open_file(path) as stream:
        if not stream.seekable():  # a named pipe
            return import_stream(
                store, stream, name=name or str(path), format_name=format_name, as_id=as_id,
                on_conflict=on_conflict, dry_run=dry_run, strict=strict, branches=branches, progress=progress,
            )  # fmt: skip

        def open_sources() -> Iterator[ByteSource | Problem]:
            stream.seek(0)
            return sources(stream, name or str(path), path=path, progress=progress)

        return _run(store, open_sources, options)


def import_files(
    store: SessionStore,
    paths: Sequence[Path],
    *,
    format_name: str = "auto",
    on_conflict: str | None = None,
    dry_run: bool = False,
    strict: bool = False,
    branches: bool = False,
    progress: Progress | None = None,
    on_imported: Callable[[Path], object] | None = None,
) -> ImportReport:
    """Import the sessions of several files; see `import_stream`.

    ``on_imported`` is called with each file that was imported completely, without problems and refused sessions.
    """
    options = _ImportOptions(format_name, None, on_conflict, dry_run, strict, branches, on_imported)
    options.check()
    return _run(store, lambda: _file_sources(paths, progress, []), options)


def _reopen(stream: BinaryIO, name: str, progress: Progress | None) -> OpenSources:
    start = stream.tell()

    def open_sources() -> Iterator[ByteSource | Problem]:
        stream.seek(start)
        return sources(stream, name, progress=progress)

    return open_sources


def _file_sources(
    paths: Iterable[Path], progress: Progress | None, errors: list[OSError]
) -> Iterator[Item]:
    """Yield the sources of each file, then the errors of unreadable directories."""
    before = 0
    for path in paths:
        try:
            stream = open_file(path)
        except FormatError as error:
            yield _to_problem(error, str(path))
            continue
        with stream:
            done = before

            def advance(used: int, done: int = done) -> None:
                if progress is not None:
                    progress(done + used)

            before += size_of(stream) or 0
            yield from sources(stream, str(path), path=path, progress=advance)
            yield FileEnd(path)
    for reason in errors:
        yield Problem(str(reason.filename), f"cannot be read: {reason.strerror}")


def _to_problem(error: FormatError, name: str) -> Problem:
    """Return an error as a problem; the location is removed from its text."""
    location = error.location or name
    return problem(location, str(error).removeprefix(f"{location}: "))


def _run(store: SessionStore, open_sources: OpenSources, options: _ImportOptions) -> ImportReport:
    if not options.strict:
        return _ImportRun(store, options, dry_run=options.dry_run).run(open_sources())
    report = _ImportRun(store, options, dry_run=True).run(open_sources())
    if report.problem_count:
        return _aborted_report(report)
    return (
        report if options.dry_run else _ImportRun(store, options, dry_run=False).run(open_sources())
    )


def _aborted_report(report: ImportReport) -> ImportReport:
    return ImportReport(
        format_name=report.format_name,
        problems=report.problems,
        problem_count=report.problem_count,
        stopped=True,
    )


class _ImportRun:
    """One pass over the input."""

    def __init__(self, store: SessionStore, options: _ImportOptions, *, dry_run: bool) -> None:
        self._options = options
        self.report = ImportReport()
        self._importer = SessionImporter(
            store,
            self.report,
            as_id=options.as_id,
            on_conflict=options.on_conflict,
            dry_run=dry_run,
        )

    def run(self, items: Iterable[Item]) -> ImportReport:
        """Import all sources; unrecognized files are ignored if at least one file is recognized."""
        unknown: list[Problem] = []
        known = failures = 0
        for source in items:
            if isinstance(source, FileEnd):
                now = self.report.problem_count + self.report.refused
                if self._options.on_imported is not None and now == failures:
                    self._options.on_imported(source.path)
                failures = now
                continue
            if isinstance(source, Problem):
                self.report.add_problem(source)
                continue
            try:
                reason = self._import_source(source)
            except FormatError as error:
                reason, known = "", known + 1
                self.report.add_problem(_to_problem(error, source.name))
            if reason:
                unknown.append(Problem(source.name, reason))
            else:
                known += 1
            if self.report.stopped:
                return self.report
        if known:
            self.report.left_out.update({"unrecognized file": len(unknown)} if unknown else {})
        else:
            for unrecognized in unknown[:1] or ([] if self.report.problem_count else [_NO_FILES]):
                self.report.add_problem(unrecognized)
        return self.report

    def _import_source(self, source: ByteSource) -> str:
        """Import one file; return the reason when its format is not recognized."""
        head = source.head()
        if not head.strip():
            return "empty file"
        name = self._options.format_name
        if name == "auto":
            name = detect_format(schema_head(source) if is_database(head) else head)
        if not name:
            return unrecognized(head)
        self.report.format_name = self.report.format_name or name
        if name not in _NATIVE:
            source.report_problem = self._report_part
        reader: Importer = open_importer(name, branches=self._options.branches)
        for item in reader.read(source):
            if isinstance(item, Problem):
                self.report.add_problem(item)
            elif isinstance(item, Omission):
                self.report.left_out[item.kind] += item.number
            else:
                self._importer.import_session(item)
            if self.report.stopped:
                break
        return ""

    def _report_part(self, location: str, text: str) -> None:
        self.report.add_problem(Problem(location, text))


_NO_FILES = Problem("", "no importable files found")
_NATIVE = ("json", "jsonl")
"""Formats whose records are taken whole or not at all."""
