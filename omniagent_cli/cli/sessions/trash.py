"""`omniagent sessions restore`, `trash` and `prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.confirmation import confirm
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import FAILED
from omniagent_cli.cli.framework.options import DryRun, Yes
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.cli.framework.stdin_ids import FromStdin, Null, named_and_piped
from omniagent_cli.cli.sessions.remove import warn_of_backups
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import NothingToRestore, SessionExists, UsageError
from omniagent_cli.parsing import did_you_mean
from omniagent_cli.ui import views
from omniagent_cli.ui.views import counted, quoted

if TYPE_CHECKING:
    from omniagent_cli.stores.operations.trash import TrashEntry


def restore(
    ctx: typer.Context,
    *,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="sessions to restore", show_default=False),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="restore everything in the trash")
    ] = False,
    stdin: FromStdin = False,
    null: Null = False,
    as_id: Annotated[
        str | None, typer.Option("--as", metavar="NEW", help="restore under another id")
    ] = None,
    entry: Annotated[
        str | None, typer.Option(metavar="ENTRY", help="restore this entry of 'sessions trash'")
    ] = None,
) -> None:
    """Undo the last removal, or restore sessions: a deleted session, or messages at their old positions.

    A command that removed from many sessions is undone as a whole.
    """
    context = current_context(ctx)
    named = [
        session_ids.resolve_for_creation(context, one)
        for one in named_and_piped(context, ids, stdin=stdin, null=null)
    ]
    new_id = None if as_id is None else session_ids.parse_session_id(as_id)
    chosen = _chosen(
        context, named, entry=entry, everything=everything, is_named=bool(ids) or stdin
    )
    if new_id is not None and len(chosen) > 1:
        raise UsageError(f"--as restores one entry, not {len(chosen)}; name it with --entry")
    restored: list[dict[str, Any]] = []
    failed = False
    for one in chosen:
        try:
            found = context.store.restore(uid=one.uid, as_id=new_id)
        except SessionExists as error:
            if len(chosen) == 1:
                raise
            context.terminal.error(str(error))
            failed = True
            continue
        back = new_id or found.session_id
        restored.append({**views.trash_record(found), "restored_as": back})
        _report(context, found, back)
    context.directory_sessions.forget()
    if context.json:
        context.terminal.json(restored if len(chosen) > 1 else restored[0])
    if failed:
        raise typer.Exit(FAILED)


def _report(context: Context, found: TrashEntry, back: str) -> None:
    what = "the session" if found.kind == "deleted" else f"the {found.kind} messages of"
    messages = counted(found.message_count, "message")
    where = "" if back == found.session_id else f" as {quoted(back)}"
    context.terminal.note(f"Restored {what} {quoted(found.session_id)}{where}: {messages}")


def _chosen(
    context: Context, named: list[str], *, entry: str | None, everything: bool, is_named: bool
) -> list[TrashEntry]:
    """Return the entries to restore, newest first, before a missing store is created.

    Raises:
        NothingToRestore: there is no such entry.
        UsageError: the options contradict each other.
    """
    if everything and (is_named or entry):
        raise UsageError("--all cannot be combined with ids or --entry")
    held = context.store.trash()
    if not held:
        raise NothingToRestore("the trash is empty")
    if entry is not None:
        found = [one for one in held if one.uid == entry and named in ([], [one.session_id])]
        if not found:
            raise NothingToRestore(
                f"the trash has no entry {entry!r}; run 'omniagent sessions trash' to list it"
            )
        return found
    if everything:
        return held
    if is_named:
        return [_newest(held, session_id) for session_id in named]
    operation = held[0].operation
    return [one for one in held if one.operation == operation] if operation else held[:1]


def _newest(held: list[TrashEntry], session_id: str) -> TrashEntry:
    for one in held:
        if one.session_id == session_id:
            return one
    otherwise = "run 'omniagent sessions trash' to list it"
    known = dict.fromkeys(one.session_id for one in held)
    hint = did_you_mean(session_id, known, otherwise, shown=quoted)
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
