"""Selection of the sessions of a bulk command: by id, or by options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omniagent_cli import parsing
from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.context import Context
from omniagent_cli.errors import UsageError
from omniagent_cli.models import SessionSummary
from omniagent_cli.ui.views import counted, quoted


@dataclass(frozen=True, slots=True)
class SessionSelection:
    """The ids and options of a command line that select sessions.

    Attributes:
        ids: ids from the command line and from stdin.
        from_stdin: whether ids were read from stdin, so that an empty list is not a mistake.
    """

    ids: Sequence[str] | None = None
    everything: bool = False
    older_than: str | None = None
    meta: list[str] | None = None
    tags: list[str] | None = None
    include_pinned: bool = False
    from_stdin: bool = False

    @property
    def by_options(self) -> bool:
        """True if options select the sessions."""
        return self.everything or bool(self.older_than or self.meta or self.tags)


def select_sessions(
    context: Context, selection: SessionSelection, verb: str
) -> list[SessionSummary]:
    """Return the selected sessions, in the order of the ids or of the list; filters skip pinned ones by default.

    Raises:
        UsageError: nothing selects sessions, or both ids and options do.
        SessionNotFound: an id does not exist.
    """
    by_id = selection.ids or selection.from_stdin
    if by_id and selection.by_options:
        raise UsageError(f"use either session ids or filters to choose what to {verb}, not both")
    if by_id:
        whole = dict.fromkeys(
            session_ids.resolve_for_removal(context, given) for given in selection.ids or ()
        )
        return [context.store.summary(session_id) for session_id in whole]
    if not selection.by_options:
        raise UsageError(
            "no sessions given; name them, or use --all, --older-than, --meta or --tag"
        )
    filters = parsing.session_filters(
        selection.meta, selection.tags, None, None, selection.older_than
    )
    found = context.store.list(archived=None, **filters)
    if selection.include_pinned:
        return list(found)
    unpinned = [summary for summary in found if not summary.pinned]
    if skipped := len(found) - len(unpinned):
        context.terminal.note(
            f"Skipped {counted(skipped, 'pinned session')}. Use --include-pinned to include them."
        )
    return unpinned


def describe_sessions(sessions: Sequence[SessionSummary]) -> str:
    """Return one session by its id, several by their number."""
    if len(sessions) == 1:
        return f"the session {quoted(sessions[0].id)}"
    return counted(len(sessions), "session")
