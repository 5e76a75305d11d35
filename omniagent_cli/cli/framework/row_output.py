"""Output of rows: a table on a terminal, tab-separated lines in a pipe, one JSON document on request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.ui.cells import Table

T = TypeVar("T")


def show_rows(
    context: Context,
    rows: Sequence[T],
    *,
    record: Callable[[T], Any],
    fields: Callable[[T], list[str]],
    table: Callable[[Sequence[T]], Table],
    empty: str = "",
) -> None:
    """Print rows in the requested form.

    Args:
        context: the context of the command.
        rows: the rows.
        record: returns the JSON form of a row.
        fields: returns a row as fields of a tab-separated line.
        table: returns all rows laid out for a terminal.
        empty: message on a terminal when there are no rows.
    """
    terminal = context.terminal
    if context.json:
        terminal.json([record(row) for row in rows])
    elif not terminal.is_terminal:
        show_fields(context, (fields(row) for row in rows))
    elif rows:
        with terminal.paged() as out:
            terminal.table(table(rows), out)
    elif empty:
        terminal.note(empty)


def show_fields(context: Context, rows: Iterable[list[str]]) -> None:
    """Print tab-separated lines."""
    for fields in rows:
        context.terminal.fields(fields)
