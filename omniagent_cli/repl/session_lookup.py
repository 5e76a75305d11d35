"""Which session a word at the prompt means."""

from __future__ import annotations

from difflib import get_close_matches

from omniagent_cli.errors import SessionNotFound
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.ui.views import counted, quoted

_SHOWN = 5
_COMPARED = 500


def meant(store: SessionStore, given: str) -> str:
    """Return the id of a session that exists, from its id or the beginning of it.

    Raises:
        SessionNotFound: none fits, or several do; says which.
    """
    if store.exists(given):
        return given
    fitting = [summary.id for summary in store.list(prefix=given, limit=_SHOWN + 1, archived=None)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        shown = ", ".join(map(quoted, fitting[:_SHOWN]))
        what = f"{quoted(given)} fits more than one session: {shown}"
        more = " and more" if len(fitting) > _SHOWN else ""
        raise SessionNotFound(f"{what}{more}; write more of the id", session_id=given)
    raise SessionNotFound(
        f"there is no session {quoted(given)}; {_hint(store, given)}", session_id=given
    )


def _hint(store: SessionStore, given: str) -> str:
    known = {s.id.casefold(): s.id for s in reversed(store.list(limit=_COMPARED, archived=None))}
    close = [known[match] for match in get_close_matches(given.casefold(), known, n=3)]
    if close:
        return f"did you mean {' or '.join(map(quoted, close))}? /new begins one"
    return f"/sessions lists the {counted(store.count(), 'session')} there, and /new begins one"
