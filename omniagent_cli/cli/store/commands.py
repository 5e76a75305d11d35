"""`omniagent store info`, `check`, `backup` and `compact`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from omniagent_cli.cli.framework.confirmation import confirm
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import FAILED
from omniagent_cli.cli.framework.options import Yes
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.errors import UnsupportedOperation, UsageError
from omniagent_cli.stores.backend import Problem
from omniagent_cli.text.sanitize import plain_field
from omniagent_cli.ui.json_text import json_text
from omniagent_cli.ui.views import counted, file_size, pairs_table


def info(ctx: typer.Context) -> None:
    """Show the kind, location and contents of the store."""
    context = current_context(ctx)
    facts = context.store.info()
    if context.json:
        context.terminal.json(facts)
        return
    show_rows(
        context,
        list(facts.items()),
        record=list,
        fields=lambda pair: [plain_field(pair[0]), plain_field(_text(pair[1]))],
        table=lambda pairs: pairs_table("STORE", [(k, _text(v)) for k, v in pairs]),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def check(
    ctx: typer.Context,
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="repair what can be repaired, after backing up the store"),
    ] = False,
) -> None:
    """Check the store for damage. Exit code 1 if damage remains."""
    context = current_context(ctx)
    found = context.store.check(repair=repair)
    if context.json:
        context.terminal.json([_problem_record(problem) for problem in found])
    else:
        for problem in found:
            context.terminal.fields(_problem_fields(problem))
    if found.copied_to:
        context.terminal.note(f"Backup of the store before the repair: {found.copied_to}")
    left = [problem for problem in found if not problem.repaired]
    if not found:
        context.terminal.note("No damage found")
    elif left:
        how = "" if repair else ". Repair: omniagent store check --repair"
        context.terminal.note(f"{counted(len(left), 'problem')} found{how}")
    else:
        context.terminal.note(f"{counted(len(found), 'problem')} repaired")
    if left:
        raise typer.Exit(FAILED)


def _problem_fields(problem: Problem) -> list[str]:
    state = "repaired" if problem.repaired else "found"
    return [plain_field(problem.session_id or ""), state, plain_field(problem.what)]


def _problem_record(problem: Problem) -> dict[str, Any]:
    return {
        "session": problem.session_id,
        "problem": problem.what,
        "repaired": problem.repaired,
    }


def backup(
    ctx: typer.Context,
    *,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="the backup to write; a directory for a JSON-file store"
        ),
    ],
    yes: Yes = False,
) -> None:
    """Write a consistent backup of the store while other programs use it."""
    context = current_context(ctx)
    copy: Any = getattr(context.store, "backup", None)
    if copy is None:
        raise _unsupported(
            context,
            "be backed up",
            "'omniagent sessions export --all' writes its sessions",
        )
    if _is_store(context, file):
        raise UsageError(f"{file} is the store itself; choose another file")
    if not os.path.isdir(file.absolute().parent):  # noqa: PTH112  # pathlib raises an error without permission
        raise UsageError(f"no directory {file.parent}; create it or choose another file")
    if os.path.isfile(file):  # noqa: PTH113  # the same
        confirm(context, f"replace {file}", yes=yes)
    copy(file)
    context.terminal.note(f"Copied {context.store.url} to {file}")


def _is_store(context: Context, file: Path) -> bool:
    """Return True if the target file is the store itself, which the backup would replace."""
    return context.store_choice.location.is_same_file(file)


def compact(ctx: typer.Context) -> None:
    """Free the space of removed data and erase its remains."""
    context = current_context(ctx)
    shrink: Any = getattr(context.store, "compact", None)
    if shrink is None:
        raise _unsupported(context, "be compacted")
    before = context.store.info().get("bytes")
    if before == 0:
        context.terminal.note("Nothing to compact")
        return
    shrink()
    after = context.store.info().get("bytes")
    if isinstance(before, int) and isinstance(after, int):
        context.terminal.note(f"Compacted: {file_size(before)} -> {file_size(after)}")


def _unsupported(context: Context, what: str, instead: str = "") -> UnsupportedOperation:
    hint = f"; {instead}" if instead else ""
    return UnsupportedOperation(f"a store of kind '{context.store.backend}' cannot {what}{hint}")
