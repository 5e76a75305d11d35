"""`omniagent sessions restore`, `trash` and `prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.confirmation import confirm
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.options import DryRun, Yes
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.cli.sessions.remove import warn_of_backups
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import NothingToRestore
from omniagent_cli.parsing import did_you_mean
from omniagent_cli.ui import views
from omniagent_cli.ui.views import counted, quoted


def restore(
    ctx: typer.Context,
    *,
    id_: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="sessions to restore", show_default=False),
    ] = None,
    as_id: Annotated[
        str | None, typer.Option("--as", metavar="NEW", help="restore under another id")
    ] = None,
    entry: Annotated[
        str | None, typer.Option(metavar="ENTRY", help="restore this entry of 'sessions trash'")
    ] = None,
) -> None:
    """Undo the last removal: restore a deleted session, or messages at their old positions."""
    context = current_context(ctx)
    session_id = None if id_ is None else session_ids.resolve_for_creation(context, id_)
    new_id = None if as_id is None else session_ids.parse_session_id(as_id)
    _check_entry(context, session_id)
    found = context.store.restore(session_id, as_id=new_id, uid=entry)
    context.directory_sessions.forget()
    back = new_id or found.session_id
    if context.json:
        context.terminal.json({**views.trash_record(found), "restored_as": back})
    what = "the session" if found.kind == "deleted" else f"the {found.kind} messages of"
    messages = counted(found.message_count, "message")
    where = "" if back == found.session_id else f" as {quoted(back)}"
    context.terminal.note(f"Restored {what} {quoted(found.session_id)}{where}: {messages}")


def _check_entry(context: Context, session_id: str | None) -> None:
    """Raise an error if the trash has no such entry, before a missing store is created."""
    held = [entry.session_id for entry in context.store.trash()]
    if not held:
        raise NothingToRestore("the trash is empty")
    if session_id is None or session_id in held:
        return
    otherwise = "run 'omniagent sessions trash' to list it"
    hint = did_you_mean(session_id, dict.fromkeys(held), otherwise, shown=quoted)
    raise NothingToRestore(
        f"the trash has no entry of {quoted(session_id)}; {hint}", session_id=session_id
    )


def trash(
    ctx: typer.Context,
    *,
    empty: Annotated[
        bool, typer.Option("--empty", help="delete everything in the trash permanently")
    ] = False,
    yes: Yes = False,
) -> None:
    """List what can be restored, newest first."""
    context = current_context(ctx)
    entries = context.store.trash()
    if not empty:
        show_rows(
            context,
            entries,
            record=views.trash_record,
            fields=views.trash_fields,
            table=lambda rows: views.trash_table(rows, utc_now(), context.terminal.width),
            empty="The trash is empty",
        )
        return
    gone = 0
    if entries:
        confirm(
            context, f"remove {counted(len(entries), 'entry')} of the trash permanently", yes=yes
        )
        gone = context.store.empty_trash()
    if context.json:
        context.terminal.json({"removed": gone})
    context.terminal.note(
        f"Removed {counted(gone, 'entry')} from the trash permanently"
        if gone
        else "The trash is empty"
    )
    if gone:
        warn_of_backups(context)


def prune(ctx: typer.Context, *, dry_run: DryRun = False) -> None:
    """Remove expired sessions, which are already invisible."""
    context = current_context(ctx)
    number = context.store.count_expired()
    if number and not dry_run:
        number = context.store.purge_expired()
    if context.json:
        context.terminal.json({"expired": number, "removed": 0 if dry_run else number})
    verb = "Dry run: would remove" if dry_run else "Removed"
    context.terminal.note(f"{verb} {counted(number, 'expired session')}")
