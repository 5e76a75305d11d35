"""`omniagent sessions rename`, `fork`, `touch`, `title`, `tag`, `pin`, `archive` and their opposites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from omniagent_cli import parsing
from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.options import ChosenIds, OneId
from omniagent_cli.cli.framework.stdin_ids import FromStdin, LongNull, Null, named_and_piped
from omniagent_cli.durations import format_duration, ttl_seconds
from omniagent_cli.errors import UsageError
from omniagent_cli.repl.fork_points import check_position
from omniagent_cli.text.sanitize import one_line, plain_field
from omniagent_cli.ui.views import counted, quoted


def rename(
    ctx: typer.Context,
    *,
    id_: OneId,
    new: Annotated[str, typer.Argument(metavar="NEW", help="an unused id")],
) -> None:
    """Change the id of a session; everything else stays the same."""
    context = current_context(ctx)
    old_id, new_id = session_ids.resolve_for_change(context, id_), session_ids.parse_session_id(new)
    context.store.rename(old_id, new_id)
    context.last_used.rename(old_id, new_id)
    context.directory_sessions.forget()
    context.terminal.note(f"Renamed {quoted(old_id)} to {quoted(new_id)}")


def fork(
    ctx: typer.Context,
    *,
    id_: OneId,
    new: Annotated[
        str | None,
        typer.Argument(
            metavar="[NEW]", help="the id of the fork; generated if left out", show_default=False
        ),
    ] = None,
    at: Annotated[
        int | None,
        typer.Option(
            metavar="POSITION", help="copy up to and including this message number (see 'show')"
        ),
    ] = None,
) -> None:
    """Copy a session to continue it independently. Prints the id of the copy."""
    context = current_context(ctx)
    parsing.check_not_negative(at, "--at")
    source = session_ids.resolve_for_change(context, id_)
    check_position(context.store, source, at)
    new_id = context.store.fork(
        source, None if new is None else session_ids.parse_session_id(new), at=at
    )
    if context.json:
        context.terminal.json({"id": new_id, "forked_from": source})
    else:
        context.terminal.line(one_line(new_id) if context.terminal.is_terminal else new_id)


def touch(
    ctx: typer.Context,
    *,
    id_: ChosenIds = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="new time to live: 30m, 7d, never")
    ] = None,
    stdin: FromStdin = False,
    null: Null = False,
) -> None:
    """Restart the time to live of sessions, or change it."""
    context = current_context(ctx)
    if ttl is not None:
        ttl_seconds(ttl)

    def change(session_id: str) -> None:
        if ttl is None:
            context.store.touch(session_id)
        else:
            context.store.set_ttl(session_id, ttl)

    named = named_and_piped(context, id_, stdin=stdin, null=null)
    _each(context, named, change, _expiry, piped=stdin)


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
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="the title; '' removes it", show_default=False),
    ] = None,
) -> None:
    """Set the title of a session, or print it."""
    context = current_context(ctx)
    if not text:
        shown = context.store.summary(session_ids.resolve_for_reading(context, id_)).title
        context.terminal.line(
            one_line(shown) if context.terminal.is_terminal else plain_field(shown)
        )
        return
    session_id = session_ids.resolve_for_change(context, id_)
    words = " ".join(text).strip()
    context.store.set_title(session_id, words)
    done = (
        f"Set the title of {quoted(session_id)} to '{words}'"
        if words
        else f"Removed the title of {quoted(session_id)}"
    )
    context.terminal.note(done)


def tag(
    ctx: typer.Context,
    *,
    id_: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="the full id of a session", show_default=False),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[+TAG|-TAG]...", help="tags to add and remove", show_default=False),
    ] = None,
    stdin: FromStdin = False,
    null: LongNull = False,
) -> None:
    """Add and remove tags, and print the tags of the session."""
    context = current_context(ctx)
    if stdin:
        _tag_many(context, [*([] if id_ is None else [id_]), *(changes or [])], null=null)
        return
    if id_ is None or null:
        raise UsageError("no session given; name one, or use --stdin")
    added, removed = parsing.signed_tags(changes or [])
    session_id = session_ids.resolve_for_change(context, id_)
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


def _tag_many(context: Context, changes: list[str], *, null: bool) -> None:
    """Change the tags of the sessions listed on stdin; every word is a change."""
    added, removed = parsing.signed_tags(changes)
    if not added and not removed:
        raise UsageError("no tags given; use +work to add a tag and -work to remove it")
    named = named_and_piped(context, None, stdin=True, null=null)
    whole = dict.fromkeys(session_ids.resolve_for_change(context, name) for name in named)
    tags = {session_id: context.store.tag(session_id, added, removed) for session_id in whole}
    if context.json:
        context.terminal.json([{"id": key, "tags": value} for key, value in tags.items()])
    context.terminal.note(f"Changed {counted(len(tags), 'session')}")


def _marking(key: str, *, on: bool, text: str) -> Callable[..., None]:
    """Return a command that sets a key in the metadata of sessions to true, or removes it."""

    def run(
        ctx: typer.Context, *, id_: ChosenIds = None, stdin: FromStdin = False, null: Null = False
    ) -> None:
        context = current_context(ctx)

        def change(session_id: str) -> None:
            if on:
                context.store.set_metadata(session_id, key, True)  # noqa: FBT003  # the value, not a flag
            else:
                context.store.delete_metadata(session_id, key)

        named = named_and_piped(context, id_, stdin=stdin, null=null)
        state = f"is {'' if on else 'no longer '}{key}"
        _each(context, named, change, lambda *_: state, piped=stdin)

    run.__doc__ = text
    return run


pin = _marking(
    "pinned", on=True, text="Pin sessions: list them first and skip them in bulk removals."
)
unpin = _marking("pinned", on=False, text="Unpin sessions.")
archive = _marking(
    "archived",
    on=True,
    text="Hide sessions from lists; 'list --archived' and 'search' still find them.",
)
unarchive = _marking("archived", on=False, text="Show archived sessions in lists again.")


def _each(
    context: Context,
    named: Sequence[str],
    change: Callable[[str], None],
    describe: Callable[[Context, str], str],
    *,
    piped: bool,
) -> None:
    """Change several sessions; if one does not exist, none is changed."""
    if not named and not piped:
        raise UsageError("no session given; name at least one, or use --stdin")
    whole = list(dict.fromkeys(session_ids.resolve_for_change(context, name) for name in named))
    for session_id in whole:
        change(session_id)
    if len(whole) == 1:
        context.terminal.note(f"{quoted(whole[0])} {describe(context, whole[0])}")
    else:
        context.terminal.note(f"Changed {counted(len(whole), 'session')}")
