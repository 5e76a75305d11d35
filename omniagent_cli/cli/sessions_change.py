"""`omniagent sessions rename`, `fork`, `touch`, `title`, `tag`, `pin`, `archive` and their opposites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from omniagent_cli.cli import given, ids
from omniagent_cli.cli.context import Context, running
from omniagent_cli.cli.options import ManyIds, OneId
from omniagent_cli.durations import format_duration, ttl_seconds
from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.repl.turns import check_position
from omniagent_cli.text import one_line, plain_field
from omniagent_cli.ui.views import counted, quoted


def rename(
    ctx: typer.Context,
    *,
    id_: OneId,
    new: Annotated[str, typer.Argument(metavar="NEW", help="an id that is free")],
) -> None:
    """Give a session another id; everything else stays."""
    context = running(ctx)
    old_id, new_id = ids.to_change(context, id_), ids.named(new)
    context.store.rename(old_id, new_id)
    context.recent.renamed(old_id, new_id)
    context.terminal.note(f"{quoted(old_id)} is {quoted(new_id)} now")


def fork(
    ctx: typer.Context,
    *,
    id_: OneId,
    new: Annotated[
        str | None,
        typer.Argument(
            metavar="[NEW]", help="the copy's id; without it, one is made", show_default=False
        ),
    ] = None,
    at: Annotated[
        int | None,
        typer.Option(
            metavar="POSITION", help="up to and including this message, as 'show' numbers them"
        ),
    ] = None,
) -> None:
    """Copy a session, to go on from there without changing it. Prints the copy's id."""
    context = running(ctx)
    given.not_negative(at, "--at")
    source = ids.to_change(context, id_)
    check_position(context.store, source, at)
    new_id = context.store.fork(source, None if new is None else ids.named(new), at=at)
    if context.json:
        context.terminal.json({"id": new_id, "forked_from": source})
    else:
        context.terminal.line(one_line(new_id) if context.terminal.is_terminal else new_id)


def touch(
    ctx: typer.Context,
    *,
    id_: ManyIds,
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="change the time to live: 30m, 7d, never")
    ] = None,
) -> None:
    """Start sessions' time to live again, or change it."""
    context = running(ctx)
    if ttl is not None:
        ttl_seconds(ttl)

    def change(session_id: str) -> None:
        if ttl is None:
            context.store.touch(session_id)
        else:
            context.store.set_ttl(session_id, ttl)

    _each(context, id_, change, _expiry)


def _expiry(context: Context, session_id: str) -> str:
    from datetime import timedelta

    seconds = context.store.header(session_id).ttl_seconds
    if seconds is None:
        return "never expires"
    return f"expires {format_duration(timedelta(seconds=seconds))} after its last use"


def title(
    ctx: typer.Context,
    *,
    id_: OneId,
    text: Annotated[list[str], typer.Argument(metavar="TEXT...", help="the title")],
) -> None:
    """Give a session a title; an empty one takes it away."""
    context = running(ctx)
    session_id = ids.to_change(context, id_)
    words = " ".join(text).strip()
    context.store.set_title(session_id, words)
    told = f"is called '{words}' now" if words else "has no title now"
    context.terminal.note(f"{quoted(session_id)} {told}")


def tag(
    ctx: typer.Context,
    *,
    id_: OneId,
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[+TAG|-TAG]...", help="tags to add and remove", show_default=False),
    ] = None,
) -> None:
    """Add and remove tags, and print those the session has."""
    context = running(ctx)
    added, removed = _signed(changes or [])
    session_id = ids.to_change(context, id_)
    if added or removed:
        tags = context.store.tag(session_id, added, removed)
    else:
        tags = context.store.summary(session_id).tags
    if context.json:
        context.terminal.json(tags)
        return
    clean = one_line if context.terminal.is_terminal else plain_field
    for name in tags:
        context.terminal.line(clean(name))


def _signed(changes: Sequence[str]) -> tuple[list[str], list[str]]:
    added: list[str] = []
    removed: list[str] = []
    for change in changes:
        sign, name = change[:1], change[1:]
        if name.startswith("-") or sign not in ("+", "-") or not name.strip():
            raise UsageError(
                f"{change!r} does not say what to do; write +work to add a tag and -work to remove it"
            )
        (added if sign == "+" else removed).append(name)
    return added, removed


def pin(ctx: typer.Context, *, id_: ManyIds) -> None:
    """List sessions first, and spare them when many are removed."""
    _mark(running(ctx), id_, "pinned", on=True)


def unpin(ctx: typer.Context, *, id_: ManyIds) -> None:
    """Take the pin off sessions."""
    _mark(running(ctx), id_, "pinned", on=False)


def archive(ctx: typer.Context, *, id_: ManyIds) -> None:
    """Leave sessions out of lists; 'list --archived' and 'search' still find them."""
    _mark(running(ctx), id_, "archived", on=True)


def unarchive(ctx: typer.Context, *, id_: ManyIds) -> None:
    """List sessions again."""
    _mark(running(ctx), id_, "archived", on=False)


def _mark(context: Context, named: Sequence[str], key: str, *, on: bool) -> None:
    def change(session_id: str) -> None:
        if on:
            context.store.set_metadata(session_id, key, True)  # noqa: FBT003  # the value, not a flag
        else:
            context.store.delete_metadata(session_id, key)

    _each(context, named, change, lambda _context, _id: f"is {'' if on else 'no longer '}{key}")


def _each(
    context: Context,
    named: Sequence[str],
    change: Callable[[str], None],
    told: Callable[[Context, str], str],
) -> None:
    """Change sessions that all exist; when one does not, none is changed."""
    whole = list(dict.fromkeys(ids.to_change(context, name) for name in named))
    if not whole:
        raise SessionNotFound("no session was named; name at least one")
    for session_id in whole:
        change(session_id)
    if len(whole) == 1:
        context.terminal.note(f"{quoted(whole[0])} {told(context, whole[0])}")
    else:
        context.terminal.note(f"changed {counted(len(whole), 'session')}")
