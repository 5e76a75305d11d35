"""`omniagent sessions list`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omniagent_cli import parsing
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.here import HereOption, filter_here
from omniagent_cli.cli.framework.options import (
    Archived,
    Limit,
    Meta,
    OlderThan,
    PrintNull,
    Since,
    Tag,
    Until,
    completed_by,
)
from omniagent_cli.cli.framework.row_output import show_fields
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import UsageError
from omniagent_cli.models import SessionSummary
from omniagent_cli.stores.backend import SORTS
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui import views
from omniagent_cli.ui.views import counted

if TYPE_CHECKING:
    from omniagent_cli.stores.operations.read import SessionPage

SHOWN_TO_A_PERSON = 20
_PAGE = 500
_COUNTED_AT_MOST = 1_000
_FILTERS = ("metadata", "tags", "since", "until", "archived", "cwd")


def list_sessions(
    ctx: typer.Context,
    *,
    limit: Limit = None,
    everything: Annotated[
        bool, typer.Option("--all", help="list all, including archived ones")
    ] = False,
    sort: Annotated[
        str, typer.Option(metavar="KEY", help=parsing.alternatives(SORTS), **completed_by(SORTS))
    ] = "updated",
    meta: Meta = None,
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    older_than: OlderThan = None,
    archived: Archived = False,
    here: HereOption = False,
    asks: Annotated[
        bool, typer.Option("--asks", help="also list one-shot questions of 'omniagent ask'")
    ] = False,
    ids: Annotated[bool, typer.Option("--ids", help="print only ids")] = False,
    null: PrintNull = False,
) -> None:
    """List sessions, pinned ones first, by last use."""
    context = current_context(ctx)
    parsing.check_not_negative(limit, "--limit")
    if null and not ids:
        raise UsageError("-0 needs --ids")
    if limit is not None and everything:
        raise UsageError("use either --limit or --all, not both")
    choice = parsing.session_filters(meta, tag, since, until, older_than)
    choice |= {"sort": sort, "archived": None if everything else archived}
    if here:
        choice |= filter_here(context)
    if context.terminal.is_terminal and limit is None and not (everything or context.json or null):
        if not (asks or ids):
            _show_without_asks(context, choice)
            return
        limit = SHOWN_TO_A_PERSON
    _show(context, choice, limit, ids=ids, end="\0" if null else "\n")


def _show_without_asks(context: Context, choice: dict[str, Any]) -> None:
    """Print the first sessions as a table, and count those that are left out."""
    found = context.store.list(limit=_COUNTED_AT_MOST, **choice)
    sessions = [summary for summary in found if not summary.is_one_shot]
    asks, more = len(found) - len(sessions), "more than " * (found.next_cursor is not None)
    if sessions or not asks:
        _show_person(context, sessions[:SHOWN_TO_A_PERSON], choice, ids=False)
    if more or len(sessions) > SHOWN_TO_A_PERSON:
        shown = min(len(sessions), SHOWN_TO_A_PERSON)
        total = f"{more}{len(sessions):,}"
        context.terminal.note(f"Showing {shown} of {total}. Use --all or --limit N.")
    if asks:
        context.terminal.note(f"{counted(asks, 'one-shot question')} not listed. Use --asks.")


def _show(
    context: Context, choice: dict[str, Any], limit: int | None, *, ids: bool, end: str
) -> None:
    terminal = context.terminal
    if context.json:
        found = [summary for page in _pages(context, choice, limit) for summary in page]
        terminal.json([s.id if ids else s.to_record() for s in found])
        return
    if not terminal.is_terminal or end == "\0":
        for page in _pages(context, choice, limit):
            if ids:
                terminal.write("".join(f"{summary.id}{end}" for summary in page))
            else:
                show_fields(context, map(views.session_fields, page))
        _note_unlisted(context, choice, limit, page)
        return
    shown: list[SessionSummary] = []
    for page in _pages(context, choice, limit):
        shown += page
    _show_person(context, shown, choice, ids=ids)
    _note_unlisted(context, choice, limit, page)


def _show_person(
    context: Context, shown: list[SessionSummary], choice: dict[str, Any], *, ids: bool
) -> None:
    terminal = context.terminal
    if not shown:
        plain = not any(choice.get(key) for key in _FILTERS)
        nothing = "No sessions yet. Start one: omniagent chat"
        terminal.note(nothing if plain else "No session matches")
        return
    with terminal.paged() as out:
        if ids:
            for summary in shown:
                out.line(one_line(summary.id))
        else:
            terminal.table(views.session_table(shown, utc_now(), terminal.width), out)


def _pages(context: Context, choice: dict[str, Any], limit: int | None) -> Iterator[SessionPage]:
    """Yield summaries page by page, so that output starts before all are read."""
    left, cursor = limit, None
    while True:
        size = _PAGE if left is None else min(_PAGE, left)
        page = context.store.list(limit=size, cursor=cursor, **choice)
        yield page
        cursor = page.next_cursor
        left = None if left is None else left - len(page)
        if cursor is None or left == 0:
            return


def _note_unlisted(
    context: Context, choice: dict[str, Any], limit: int | None, last: SessionPage
) -> None:
    """Print how many sessions were not listed."""
    if limit is None or last.next_cursor is None:
        return
    rest = context.store.list(limit=_COUNTED_AT_MOST, cursor=last.next_cursor, **choice)
    total = (
        f"{limit + len(rest):,}" if rest.next_cursor is None else f"more than {limit + len(rest):,}"
    )
    context.terminal.note(f"Showing {limit:,} of {total}. Use --all or --limit N.")
