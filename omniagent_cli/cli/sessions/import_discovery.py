"""Discovery of other tools' histories: list them and choose which to import."""

from __future__ import annotations

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.config.external_histories import History, find_histories
from omniagent_cli.config.imported_files import ImportedFiles
from omniagent_cli.models import size_text
from omniagent_cli.text.sanitize import one_line, plain_field
from omniagent_cli.ui.cells import Column, Table
from omniagent_cli.ui.views import counted


def found_histories(context: Context, format_name: str) -> list[History]:
    """Return the histories on this machine.

    Args:
        context: the context of the command.
        format_name: the format of one tool, or ``auto`` for all.
    """
    found = find_histories(context.environ)
    return [history for history in found if format_name in ("auto", history.format_name)]


def chosen_histories(
    context: Context, found: list[History], imported: ImportedFiles, *, yes: bool
) -> list[History]:
    """List the histories found and return those to import.

    Args:
        context: the context of the command.
        found: the histories on this machine.
        imported: files that need not be read again.
        yes: import all without asking.
    """
    terminal = context.terminal
    if not found:
        terminal.note("No history of another tool found")
    if yes:
        return found
    if context.json:
        terminal.json([_record(history, imported) for history in found])
        return []
    if terminal.interactive:
        terminal.table(_table(found, imported))
        new = [history for history in found if imported.changed(history.files)]
        if found and not new:
            terminal.note("nothing has changed since the last import")
        return [history for history in new if terminal.confirm(_question(history, imported))]
    for history in found:
        fields = (
            history.format_name,
            str(len(history.files)),
            str(history.size),
            str(history.path),
        )
        terminal.fields(plain_field(field) for field in fields)
    if found:
        terminal.note("Nothing imported; use --yes to import all, or name a file")
    return []


def _record(history: History, imported: ImportedFiles) -> dict[str, object]:
    return {
        "format": history.format_name,
        "path": str(history.path),
        "files": len(history.files),
        "new": len(imported.changed(history.files)),
        "bytes": history.size,
    }


def _table(found: list[History], imported: ImportedFiles) -> Table:
    rows = [
        [
            h.format_name,
            f"{len(h.files):,}",
            f"{len(imported.changed(h.files)):,}",
            size_text(h.size),
            one_line(str(h.path)),
        ]
        for h in found
    ]
    columns = [
        Column("TOOL", "cyan"),
        Column("FILES", right=True),
        Column("NEW", right=True),
        Column("SIZE", right=True),
        Column("PLACE", shrink=True),
    ]
    return Table(columns, rows)


def _question(history: History, imported: ImportedFiles) -> str:
    files = counted(len(imported.changed(history.files)), "file")
    return f"Import {files} of {history.format_name} from {one_line(str(history.path))}?"
