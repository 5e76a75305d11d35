"""How rows are shown: a table to a person, tab-separated lines to a pipe, one JSON document to whoever asks."""

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
    """Show rows in the form that was asked for.

    Args:
        context: this run.
        rows: what to show.
        record: the JSON form of one.
        fields: one as fields of a tab-separated line.
        table: all of them laid out for a terminal.
        empty: what to tell a person when there are none.
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
    """Write tab-separated lines."""
    for fields in rows:
        context.terminal.fields(fields)
