"""The option ``--here``: the sessions that began in the working directory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.durations import utc_now
from omniagent_cli.models import SessionSummary
from omniagent_cli.stores.backend import CHUNK

if TYPE_CHECKING:
    from omniagent_cli.stores import SessionStore

_CLOCK_TOLERANCE = timedelta(hours=1)

HereOption = Annotated[
    bool, typer.Option("--here", help="only sessions that began in this directory")
]


def filter_here(context: Context) -> dict[str, Any]:
    """Return the arguments of `SessionStore.list` that select the sessions of the working directory.

    All sessions are read once for each directory; later, only those created since.
    """
    known, cwd = context.directory_sessions, str(context.cwd)
    read_at, ids = known.get(cwd) or (None, [])
    now = utc_now()
    new = [one.id for one in _created_since(context.store, read_at) if one.origin.get("cwd") == cwd]
    ids = list(dict.fromkeys([*ids, *new]))
    if new or read_at is None:
        known.record(cwd, now, ids)
    return {"cwd": cwd, "ids": ids}


def _created_since(store: SessionStore, moment: datetime | None) -> Iterator[SessionSummary]:
    """Yield the sessions created at or after a time; all if it is None."""
    after = None if moment is None else moment - _CLOCK_TOLERANCE
    cursor = None
    while True:
        page = store.list(limit=CHUNK, cursor=cursor, sort="created", archived=None, damaged=[])
        for summary in page:
            if after is None or summary.created_at >= after:
                yield summary
            elif not summary.pinned:  # pinned sessions come first
                return
        cursor = page.next_cursor
        if cursor is None:
            return


def newest_here(context: Context) -> str | None:
    """Return the id of the session of the working directory that was active last; None without one."""
    found = context.store.list(archived=None, **filter_here(context))
    return max(found, key=lambda one: one.updated_at).id if found else None
