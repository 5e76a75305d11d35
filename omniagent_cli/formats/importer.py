"""Import from files, directories, zips and pipes into a store, in bounded memory: whole sessions or nothing of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from omniagent_cli.errors import FormatError, UsageError
from omniagent_cli.formats import open_importer, recognise
from omniagent_cli.formats.byte_source import Source
from omniagent_cli.formats.input_sources import Progress, files_under, open_file, size_of, sources
from omniagent_cli.formats.report import ImportReport, Outcome
from omniagent_cli.formats.session_importer import CONFLICTS, Importing
from omniagent_cli.formats.types import Importer, Problem, problem
from omniagent_cli.models import check_session_id
from omniagent_cli.stores import SessionStore

__all__ = ["CONFLICTS", "ImportReport", "Outcome", "Problem", "import_path", "import_stream"]

Opened = Callable[[], Iterable[Source | Problem]]
"""Begins to read, from the front; called twice where nothing is to be taken when anything is wrong."""


@dataclass(frozen=True, slots=True)
class _How:
    format_name: str
    as_id: str | None
    on_conflict: str | None
    dry_run: bool
    strict: bool
    branches: bool

    def check(self) -> None:
        if self.on_conflict is not None and self.on_conflict not in CONFLICTS:
            raise UsageError(
                f"there is no conflict rule {self.on_conflict!r}; choose one of {', '.join(CONFLICTS)}"
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
    """Bring in the sessions of a stream: each whole or not at all, and only what is not here yet.

    A session that is here already is left alone when the file has nothing new, continued when the file's goes
    on where ours ends, and otherwise refused. Messages without ids get ids from their content, sessions too,
    so that importing twice changes nothing.

    Args:
        store: where they go.
        source: binary; read once from the front, so a pipe will do. A zip, and what gzip or zstd packed, are unpacked.
        name: what the places in problems are called by, such as the file's name.
        format_name: a key of `formats.FORMATS`, or ``auto``: told from the content.
        as_id: the id to give to the one session of the file.
        on_conflict: one of `CONFLICTS`: ``skip`` leaves ours, ``rename`` brings theirs in beside it, ``merge``
            adds their messages after the last common one, ``replace`` puts ours in the trash, ``fail`` stops there.
        dry_run: change nothing; the report says what would be done with each session by itself.
        strict: bring in nothing at all if there is any problem; what cannot be read twice is copied first.
        branches: bring in also what was edited or asked for again in the other tool, as sessions of their own.
        progress: called with the number of bytes read so far.

    Raises:
        UsageError: no such format or conflict rule.
        InvalidSessionId: `as_id` is none.
        StoreUnavailable: the store cannot be used; whole sessions that came before are in.
    """
    how = _How(format_name, as_id, on_conflict, dry_run, strict, branches)
    how.check()
    if not strict:
        return _run(store, lambda: sources(source, name, progress=progress), how)
    if source.seekable():
        return _run(store, _again(source, name, progress), how)
    with Source(source, name).copy() as copy:
        return _run(store, _again(copy, name, progress), how)


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
    """Bring in the sessions of a file, or of all files below a directory that hold any; see `import_stream`.

    Raises:
        FormatError: the file cannot be opened.
    """
    how = _How(format_name, as_id, on_conflict, dry_run, strict, branches)
    how.check()
    if os.path.isdir(path):  # noqa: PTH112  # no name is too long for it
        return _run(store, lambda: _of_directory(path, progress), how)
    with open_file(path) as stream:
        if not stream.seekable():  # a named pipe
            return import_stream(
                store, stream, name=name or str(path), format_name=format_name, as_id=as_id,
                on_conflict=on_conflict, dry_run=dry_run, strict=strict, branches=branches, progress=progress,
            )  # fmt: skip

        def opened() -> Iterator[Source | Problem]:
            stream.seek(0)
            return sources(stream, name or str(path), path=path, progress=progress)

        return _run(store, opened, how)


def _again(stream: BinaryIO, name: str, progress: Progress | None) -> Opened:
    start = stream.tell()

    def opened() -> Iterator[Source | Problem]:
        stream.seek(start)
        return sources(stream, name, progress=progress)

    return opened


def _of_directory(directory: Path, progress: Progress | None) -> Iterator[Source | Problem]:
    before = 0
    unread: list[OSError] = []
    for path in files_under(directory, unread=unread.append):
        try:
            stream = open_file(path)
        except FormatError as error:
            yield _told(error, str(path))
            continue
        with stream:
            done = before

            def advance(used: int, done: int = done) -> None:
                if progress is not None:
                    progress(done + used)

            before += size_of(stream) or 0
            yield from sources(stream, str(path), path=path, progress=advance)
    for why in unread:
        yield Problem(str(why.filename), f"it cannot be read: {why.strerror}")


def _told(error: FormatError, name: str) -> Problem:
    """Return what is wrong as a problem, whose place its text does not repeat."""
    place = error.place or name
    return problem(place, str(error).removeprefix(f"{place}: "))


def _run(store: SessionStore, opened: Opened, how: _How) -> ImportReport:
    if not how.strict:
        return _Intake(store, how, dry_run=how.dry_run).run(opened())
    report = _Intake(store, how, dry_run=True).run(opened())
    if report.problem_count:
        return _nothing_taken(report)
    return report if how.dry_run else _Intake(store, how, dry_run=False).run(opened())


def _nothing_taken(report: ImportReport) -> ImportReport:
    return ImportReport(
        format_name=report.format_name,
        problems=report.problems,
        problem_count=report.problem_count,
        stopped=True,
    )


class _Intake:
    """One walk through everything that is to be read."""

    def __init__(self, store: SessionStore, how: _How, *, dry_run: bool) -> None:
        self._how = how
        self.report = ImportReport()
        self._work = Importing(
            store, self.report, as_id=how.as_id, on_conflict=how.on_conflict, dry_run=dry_run
        )

    def run(self, found: Iterable[Source | Problem]) -> ImportReport:
        """Read all of it; a file among others that is in no known format is passed over, if any is in one."""
        unknown: list[Problem] = []
        known = 0
        for source in found:
            if isinstance(source, Problem):
                self.report.tell(source)
                continue
            try:
                why = self._take(source)
            except FormatError as error:
                why, known = "", known + 1
                self.report.tell(_told(error, source.name))
            if why:
                unknown.append(Problem(source.name, why))
            else:
                known += 1
            if self.report.stopped:
                return self.report
        if not known:
            for why_not in unknown[:1] or ([] if self.report.problem_count else [_NOTHING]):
                self.report.tell(why_not)
        return self.report

    def _take(self, source: Source) -> str:
        """Take in one file; return why it is in no format, if it is in none."""
        head = source.head()
        if not head.strip():
            return "there is nothing in it"
        name = self._how.format_name
        if name == "auto":
            name = recognise(head, source.name)
        if not name:
            return "its format is not recognised; name it with --format"
        self.report.format_name = self.report.format_name or name
        reader: Importer = open_importer(name, branches=self._how.branches)
        for item in reader.read(source):
            if isinstance(item, Problem):
                self.report.tell(item)
            else:
                self._work.take(item)
            if self.report.stopped:
                break
        return ""


_NOTHING = Problem("", "there is no file in it that could hold conversations")
