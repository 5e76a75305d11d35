"""`omniagent sessions search`."""

from __future__ import annotations

from typing import Annotated

import typer

from omniagent_cli import parsing
from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import FAILED
from omniagent_cli.cli.framework.here import HereOption
from omniagent_cli.cli.framework.options import Limit, Meta, PrintNull, Tag, completed_by
from omniagent_cli.cli.framework.row_output import show_fields
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import UsageError
from omniagent_cli.models import ROLES
from omniagent_cli.stores.query import SearchHit, parse
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui import views
from omniagent_cli.ui.search_view import hit_rows
from omniagent_cli.ui.views import counted

SHOWN_TO_A_PERSON = 20


def search(
    ctx: typer.Context,
    *,
    query: Annotated[
        list[str],
        typer.Argument(metavar="QUERY...", help='words, "phrases" and prefix*; all must occur'),
    ],
    session: Annotated[
        str | None, typer.Option("--session", "-s", metavar="ID", help="search only this session")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help=f"only messages of this role: {parsing.alternatives(ROLES)}",
            **completed_by(ROLES),
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="messages at or after this time: 2026-11-21, 7d, today"),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="messages before this time")
    ] = None,
    tag: Tag = None,
    meta: Meta = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="answers and sessions of this model"),
    ] = None,
    here: HereOption = False,
    limit: Limit = None,
    only_ids: Annotated[
        bool, typer.Option("--ids", help="print only the ids of the sessions")
    ] = False,
    null: PrintNull = False,
) -> None:
    """Search messages, newest first. Case and accents do not matter.

    Exit code 1 if nothing matches.
    """
    context = current_context(ctx)
    parsing.check_not_negative(limit, "--limit")
    if null and not only_ids:
        raise UsageError("-0 needs --ids")
    if role is not None:
        parsing.check_choice(role, ROLES, "--role")
    if limit is None and context.terminal.is_terminal and not context.json:
        limit = SHOWN_TO_A_PERSON
    text = " ".join(query)
    session_id = None if session is None else session_ids.resolve_for_reading(context, session)
    hits = context.store.search(
        text,
        session_id=session_id,
        role=role,
        model=model,
        cwd=str(context.cwd) if here else None,
        limit=limit,
        **parsing.session_filters(meta, tag, since, until, None),
    )
    if only_ids:
        _show_ids(context, hits, null=null)
    elif context.json:
        context.terminal.json([views.hit_record(hit) for hit in hits])
    elif context.terminal.is_terminal:
        _show_person(context, hits, text)
    else:
        show_fields(context, map(views.hit_fields, hits))
    if hits.scanned:
        context.terminal.detail(f"read {counted(hits.scanned, 'message')}: {_why_scanned(context)}")
    if not hits.complete:
        context.terminal.note(f"Showing {limit} matches. Use --limit N for more.")
    if not hits:
        raise typer.Exit(FAILED)


def _show_ids(context: Context, hits: list[SearchHit], *, null: bool) -> None:
    found = list(dict.fromkeys(hit.session_id for hit in hits))
    if context.json:
        context.terminal.json(found)
    elif null or not context.terminal.is_terminal:
        end = "\0" if null else "\n"
        context.terminal.write("".join(f"{name}{end}" for name in found))
    else:
        for name in found:
            context.terminal.line(one_line(name))


def _why_scanned(context: Context) -> str:
    if context.store.has_key:
        return "encrypted stores have no search index"
    return f"a store of kind '{context.store.backend}' has no search index"


def _show_person(context: Context, hits: list[SearchHit], query: str) -> None:
    if not hits:
        known = bool(parse(query).terms)
        context.terminal.note("No message matches" if known else "The query has no words")
        return
    terminal = context.terminal
    with terminal.paged() as out:
        for row in hit_rows(hits, style=terminal.style, width=terminal.prose_width, now=utc_now()):
            out.line(row)
