"""Discovery of other tools' histories: list them and choose which to import."""

from __future__ import annotations

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.config.external_histories import History, find_histories
from omniagent_cli.models import size_text
from omniagent_cli.text.sanitize import one_line, plain_field
from omniagent_cli.ui.cells import Column, Table
from omniagent_cli.ui.views import counted


def chosen_histories(context: Context, format_name: str, *, yes: bool) -> list[str]:
    """List the histories found and return the paths to import.

    Args:
        context: the context of the command.
        format_name: the format of one tool, or ``auto`` for all.
        yes: import all without asking.
    """
    terminal = context.terminal
    found = [h for h in find_histories(context.environ) if format_name in ("auto", h.format_name)]
    if not found:
        terminal.note("no history of another tool found")
    if yes:
        return [str(history.path) for history in found]
    if context.json:
        terminal.json([_record(history) for history in found])
        return []
    if terminal.interactive:
        terminal.table(_table(found))
        return [str(history.path) for history in found if terminal.confirm(_question(history))]
    for history in found:
        fields = (history.format_name, str(history.files), str(history.size), str(history.path))
        terminal.fields(plain_field(field) for field in fields)
    if found:
        terminal.note("nothing imported; use --yes to import all, or name a file")
    return []


def _record(history: History) -> dict[str, object]:
    return {
        "format": history.format_name,
        "path": str(history.path),
        "files": history.files,
        "bytes": history.size,
    }


def _table(found: list[History]) -> Table:
    rows = [
        [h.format_name, f"{h.files:,}", size_text(h.size), one_line(str(h.path))] for h in found
    ]
    columns = [
        Column("TOOL", "cyan"),
        Column("FILES", right=True),
        Column("SIZE", right=True),
        Column("PLACE", shrink=True),
    ]
    return Table(columns, rows)


def _question(history: History) -> str:
    return f"Import {counted(history.files, 'file')} of {history.format_name} from {one_line(str(history.path))}?"
