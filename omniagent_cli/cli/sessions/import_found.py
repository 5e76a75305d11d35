"""Import of what is new in other tools' histories or in directories, once or continuously."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.sessions.import_discovery import chosen_histories, found_histories
from omniagent_cli.cli.sessions.import_report import interruption_note, print_report
from omniagent_cli.config.external_histories import History
from omniagent_cli.config.imported_files import ImportedFiles
from omniagent_cli.errors import FormatError
from omniagent_cli.formats.importer import ImportReport, import_files
from omniagent_cli.formats.input_sources import file_states
from omniagent_cli.ui.progress import steps_to

_PAUSE_SECONDS = 2.0

Reports = list[tuple[str, ImportReport]]


class FoundFiles:
    """Files to import: of the histories found on this machine, or of named files and directories.

    Args:
        context: the context of the command.
        how: keyword arguments of `import_files`.
        names: files and directories; None or empty for the histories of other tools.
        yes: import all histories without asking.
    """

    def __init__(
        self, context: Context, how: dict[str, Any], names: list[str] | None, *, yes: bool
    ) -> None:
        self._context = context
        self._how = how
        self._names = names or []
        self._yes = yes
        self._format_name = how["format_name"]
        self._chosen: set[Path] = set()

    def import_once(self) -> Reports:
        """Import what is new, after asking; return a report for each history or name."""
        imported = self._imported_files()
        found = self._found()
        if not self._names:
            found = chosen_histories(self._context, found, imported, yes=self._yes)
        self._chosen = {history.path for history in found}
        return self._import(found, imported, quiet=False)

    def watch(self) -> Reports:
        """Import what is new until Ctrl-C; return the reports of the first round."""
        reports = self.import_once()
        if not self._chosen and not self._names and not self._yes:
            return reports
        self._context.terminal.note("Watching for new sessions. Press Ctrl-C to stop.")
        while True:
            time.sleep(_PAUSE_SECONDS)
            found = self._found()
            if not (self._names or self._yes):
                found = [history for history in found if history.path in self._chosen]
            self._import(found, self._imported_files(), quiet=True)

    def _imported_files(self) -> ImportedFiles:
        return ImportedFiles(self._context.environ, self._context.store_choice.location)

    def _found(self) -> list[History]:
        if not self._names:
            return found_histories(self._context, self._format_name)
        found = []
        for name in self._names:
            try:
                found.append(History(self._format_name, Path(name), file_states(Path(name))))
            except OSError as error:
                raise FormatError(f"cannot be read: {error.strerror}", location=name) from error
        return found

    def _import(self, found: list[History], imported: ImportedFiles, *, quiet: bool) -> Reports:
        reports = [(str(one.path), self._import_new(one, imported, quiet=quiet)) for one in found]
        if not self._how["dry_run"]:
            imported.save()
        if reports and not quiet and not any(r.counts or r.problem_count for _, r in reports):
            self._context.terminal.note("nothing has changed since the last import")
        return reports

    def _import_new(
        self, history: History, imported: ImportedFiles, *, quiet: bool
    ) -> ImportReport:
        """Import the files of a history that were written since they were imported."""
        changed = {file.path: file for file in imported.changed(history.files)}
        if not changed:
            return ImportReport(format_name=history.format_name)
        context, dry_run = self._context, self._how["dry_run"]
        store = context.store if dry_run else context.store_to_create
        size = sum(file.size for file in changed.values())
        with (
            interruption_note(context),
            context.terminal.progress(f"reading {history.path}", size, steps="bytes") as advance,
        ):
            report = import_files(
                store,
                [Path(path) for path in changed],
                progress=steps_to(advance),
                on_imported=lambda path: imported.add(changed[str(path)]),
                **self._how,
            )
        if not quiet or report.imported or report.merged or not report.ok:
            print_report(context, report, dry_run=dry_run)
        return report
