"""`omniagent config`: show and change settings, and trust project files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omniagent_cli.cli.framework.confirmation import confirm
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.editor import edit_file
from omniagent_cli.cli.framework.exits import Refused
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.cli.settings.validation import check_use
from omniagent_cli.config.display import SettingRow, describe
from omniagent_cli.config.edit import set_value, unset_value
from omniagent_cli.config.paths import config_path
from omniagent_cli.config.project import find_project_file
from omniagent_cli.config.prompts import project_texts
from omniagent_cli.config.settings import load_settings
from omniagent_cli.config.trust import is_trusted, trust_file, trust_project
from omniagent_cli.errors import ConfigError
from omniagent_cli.private_files import make_private_directory, write_private
from omniagent_cli.text.sanitize import one_line, plain_field, visible
from omniagent_cli.ui.cells import Column, Table

Key = Annotated[str, typer.Argument(metavar="KEY", help="a setting such as window.max_messages")]


def list_settings(
    ctx: typer.Context,
    *,
    changed: Annotated[
        bool, typer.Option("--changed", help="only settings that are not at their default")
    ] = False,
) -> None:
    """List all settings with their values and sources. Secrets are masked."""
    context = current_context(ctx)
    rows = describe(context.settings)
    _show(context, [row for row in rows if not changed or row.layer != "default"])


def get(ctx: typer.Context, *, key: Key) -> None:
    """Print one setting, or a table of settings."""
    context = current_context(ctx)
    rows = describe(context.settings, key)
    if len(rows) != 1 or rows[0].key != key:
        _show(context, rows)
    elif context.json:
        context.terminal.json(rows[0].value)
    else:
        text = rows[0].text
        context.terminal.line(visible(text) if context.terminal.is_terminal else text)


def set_(
    ctx: typer.Context,
    *,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="the value")],
) -> None:
    """Change a setting in your file; comments and order are kept."""
    context = current_context(ctx)
    check_use(context, key, value)
    set_value(_user_file(context), key, value)
    context.terminal.detail(f"Set {key} in {_user_file(context)}")


def unset(ctx: typer.Context, *, key: Key) -> None:
    """Remove a setting from your file, which restores its default."""
    context = current_context(ctx)
    if not unset_value(_user_file(context), key):
        context.terminal.note(f"{key} was not set in {_user_file(context)}")


def path(ctx: typer.Context) -> None:
    """Print the path of your settings file, whether it exists or not."""
    context = current_context(ctx)
    place = str(_user_file(context))
    context.terminal.line(visible(place) if context.terminal.is_terminal else place)


def edit(ctx: typer.Context) -> None:
    """Edit your settings file in $VISUAL or $EDITOR, then check it."""
    context = current_context(ctx)
    if not context.terminal.interactive:
        raise Refused("an editor needs a terminal; use 'omniagent config set KEY VALUE' instead")
    file = _user_file(context)
    if not file.exists():
        make_private_directory(file.parent)
        write_private(file, b"")
    edit_file(context, file)
    load_settings(context.environ, context.cwd, context.config_file)


def trust(
    ctx: typer.Context,
    *,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="a project settings file (default: the one of this directory)",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Trust a project settings file, which may then set anything, and the prompts and skills beside it, until they change."""
    context = current_context(ctx)
    found = file or find_project_file(context.cwd, context.environ)
    if found is None:
        raise ConfigError("no .omniagent.toml in this directory or above")
    if not context.terminal.interactive:
        raise Refused("'config trust' needs a terminal")
    try:
        content = found.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"cannot read {found}: {error.strerror}; choose another file") from error
    for line in visible(content).splitlines():
        context.terminal.note(f"  {line}")
    confirm(context, f"trust {found} with these settings", yes=False)
    trust_project(found, environ=context.environ)
    context.terminal.note(f"Trusted {found}, until it changes")
    for text in project_texts(found.parent):
        _trust_text(context, text)


def _trust_text(context: Context, file: Path) -> None:
    """Show a prompt or a file of a skill of a project, and trust it if the user agrees."""
    content = file.read_bytes()
    if is_trusted(file, environ=context.environ, content=content):
        return
    for line in visible(content.decode("utf-8", "replace")).splitlines():
        context.terminal.note(f"  {line}")
    if context.terminal.confirm(f"Trust {file}?"):
        trust_file(file, environ=context.environ, content=content)


def _user_file(context: Context) -> Path:
    return config_path(context.environ, context.config_file)


def _show(context: Context, rows: list[SettingRow]) -> None:
    if context.json:
        context.terminal.json({row.key: {"value": row.value, "from": row.origin} for row in rows})
        return
    show_rows(
        context,
        rows,
        record=list,
        fields=lambda row: [plain_field(row.key), plain_field(row.text), plain_field(row.origin)],
        table=_table,
        empty="Nothing is set",
    )


def _table(rows: object) -> Table:
    columns = [
        Column("SETTING", "cyan"),
        Column("VALUE", shrink=True),
        Column("FROM", "dim", shrink=True),
    ]
    assert isinstance(rows, list)  # noqa: S101  # as passed by `_show`
    return Table(
        columns, [[one_line(row.key), one_line(row.text), one_line(row.origin)] for row in rows]
    )
