"""`omniagent store info`, `check`, `backup` and `compact`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from omniagent_cli.cli.asking import agreed
from omniagent_cli.cli.context import Context, running
from omniagent_cli.cli.exits import FAILED
from omniagent_cli.cli.listing import show_rows
from omniagent_cli.cli.options import Yes
from omniagent_cli.errors import StoreUnreachable, UnsupportedOperation
from omniagent_cli.text import plain_field
from omniagent_cli.ui.json_text import json_text
from omniagent_cli.ui.views import counted, pairs_table


def info(ctx: typer.Context) -> None:
    """Show what the store is, where it is, and how much it holds."""
    context = running(ctx)
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
        typer.Option("--repair", help="mend what can be mended; what is removed goes to the trash"),
    ] = False,
) -> None:
    """Look for damage. Exit code 1 when some remains."""
    context = running(ctx)
    look: Any = getattr(context.store, "check", None)
    if look is None:
        raise _unsupported(context, "be checked")
    problems = look(repair=repair)
    if context.json:
        context.terminal.json([_problem_record(problem) for problem in problems])
    else:
        for problem in problems:
            context.terminal.fields(
                plain_field(str(v or "")) for v in _problem_record(problem).values()
            )
    left = [problem for problem in problems if not problem.repaired]
    if not problems:
        context.terminal.note("no damage found")
    elif left:
        how = "" if repair else "; 'omniagent store check --repair' mends what can be mended"
        context.terminal.note(f"{counted(len(left), 'problem')} found{how}")
    else:
        context.terminal.note(f"{counted(len(problems), 'problem')} mended")
    if left:
        raise typer.Exit(FAILED)


def _problem_record(problem: Any) -> dict[str, Any]:
    return {
        "session": problem.session_id,
        "problem": problem.what,
        "repaired": problem.repaired,
    }


def backup(
    ctx: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the copy to make")],
    yes: Yes = False,
) -> None:
    """Copy the whole store to one file, consistently, while others use it."""
    context = running(ctx)
    copy: Any = getattr(context.store, "backup", None)
    if copy is None:
        raise _unsupported(
            context,
            "be backed up to one file",
            "'omniagent sessions export --all' writes its sessions",
        )
    if file.is_dir():
        raise StoreUnreachable(f"{file} is a directory; name the file to write")
    if file.exists():
        agreed(context, f"replace {file}", yes=yes)
    copy(file)
    context.terminal.note(f"copied {context.store.url} to {file}")


def compact(ctx: typer.Context) -> None:
    """Give back the room of what was removed, and leave no trace of it."""
    context = running(ctx)
    shrink: Any = getattr(context.store, "compact", None)
    if shrink is None:
        raise _unsupported(context, "be compacted")
    before = context.store.info().get("bytes")
    shrink()
    after = context.store.info().get("bytes")
    if isinstance(before, int) and isinstance(after, int):
        context.terminal.note(f"{before:,} bytes are {after:,} now")


def _unsupported(context: Context, what: str, instead: str = "") -> UnsupportedOperation:
    hint = f"; {instead}" if instead else ""
    return UnsupportedOperation(
        f"a store of the kind '{context.store.backend}' cannot {what}{hint}"
    )
