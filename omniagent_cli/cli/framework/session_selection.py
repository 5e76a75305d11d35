"""Which sessions a removal is about: those that were named, or those that options choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omniagent_cli import parsing as given
from omniagent_cli.cli.framework import session_ids as ids
from omniagent_cli.cli.framework.context import Context
from omniagent_cli.errors import UsageError
from omniagent_cli.models import SessionSummary
from omniagent_cli.ui.views import counted, quoted


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says about which sessions.

    Attributes:
        piped: names were to come from stdin as well, so that none is no mistake.
    """

    named: Sequence[str] | None = None
    everything: bool = False
    older_than: str | None = None
    meta: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    include_pinned: bool = False
    piped: bool = False

    @property
    def by_options(self) -> bool:
        """Whether options choose."""
        return self.everything or bool(self.older_than or self.meta or self.tags)


def chosen(context: Context, wanted: Wanted, verb: str) -> list[SessionSummary]:
    """Return the sessions, in the order named or listed; pinned ones only when named or included.

    Raises:
        UsageError: nothing says which, or names and options both do.
        SessionNotFound: one that was named is not there; nothing was done then.
    """
    by_name = wanted.named or wanted.piped
    if by_name and wanted.by_options:
        raise UsageError(f"name sessions or choose them by options, not both, to {verb} them")
    if by_name:
        whole = dict.fromkeys(ids.to_destroy(context, name) for name in wanted.named or ())
        return [context.store.summary(session_id) for session_id in whole]
    if not wanted.by_options:
        raise UsageError(
            f"nothing says which sessions to {verb}; name them, or choose them with --all, --older-than, --meta or --tag"
        )
    found = context.store.list(
        metadata=given.pairs(wanted.meta or (), "--meta"),
        tags=wanted.tags or (),
        until=given.moment_before(wanted.older_than, "--older-than") if wanted.older_than else None,
        archived=None,
    )
    if wanted.include_pinned:
        return list(found)
    taken = [summary for summary in found if not summary.pinned]
    if spared := len(found) - len(taken):
        context.terminal.note(
            f"{counted(spared, 'pinned session')} left alone; --include-pinned takes them too"
        )
    return taken


def described(sessions: Sequence[SessionSummary]) -> str:
    """Say which sessions: the one by its id, many by their number."""
    if len(sessions) == 1:
        return f"the session {quoted(sessions[0].id)}"
    return counted(len(sessions), "session")
