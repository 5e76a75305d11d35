"""Lookup of a session by its id or an abbreviation."""

from __future__ import annotations

from difflib import get_close_matches

from omniagent_cli.errors import SessionNotFound
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.ui.views import counted, quoted

_SHOWN = 5
_COMPARED = 500


def resolve_session(store: SessionStore, given: str) -> str:
    """Return the id of an existing session, given its id or a unique prefix.

    Raises:
        SessionNotFound: no session matches, or several do; the message lists them.
    """
    if store.exists(given):
        return given
    fitting = [summary.id for summary in store.list(prefix=given, limit=_SHOWN + 1, archived=None)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        shown = ", ".join(map(quoted, fitting[:_SHOWN]))
        what = f"{quoted(given)} matches more than one session: {shown}"
        more = " and more" if len(fitting) > _SHOWN else ""
        raise SessionNotFound(f"{what}{more}; type more of the id", session_id=given)
    raise SessionNotFound(f"no session {quoted(given)}; {_hint(store, given)}", session_id=given)


def _hint(store: SessionStore, given: str) -> str:
    known = {s.id.casefold(): s.id for s in reversed(store.list(limit=_COMPARED, archived=None))}
    close = [known[match] for match in get_close_matches(given.casefold(), known, n=3)]
    if close:
        return f"did you mean {' or '.join(map(quoted, close))}? /new creates one"
    return f"/sessions lists all {counted(store.count(), 'session')}, /new creates one"
