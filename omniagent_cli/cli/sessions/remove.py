"""The commands `omniagent sessions trim`, `clear` and `delete`, which ask for confirmation and can be undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from omniagent_cli import parsing
from omniagent_cli.cli.framework.confirmation import confirm
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.options import (
    ChosenIds,
    DryRun,
    Everything,
    IncludePinned,
    Meta,
    OlderThan,
    Purge,
    Tag,
    Yes,
)
from omniagent_cli.cli.framework.session_selection import (
    SessionSelection,
    describe_sessions,
    select_sessions,
)
from omniagent_cli.cli.framework.stdin_ids import FromStdin, Null, named_and_piped
from omniagent_cli.models import SessionSummary
from omniagent_cli.text.sanitize import plain_field
from omniagent_cli.ui.views import counted


@dataclass(frozen=True, slots=True)
class Removal:
    """One run of a command that removes messages or sessions.

    Attributes:
        selection: the sessions to remove from.
        yes: whether the removal was confirmed on the command line.
        purge: whether to bypass the trash.
    """

    context: Context
    selection: SessionSelection
    yes: bool
    dry_run: bool
    purge: bool


def removal_command(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options that select sessions and confirm their removal.

    Args:
        command: function of a `Removal` and its own options, which come after the ids.
    """

    def run(
        ctx: typer.Context,
        *,
        ids: ChosenIds = None,
        everything: Everything = False,
        older_than: OlderThan = None,
        meta: Meta = None,
        tag: Tag = None,
        include_pinned: IncludePinned = False,
        stdin: FromStdin = False,
        null: Null = False,
        yes: Yes = False,
        dry_run: DryRun = False,
        purge: Purge = False,
        **own: Any,
    ) -> None:
        context = current_context(ctx)
        named = named_and_piped(context, ids, stdin=stdin, null=null)
        selection = SessionSelection(
            named, everything, older_than, meta, tag, include_pinned, stdin
        )
        command(Removal(context, selection, yes, dry_run, purge), **own)

    ctx, ids, *shared, _ = signature(run, eval_str=True).parameters.values()
    _, *own = signature(command, eval_str=True).parameters.values()
    parameters: list[Parameter] = [ctx, ids, *own, *shared]
    run.__doc__ = command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(run)["__signature__"] = Signature(parameters)  # Typer makes the options of it
    return run


@removal_command
def trim(
    removal: Removal,
    *,
    keep: Annotated[int, typer.Option(metavar="N", help="the number of messages to keep")],
) -> None:
    """Keep only the last messages of sessions. Undo with 'omniagent sessions restore'."""
    parsing.check_not_negative(keep, "--keep")
    store = removal.context.store
    plan = [
        (summary, summary.message_count - keep)
        for summary in select_sessions(removal.context, removal.selection, "trim")
        if summary.message_count > keep
    ]
    _remove(
        removal, plan, f"remove {_messages(plan)} of {_sessions(plan)}", "to trim",
        lambda session_id: store.trim(session_id, keep, purge=removal.purge),
    )  # fmt: skip


@removal_command
def clear(removal: Removal) -> None:
    """Remove all messages of sessions, but keep ids, titles and metadata. Undo with 'omniagent sessions restore'."""
    store = removal.context.store
    plan = [
        (summary, summary.message_count)
        for summary in select_sessions(removal.context, removal.selection, "clear")
        if summary.message_count or removal.purge
    ]
    _remove(
        removal, plan, f"remove all {_messages(plan)} of {_sessions(plan)}", "to clear",
        lambda session_id: store.clear(session_id, purge=removal.purge),
    )  # fmt: skip


@removal_command
def delete(removal: Removal) -> None:
    """Delete sessions with all their data. Undo with 'omniagent sessions restore'."""
    store = removal.context.store
    found = select_sessions(removal.context, removal.selection, "delete")
    plan = [(summary, summary.message_count) for summary in found]
    _remove(
        removal, plan, f"delete {_sessions(plan)} with {_messages(plan)}", "to delete",
        lambda session_id: store.delete(session_id, purge=removal.purge),
    )  # fmt: skip


def _sessions(plan: list[tuple[SessionSummary, int]]) -> str:
    return describe_sessions([summary for summary, _ in plan])


def _messages(plan: list[tuple[SessionSummary, int]]) -> str:
    return counted(sum(number for _, number in plan), "message")


def _remove(
    removal: Removal,
    plan: list[tuple[SessionSummary, int]],
    action: str,
    purpose: str,
    remove: Callable[[str], object],
) -> None:
    """Confirm and carry out a plan of sessions with their numbers of messages, or print it in a dry run."""
    context, terminal = removal.context, removal.context.terminal
    action += " permanently" if removal.purge else ""
    if not plan:
        terminal.note(f"Nothing {purpose}")
    elif removal.dry_run:
        terminal.note(f"Dry run: would {action}")
    else:
        confirm(context, action, yes=removal.yes)
        with context.store.one_operation(), terminal.progress("removing", len(plan)) as advance:
            for summary, _ in plan:
                remove(summary.id)
                advance(1)
        verb, _, rest = action.partition(" ")
        undo = "" if removal.purge else ". Undo: omniagent sessions restore"
        terminal.note(f"{verb.capitalize()}d {rest}{undo}")
        if removal.purge:
            warn_of_backups(context)
    if context.json:
        terminal.json([{"id": summary.id, "messages": number} for summary, number in plan])
    elif removal.dry_run:
        for summary, number in plan:
            terminal.fields([plain_field(summary.id), str(number)])


def warn_of_backups(context: Context) -> None:
    """List the backups that may still contain what was purged."""
    for path in context.store.known_backups():
        context.terminal.note(f"The purged text may still be in the backup {path}")
