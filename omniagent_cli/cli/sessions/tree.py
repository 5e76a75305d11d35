"""`omniagent sessions tree`."""

from __future__ import annotations

from typing import Annotated

import typer

from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.context import current_context
from omniagent_cli.cli.framework.row_output import show_fields
from omniagent_cli.durations import utc_now
from omniagent_cli.ui.fork_tree import rows_of, tree_fields, tree_line, tree_record


def tree(
    ctx: typer.Context,
    *,
    id_: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="only the tree of this session", show_default=False),
    ] = None,
) -> None:
    """Show forks below the sessions they were copied from."""
    context = current_context(ctx)
    chosen = None if id_ is None else session_ids.resolve_for_reading(context, id_)
    rows = rows_of(context.store.list(archived=None, damaged=[]), chosen)
    terminal = context.terminal
    if context.json:
        terminal.json([tree_record(row) for row in rows])
    elif not terminal.is_terminal:
        show_fields(context, map(tree_fields, rows))
    elif rows:
        with terminal.paged() as out:
            for row in rows:
                out.line(tree_line(row, terminal, utc_now()))
    else:
        terminal.note("No forks")
