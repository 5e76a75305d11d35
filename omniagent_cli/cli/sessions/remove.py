"""`omniagent sessions trim`, `clear` and `delete`: confirmed removals that can be undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from omniagent_cli import parsing as given
from omniagent_cli.cli.framework.confirmation import agreed
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
from omniagent_cli.cli.framework.session_selection import Wanted, chosen, described
from omniagent_cli.cli.framework.stdin_ids import FromStdin, Null, named_and_piped
from omniagent_cli.models import SessionSummary
from omniagent_cli.text.sanitize import plain_field
from omniagent_cli.ui.views import counted

Removal = tuple[SessionSummary, int]
"""A session and the number of messages to remove."""


def trim(
    ctx: typer.Context,
    *,
    ids: ChosenIds = None,
    keep: Annotated[int, typer.Option(metavar="N", help="the number of messages to keep")],
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
) -> None:
    """Keep only the last messages of sessions. Undo with 'omniagent sessions restore'."""
    context = current_context(ctx)
    given.not_negative(keep, "--keep")
    named = named_and_piped(context, ids, stdin=stdin, null=null)
    wanted = Wanted(named, everything, older_than, meta, tag, include_pinned, stdin)
    plan = [
        (summary, summary.message_count - keep)
        for summary in chosen(context, wanted, "trim")
        if summary.message_count > keep
    ]
    _carry_out(
        context, plan, ("remove", f"{_messages(plan)} of {_named(plan)}"), "to trim",
        lambda session_id: context.store.trim(session_id, keep, purge=purge),
        yes=yes, dry_run=dry_run, purge=purge,
    )  # fmt: skip


def clear(
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
) -> None:
    """Remove all messages of sessions; ids, titles and metadata stay. Undo with 'omniagent sessions restore'."""
    context = current_context(ctx)
    named = named_and_piped(context, ids, stdin=stdin, null=null)
    wanted = Wanted(named, everything, older_than, meta, tag, include_pinned, stdin)
    plan = [
        (summary, summary.message_count)
        for summary in chosen(context, wanted, "clear")
        if summary.message_count or purge
    ]
    _carry_out(
        context, plan, ("remove", f"all {_messages(plan)} of {_named(plan)}"), "to clear",
        lambda session_id: context.store.clear(session_id, purge=purge),
        yes=yes, dry_run=dry_run, purge=purge,
    )  # fmt: skip


def delete(
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
) -> None:
    """Delete sessions with all their data. Undo with 'omniagent sessions restore'."""
    context = current_context(ctx)
    named = named_and_piped(context, ids, stdin=stdin, null=null)
    wanted = Wanted(named, everything, older_than, meta, tag, include_pinned, stdin)
    plan = [(summary, summary.message_count) for summary in chosen(context, wanted, "delete")]
    _carry_out(
        context, plan, ("delete", f"{_named(plan)} with {_messages(plan)}"), "to delete",
        lambda session_id: context.store.delete(session_id, purge=purge),
        yes=yes, dry_run=dry_run, purge=purge,
    )  # fmt: skip


def _named(plan: list[Removal]) -> str:
    return described([summary for summary, _ in plan])


def _messages(plan: list[Removal]) -> str:
    return counted(sum(number for _, number in plan), "message")


def _carry_out(
    context: Context,
    plan: list[Removal],
    action: tuple[str, str],
    purpose: str,
    remove: Callable[[str], object],
    *,
    yes: bool,
    dry_run: bool,
    purge: bool,
) -> None:
    """Confirm, remove and report; a dry run lists the sessions instead."""
    terminal = context.terminal
    verb, what = action
    what += " permanently" if purge else ""
    if not plan:
        terminal.note(f"nothing {purpose}")
    elif dry_run:
        terminal.note(f"dry run: would {verb} {what}")
    else:
        agreed(context, f"{verb} {what}", yes=yes)
        with terminal.progress("removing", len(plan)) as advance:
            for summary, _ in plan:
                remove(summary.id)
                advance(1)
        last = " the last" if len(plan) > 1 else ""
        undo = "" if purge else f". Undo{last}: omniagent sessions restore"
        terminal.note(f"{verb.capitalize()}d {what}{undo}")
        if purge:
            warn_of_backups(context)
    if context.json:
        terminal.json([{"id": summary.id, "messages": number} for summary, number in plan])
    elif dry_run:
        for summary, number in plan:
            terminal.fields([plain_field(summary.id), str(number)])


def warn_of_backups(context: Context) -> None:
    """Warn about backups that may still contain purged text."""
    for path in context.store.copies():
        context.terminal.note(f"the purged text may still be in the backup {path}")
