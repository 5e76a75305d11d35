"""Resolution of the session ids of a command line: ``@``, abbreviations, close matches.

Commands that read accept any unambiguous prefix of an id; commands that create, change or remove need full ids.
"""

from __future__ import annotations

import re

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.framework.exits import Refused
from omniagent_cli.errors import SessionExpired, SessionNotFound
from omniagent_cli.models import check_session_id
from omniagent_cli.ui.views import counted, quoted

LAST_USED = "@"
"""The session that this user used last on this machine in this store."""

_ESCAPED = re.compile(r"(id:)+@")
_MATCHES_SHOWN = 10
_IDS_COMPARED = 1000


def resolve_for_reading(context: Context, given: str) -> str:
    """Return the id of an existing session from an id, ``@``, or a prefix of one id.

    Raises:
        SessionNotFound: no session matches, or several do, which the message lists.
    """
    if given == LAST_USED:
        return _existing(context, _last_used(context))
    session_id = parse_session_id(given)
    try:
        return _existing(context, session_id, hints=False)
    except SessionExpired:
        raise
    except SessionNotFound:
        pass
    matches = context.store.list(
        prefix=session_id, limit=_MATCHES_SHOWN + 1, sort="id", archived=None
    )
    if len(matches) == 1:
        return matches[0].id
    if not matches:
        raise _not_found(context, session_id)
    shown = ", ".join(quoted(summary.id) for summary in matches[:_MATCHES_SHOWN])
    more = len(matches) > _MATCHES_SHOWN
    number = f"more than {_MATCHES_SHOWN}" if more else len(matches)
    raise SessionNotFound(
        f"{quoted(session_id)} matches {number} sessions: {shown}{' and more' if more else ''}; type more of the id",
        session_id=session_id,
    )


def resolve_for_change(context: Context, given: str) -> str:
    """Return the id of an existing session from a full id or ``@``.

    Raises:
        SessionNotFound: it does not exist.
    """
    return _existing(context, resolve_for_creation(context, given))


def resolve_for_removal(context: Context, given: str) -> str:
    """Return the id of an existing session from a full id.

    Raises:
        SessionNotFound: it does not exist.
        Refused: it was given as ``@``, which may be another session than the user expects.
    """
    if given == LAST_USED:
        raise Refused("@ is not accepted by commands that remove; write the full id of the session")
    return _existing(context, parse_session_id(given))


def resolve_for_creation(context: Context, given: str) -> str:
    """Return the id of a session that may not exist yet, from a full id or ``@``.

    Raises:
        InvalidSessionId: it is not a valid id.
    """
    return _last_used(context) if given == LAST_USED else parse_session_id(given)


def parse_session_id(given: str) -> str:
    """Return the id that a word refers to; ``id:@`` is the id ``@``.

    Raises:
        InvalidSessionId: it is not a valid id.
    """
    if _ESCAPED.fullmatch(given):
        given = given.removeprefix("id:")
    return check_session_id(given)


def escape_session_id(session_id: str) -> str:
    """Return an id in the form that the command line accepts, the inverse of `parse_session_id`."""
    is_special = session_id == LAST_USED or _ESCAPED.fullmatch(session_id)
    return f"id:{session_id}" if is_special else session_id


def _not_found(context: Context, session_id: str) -> SessionNotFound:
    """Return the error for an id that does not exist, with close matches."""
    close = _close_matches(context, session_id)
    if close:
        hint = f"did you mean {' or '.join(map(quoted, close))}?"
    elif context.store.count(archived=None):
        hint = "run 'omniagent sessions list' to see all sessions"
    else:
        hint = f"the store {context.store_choice.shown} is empty"
    return SessionNotFound(
        f"there is no session {quoted(session_id)}; {hint}", session_id=session_id
    )


def _close_matches(context: Context, session_id: str) -> list[str]:
    from difflib import get_close_matches

    ids = [summary.id for summary in context.store.list(limit=_IDS_COMPARED, archived=None)]
    prefixed = [known for known in ids if known.startswith(session_id)]
    folded = {known.casefold(): known for known in reversed(ids)}
    similar = get_close_matches(session_id.casefold(), folded, n=3, cutoff=0.6)
    return list(dict.fromkeys([*prefixed, *(folded[match] for match in similar)]))[:3]


def _existing(context: Context, session_id: str, *, hints: bool = True) -> str:
    try:
        context.store.count_messages(session_id)
    except SessionExpired:
        raise
    except SessionNotFound:
        if hints:
            raise _not_found(context, session_id) from None
        raise
    return session_id


def _last_used(context: Context) -> str:
    session_id = context.last_used.get()
    if session_id is None:
        raise SessionNotFound(
            f"@ means the session used last, but none in {context.store_choice.shown} was used on this machine; "
            f"name one ({counted(context.store.count(), 'session')} in the store)"
        )
    return session_id
