"""The last turn of a session, and what of it can be taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from omniagent_cli.agent.resume import read_turn
from omniagent_cli.errors import SessionConflict, SessionNotFound, UsageError
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.ui.views import quoted

_NEAR = 200
"""How far behind a message answers to questions before it are looked for."""


class Asked(NamedTuple):
    """A turn that was begun in this chat: its id, and where its question stands."""

    turn_id: str
    position: int


def last_turn(store: SessionStore, session_id: str, own: Sequence[Asked] = ()) -> list[Message]:
    """Return the last turn, its question first and without what other writers said among it; nothing without one.

    Args:
        store: where the session is.
        session_id: the session.
        own: the turns begun in this chat; the last of them that is there still is meant rather than another's.
    """
    for asked in reversed(own):
        turn = _turn_at(store, session_id, asked)
        if turn:
            return turn
    return read_turn(store, session_id)


def _turn_at(store: SessionStore, session_id: str, asked: Asked) -> list[Message]:
    try:
        place = asked.position
        question = store.messages(session_id, after=place - 1, before=place + 1)
        if not question or question[0].turn_id != asked.turn_id:
            return []
        later = store.messages(session_id, after=place)
    except SessionNotFound:
        return []
    return [*question, *(m for m in later if m.turn_id == asked.turn_id)]


def remove_turn(
    store: SessionStore, session_id: str, turn: Sequence[Message], *, but_question: bool = False
) -> int:
    """Take a turn away, or all of it but the question, and leave what others wrote meanwhile.

    Raises:
        SessionConflict: the turn has no id, and others wrote after its question.
    """
    question = turn[0]
    if question.turn_id:
        return store.remove_turn(session_id, question.turn_id, but_question=but_question)
    place = question.position or 0  # an imported turn, which may have no id
    if len(store.messages(session_id, after=place)) != len(turn) - 1:
        raise SessionConflict(
            f"another program's messages stand after the last turn of {quoted(session_id)}, which has no id;"
            " /fork --at N goes on without them",
            session_id=session_id,
        )
    return store.remove_from(session_id, place + but_question)


def check_position(store: SessionStore, session_id: str, position: int | None) -> None:
    """Refuse a message number past the end of a session, which would silently mean its last message.

    Raises:
        UsageError: the session ends before; says where.
        SessionNotFound: there is no such session.
    """
    if position is None:
        return
    last = store.messages(session_id, last=1)
    end = (last[0].position or 0) if last else -1
    if position > end:
        what = f"the last is #{end}" if last else "it has none"
        raise UsageError(f"{quoted(session_id)} has no message #{position}; {what}")


def fork_before(store: SessionStore, session_id: str, question: Message) -> str | None:
    """Copy a session up to a question, with whole answers to what was asked before it; None when it is the first.

    Raises:
        SessionNotFound: there is no such session.
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
