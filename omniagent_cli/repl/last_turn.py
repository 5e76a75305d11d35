"""The last turn of a session: find it, fork before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from omniagent_cli.agent.resume import read_turn
from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.ui.views import quoted

_NEAR = 200
"""Messages after a position that are searched for answers to earlier questions."""


class ChatTurn(NamedTuple):
    """A turn started in this chat: its id and the position of its question."""

    turn_id: str
    position: int


def last_turn(store: SessionStore, session_id: str, own: Sequence[ChatTurn] = ()) -> list[Message]:
    """Return the messages of the last turn, question first, without interleaved ones of other writers.

    Args:
        store: the store of the session.
        session_id: the session.
        own: the turns started in this chat; the last one that still exists is preferred to another program's.
    """
    for chat_turn in reversed(own):
        turn = _turn_at(store, session_id, chat_turn)
        if turn:
            return turn
    return read_turn(store, session_id)


def _turn_at(store: SessionStore, session_id: str, chat_turn: ChatTurn) -> list[Message]:
    try:
        place = chat_turn.position
        question = store.messages(session_id, after=place - 1, before=place + 1)
        if not question or question[0].turn_id != chat_turn.turn_id:
            return []
        later = store.messages(session_id, after=place)
    except SessionNotFound:
        return []
    return [*question, *(m for m in later if m.turn_id == chat_turn.turn_id)]


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
