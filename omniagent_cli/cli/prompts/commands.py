"""`omniagent prompts list`, `show` and `edit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from omniagent_cli.cli.framework.context import current_context
from omniagent_cli.cli.framework.editor import edit_file
from omniagent_cli.cli.framework.exits import Refused
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.config import prompts
from omniagent_cli.config.prompts import SavedPrompt
from omniagent_cli.errors import UsageError
from omniagent_cli.private_files import make_private_directory, write_private
from omniagent_cli.text.sanitize import one_line, plain_field, visible
from omniagent_cli.ui.cells import Column, Table

Name = Annotated[str, typer.Argument(metavar="PROMPT", help="the name of a saved prompt")]

TEMPLATE = """\
---
description:
# model: openai:gpt-6.1-sol
# system: Answer in plain words.
# tools: false
# variables: {language: English}
---
"""


def list_prompts(ctx: typer.Context) -> None:
    """List the saved prompts, yours and those of a trusted project."""
    context = current_context(ctx)
    found, errors = prompts.saved_prompts(context.environ, context.cwd)
    for error in errors:
        context.terminal.warn(str(error))
    show_rows(
        context,
        found,
        record=_record,
        fields=lambda one: [
            plain_field(one.name),
            plain_field(one.model or ""),
            plain_field(one.summary),
        ],
        table=_table,
        empty=f"No prompts in {prompts.place_of(context.environ)}; create one: omniagent prompts edit NAME",
    )


def show(ctx: typer.Context, *, name: Name) -> None:
    """Print a saved prompt."""
    context = current_context(ctx)
    prompt = prompts.saved_prompt(name, context.environ, context.cwd)
    if context.json:
        context.terminal.json(_record(prompt) | {"text": prompt.text})
        return
    content = prompt.path.read_text(encoding="utf-8-sig")
    context.terminal.line(
        (visible(content) if context.terminal.is_terminal else content).rstrip("\n")
    )


def edit(ctx: typer.Context, *, name: Name) -> None:
    """Edit one of your prompts in $VISUAL or $EDITOR, and create it if necessary."""
    context = current_context(ctx)
    if not prompts.is_prompt_name(name):
        raise UsageError(
            f"invalid name {name!r} of a prompt; use letters, digits, '_', '-' and '.', for example: review"
        )
    file = prompts.own_file(name, context.environ)
    if not context.terminal.interactive:
        raise Refused(f"an editor needs a terminal; write the file instead: {file}")
    created = not file.exists()
    if created:
        make_private_directory(file.parent)
        write_private(file, TEMPLATE.encode())
    edit_file(context, file)
    if created and file.exists() and file.read_bytes() == TEMPLATE.encode():
        file.unlink()
        context.terminal.note("Nothing was written, so the prompt was not created.")
        return
    prompts.saved_prompt(name, context.environ, context.cwd)  # reports a mistake in the header


def _record(prompt: SavedPrompt) -> dict[str, Any]:
    return {
        "name": prompt.name,
        "description": prompt.description,
        "model": prompt.model,
        "system": prompt.system,
        "tools": None if prompt.tools is None else list(prompt.tools),
        "variables": dict(prompt.variables),
        "path": str(prompt.path),
        "project": prompt.in_project,
    }


def _table(rows: Sequence[SavedPrompt]) -> Table:
    columns = [
        Column("PROMPT", "cyan"),
        Column("MODEL", shrink=True),
        Column("DESCRIPTION", shrink=True),
        Column("FROM", "dim"),
    ]
    return Table(
        columns,
        [
            [one.name, one_line(one.model or ""), one_line(one.summary), _source(one)]
            for one in rows
        ],
    )


def _source(prompt: SavedPrompt) -> str:
    return "project" if prompt.in_project else "you"
