"""Positions at which a session is forked."""

from __future__ import annotations

from omniagent_cli.errors import UsageError
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.ui.views import quoted

_NEAR = 200
"""Messages after a position that are searched for answers to earlier questions."""


def check_position(store: SessionStore, session_id: str, position: int | None) -> None:
    """Check that a message number is not past the end of a session.

    Raises:
        UsageError: the session ends before it; the message says where.
        SessionNotFound: the session does not exist.
    """
    if position is None:
        return
    last = store.messages(session_id, last=1)
    end = (last[0].position or 0) if last else -1
    if position > end:
        what = f"the last is #{end}" if last else "the session is empty"
        raise UsageError(f"{quoted(session_id)} has no message #{position}; {what}")


def fork_before(store: SessionStore, session_id: str, question: Message) -> str | None:
    """Fork a session before a question, with complete answers to earlier questions; None if it is the first.

    Raises:
        SessionNotFound: the session does not exist.
    """
    place = question.position or 0
    earlier = store.messages(session_id, last=_NEAR, before=place)
    if not earlier:
        return None
    turns = {message.turn_id for message in earlier if message.turn_id}
    later = store.messages(session_id, after=place - 1, before=place + _NEAR)
    kept = [m.position or 0 for m in later if m.turn_id in turns]
    copy = store.fork(session_id, at=max(kept, default=place - 1))
    if kept:
        for turn_id in {m.turn_id for m in later if m.turn_id and m.turn_id not in turns}:
            store.remove_turn(copy, turn_id)
    return copy
