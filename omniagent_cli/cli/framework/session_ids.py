"""Which session a word on the command line means: ``@``, abbreviations, close matches.

Commands that read take any unambiguous beginning of an id; commands that create, change or destroy take whole ids.
"""

from __future__ import annotations

import re

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.framework.exits import Refused
from omniagent_cli.errors import SessionExpired, SessionNotFound
from omniagent_cli.models import check_session_id
from omniagent_cli.ui.views import counted, quoted

RECENT = "@"
"""The session this person used last on this machine in this store."""

_ESCAPED = re.compile(r"(id:)+@")
_LISTED = 10
_COMPARED = 1000


def to_read(context: Context, given: str) -> str:
    """Return the id of an existing session from an id, ``@``, or the beginning of an id.

    Raises:
        SessionNotFound: none fits, or several do; says which.
    """
    if given == RECENT:
        return _existing(context, _recent(context))
    session_id = named(given)
    try:
        return _existing(context, session_id, hints=False)
    except SessionExpired:
        raise
    except SessionNotFound:
        pass
    fitting = context.store.list(prefix=session_id, limit=_LISTED + 1, sort="id", archived=None)
    if len(fitting) == 1:
        return fitting[0].id
    if not fitting:
        raise missing(context, session_id)
    shown = ", ".join(quoted(summary.id) for summary in fitting[:_LISTED])
    more = " and more" if len(fitting) > _LISTED else ""
    number = f"more than {_LISTED}" if more else len(fitting)
    raise SessionNotFound(
        f"{quoted(session_id)} fits {number} sessions: {shown}{more}; write more of the id",
        session_id=session_id,
    )


def to_change(context: Context, given: str) -> str:
    """Return the whole id of an existing session; ``@`` is one.

    Raises:
        SessionNotFound: there is none.
    """
    return _existing(context, to_create(context, given))


def to_destroy(context: Context, given: str) -> str:
    """Return the whole id of an existing session, written out.

    Raises:
        SessionNotFound: there is none.
        Refused: it was given as ``@``, and who meant another one would lose it.
    """
    if given == RECENT:
        raise Refused("@ is not enough for a command that removes; write out the session's id")
    return _existing(context, named(given))


def to_create(context: Context, given: str) -> str:
    """Return the id of a session that exists or will; ``@`` is the one used last.

    Raises:
        InvalidSessionId: no session can have it.
    """
    return _recent(context) if given == RECENT else named(given)


def named(given: str) -> str:
    """Return an id as written; ``id:@`` is the id ``@``."""
    if _ESCAPED.fullmatch(given):
        given = given.removeprefix("id:")
    return check_session_id(given)


def as_given(session_id: str) -> str:
    """Return how a person would have to write an id that is known; the opposite of `named`."""
    means_more = session_id == RECENT or _ESCAPED.fullmatch(session_id)
    return f"id:{session_id}" if means_more else session_id


def missing(context: Context, session_id: str) -> SessionNotFound:
    """Return the error for an id that is not there, with what was probably meant."""
    close = _close(context, session_id)
    what = f"there is no session {quoted(session_id)}"
    if close:
        hint = f"did you mean {' or '.join(map(quoted, close))}?"
    elif context.store.count(archived=None):
        hint = "'omniagent sessions list' shows those there are"
    else:
        hint = f"the store {context.store_choice.shown} holds none"
    return SessionNotFound(f"{what}; {hint}", session_id=session_id)


def _close(context: Context, session_id: str) -> list[str]:
    from difflib import get_close_matches

    ids = [summary.id for summary in context.store.list(limit=_COMPARED, archived=None)]
    begins = [known for known in ids if known.startswith(session_id)]
    folded = {known.casefold(): known for known in reversed(ids)}
    similar = get_close_matches(session_id.casefold(), folded, n=3, cutoff=0.6)
    return list(dict.fromkeys([*begins, *(folded[match] for match in similar)]))[:3]


def _existing(context: Context, session_id: str, *, hints: bool = True) -> str:
    try:
        context.store.count_messages(session_id)
    except SessionExpired:
        raise
    except SessionNotFound:
        if hints:
            raise missing(context, session_id) from None
        raise
    return session_id


def _recent(context: Context) -> str:
    session_id = context.last_used.get()
    if session_id is None:
        raise SessionNotFound(
            f"no session of {context.store_choice.shown} was used here yet, so @ means none; name one "
            f"({counted(context.store.count(), 'session')} there)"
        )
    return session_id
