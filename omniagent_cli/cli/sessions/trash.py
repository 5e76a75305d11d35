"""`omniagent sessions restore`, `trash` and `prune`: undo, and what is gone for good."""

from __future__ import annotations

from typing import Annotated

import typer

from omniagent_cli.cli.framework import session_ids as ids
from omniagent_cli.cli.framework.confirmation import agreed
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.options import DryRun, Yes
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.cli.sessions.remove import tell_copies
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import NothingToRestore
from omniagent_cli.ui import views
from omniagent_cli.ui.views import counted, quoted


def restore(
    ctx: typer.Context,
    *,
    id_: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="what was removed from this session last", show_default=False
        ),
    ] = None,
    as_id: Annotated[
        str | None, typer.Option("--as", metavar="NEW", help="bring it back under another id")
    ] = None,
    entry: Annotated[
        str | None, typer.Option(metavar="ENTRY", help="exactly this entry of 'sessions trash'")
    ] = None,
) -> None:
    """Bring back what was removed last: a deleted session, or messages at their old places."""
    context = current_context(ctx)
    session_id = None if id_ is None else ids.to_create(context, id_)
    new_id = None if as_id is None else ids.named(as_id)
    _look_before(context, session_id)
    found = context.store.restore(session_id, as_id=new_id, uid=entry)
    back = new_id or found.session_id
    if context.json:
        context.terminal.json({**views.trash_record(found), "restored_as": back})
    what = "the session" if found.kind == "deleted" else f"what was {found.kind} of"
    messages = counted(found.message_count, "message")
    where = "" if back == found.session_id else f" as {quoted(back)}"
    context.terminal.note(f"restored {what} {quoted(found.session_id)}{where}: {messages}")


def _look_before(context: Context, session_id: str | None) -> None:
    """Tell about an empty trash, or one without this id, before a store that is not there is made."""
    held = [entry.session_id for entry in context.store.trash()]
    if not held:
        raise NothingToRestore("the trash is empty; there is nothing to restore")
    if session_id is None or session_id in held:
        return
    from difflib import get_close_matches

    close = get_close_matches(session_id, dict.fromkeys(held), n=3)
    hint = (
        f"did you mean {' or '.join(map(quoted, close))}?"
        if close
        else "'omniagent sessions trash' lists what it holds"
    )
    raise NothingToRestore(
        f"the trash holds nothing of {quoted(session_id)}; {hint}", session_id=session_id
    )


def trash(
    ctx: typer.Context,
    *,
    empty: Annotated[bool, typer.Option("--empty", help="remove all of it for good")] = False,
    yes: Yes = False,
) -> None:
    """List what can be restored, the newest first."""
    context = current_context(ctx)
    entries = context.store.trash()
    if not empty:
        show_rows(
            context,
            entries,
            record=views.trash_record,
            fields=views.trash_fields,
            table=lambda rows: views.trash_table(rows, utc_now()),
            empty="The trash is empty",
        )
        return
    gone = 0
    if entries:
        agreed(context, f"remove {counted(len(entries), 'entry')} of the trash for good", yes=yes)
        gone = context.store.empty_trash()
    if context.json:
        context.terminal.json({"removed": gone})
    context.terminal.note(
        f"removed {counted(gone, 'entry')} of the trash for good" if gone else "The trash is empty"
    )
    if gone:
        tell_copies(context)


def prune(ctx: typer.Context, *, dry_run: DryRun = False) -> None:
    """Remove sessions whose time to live has passed; nothing shows them any more as it is."""
    context = current_context(ctx)
    number = context.store.count_expired()
    if number and not dry_run:
        number = context.store.purge_expired()
    if context.json:
        context.terminal.json({"expired": number, "removed": 0 if dry_run else number})
    verb = "would remove" if dry_run else "removed"
    context.terminal.note(f"{verb} {counted(number, 'expired session')}")
