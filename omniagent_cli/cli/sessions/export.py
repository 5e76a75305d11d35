"""`omniagent sessions export`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from omniagent_cli import parsing
from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.export_target import ExportTarget, is_folder, write, write_folder
from omniagent_cli.cli.framework.options import (
    SELECTION,
    Archived,
    Meta,
    OlderThan,
    Replace,
    Since,
    Tag,
    Until,
    completed_by,
)
from omniagent_cli.cli.framework.stdin_ids import FromStdin, Null, named_and_piped
from omniagent_cli.errors import UsageError
from omniagent_cli.formats import EXPORTED, exported_formats
from omniagent_cli.models import ROLES

_PAGE = 500


def export(
    ctx: typer.Context,
    *,
    id_: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...", help="sessions: ids, unique prefixes, or @", show_default=False
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="all sessions, including archived ones", rich_help_panel=SELECTION
        ),
    ] = False,
    meta: Meta = None,
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    older_than: OlderThan = None,
    archived: Archived = False,
    stdin: FromStdin = False,
    null: Null = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE",
            help=f"only messages of {parsing.alternatives(ROLES)}; repeatable",
            **completed_by(ROLES),
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{EXPORTED}; default: by the extension of FILE",
            **completed_by(exported_formats()),
        ),
    ] = None,
    front_matter: Annotated[
        bool, typer.Option("--front-matter", help="start Markdown files with YAML front matter")
    ] = False,
    redact: Annotated[
        bool,
        typer.Option(
            "--redact", help="mask what looks like a key, token or password (best effort)"
        ),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR/",
            help="write to a file, or to a directory with one file per session",
        ),
    ] = None,
    yes: Replace = False,
) -> None:
    """Export sessions to stdout, a file, or a directory."""
    context = current_context(ctx)
    choice = parsing.session_filters(meta, tag, since, until, older_than)
    chosen = everything or archived or any(choice.values())
    if chosen and (id_ or stdin):
        raise UsageError("use either session ids or filters to choose what to export, not both")
    if not (chosen or id_ or stdin):
        raise UsageError("no sessions given; name them, or use --all, --tag, --meta or --since")
    if everything and archived:
        raise UsageError("use either --all or --archived, not both")
    choice["archived"] = None if everything else archived
    if output == "":
        raise UsageError("-o is empty; give a file, or a directory as DIR/")
    named = named_and_piped(context, id_, stdin=stdin, null=null)
    target = ExportTarget(
        format_,
        Path(output) if output is not None else None,
        redact=redact,
        only=[parsing.check_choice(role, ROLES, "--only") for role in only] if only else None,
        front_matter=front_matter,
        yes=yes,
    )
    wanted = _chosen(context, choice) if chosen else _named(context, named)
    if is_folder(output):
        write_folder(context, wanted, target)
    else:
        write(context, wanted, target, many=chosen or stdin or len(named) > 1)


def _named(context: Context, named: list[str]) -> Iterable[str]:
    return list(dict.fromkeys(session_ids.resolve_for_reading(context, name) for name in named))


def _chosen(context: Context, choice: dict[str, Any]) -> Iterable[str]:
    """Return the ids of the sessions that the filters select, before anything is written."""
    found: list[str] = []
    cursor = None
    while True:
        page = context.store.list(limit=_PAGE, cursor=cursor, **choice)
        found += [summary.id for summary in page]
        if (cursor := page.next_cursor) is None:
            break
    if not found and any(value for key, value in choice.items() if key != "archived"):
        context.terminal.note("No session matches")
    return iter(found)
