"""`omniagent sessions search`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from omniagent_cli.cli import given, ids
from omniagent_cli.cli.context import Context, running
from omniagent_cli.cli.listing import show_fields
from omniagent_cli.durations import describe_age, utc_now
from omniagent_cli.models import ROLES
from omniagent_cli.stores.search import SearchHit, parse
from omniagent_cli.text import one_line
from omniagent_cli.ui import views
from omniagent_cli.ui.views import counted

SHOWN_TO_A_PERSON = 20


def search(
    ctx: typer.Context,
    *,
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY...", help='words, "phrases" and prefix*; every one must occur'
        ),
    ],
    session: Annotated[
        str | None, typer.Option("--session", "-s", metavar="ID", help="only in this session")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="only messages of system, user, assistant or tool"),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="at most N; 20 on a terminal, no limit in a pipe"),
    ] = None,
) -> None:
    """Find messages, the newest first. Case and accents do not matter."""
    context = running(ctx)
    given.not_negative(limit, "--limit")
    if role is not None:
        given.one_of(role, ROLES, "--role")
    if limit is None and context.terminal.is_terminal and not context.json:
        limit = SHOWN_TO_A_PERSON
    text = " ".join(query)
    session_id = None if session is None else ids.to_read(context, session)
    hits = context.store.search(text, session_id=session_id, role=role, limit=limit)
    if context.json:
        context.terminal.json([views.hit_record(hit) for hit in hits])
    elif context.terminal.is_terminal:
        _show_person(context, hits, text)
    else:
        show_fields(context, map(views.hit_fields, hits))
    if hits.scanned:
        context.terminal.detail(f"read {counted(hits.scanned, 'message')}: {_why_scanned(context)}")
    if not hits.complete:
        context.terminal.note(f"there are more than {limit}; --limit N shows them")


def _why_scanned(context: Context) -> str:
    if context.store.has_key:
        return "an encrypted store has no search index"
    return f"a store of the kind '{context.store.backend}' has no search index"


def _show_person(context: Context, hits: list[SearchHit], query: str) -> None:
    if not hits:
        known = bool(parse(query).terms)
        context.terminal.note(
            "No message has all of that" if known else "There is no word to look for"
        )
        return
    with context.terminal.paged() as out:
        for number, hit in enumerate(hits):
            if number:
                out.line()
            for line in _lines(context, hit):
                out.line(line)


def _lines(context: Context, hit: SearchHit) -> Iterator[str]:
    style = context.terminal.style
    place = f"{hit.role} #{hit.position} · {describe_age(hit.created_at, utc_now())}"
    title = f" {one_line(hit.title)}" if hit.title else ""
    yield f"{style(one_line(hit.session_id), 'cyan')}{title} {style(f'· {place}', 'dim')}"
    before, match, after = views.hit_parts(hit)
    yield f"  {before}{style(match, 'bold red')}{after}"
