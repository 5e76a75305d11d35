"""The last turn of a session: find it, remove it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from omniagent_cli.agent.resume import read_turn
from omniagent_cli.errors import SessionConflict, SessionNotFound
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore


class OwnTurn(NamedTuple):
    """A turn started in this program: its id and the position of its question."""

    turn_id: str
    position: int


def last_turn(store: SessionStore, session_id: str, own: Sequence[OwnTurn] = ()) -> list[Message]:
    """Return the messages of the last turn, question first, without interleaved ones of other writers.

    Args:
        store: the store of the session.
        session_id: the session.
        own: the turns started in this program; the last one that still exists is preferred to another program's.
    """
    for own_turn in reversed(own):
        turn = _turn_at(store, session_id, own_turn)
        if turn:
            return turn
    return read_turn(store, session_id)


def _turn_at(store: SessionStore, session_id: str, own_turn: OwnTurn) -> list[Message]:
    try:
        place = own_turn.position
        question = store.messages(session_id, after=place - 1, before=place + 1)
        if not question or question[0].turn_id != own_turn.turn_id:
            return []
        later = store.messages(session_id, after=place)
    except SessionNotFound:
        return []
    return [*question, *(m for m in later if m.turn_id == own_turn.turn_id)]


def remove_turn(
    store: SessionStore, session_id: str, turn: Sequence[Message], *, but_question: bool = False
) -> int:
    """Remove a turn, or all of it but the question, and keep interleaved messages of other writers.

    Raises:
        SessionConflict: the turn has no id, and other messages follow its question.
    """
    question = turn[0]
    if question.turn_id:
        return store.remove_turn(session_id, question.turn_id, but_question=but_question)
    place = question.position or 0  # an imported turn, which may have no id
    if len(store.messages(session_id, after=place)) != len(turn) - 1:
        raise SessionConflict(
            f"messages of another program follow the last turn of {session_id!r}, which has no id;"
            " use /fork --at N to continue without them",
            session_id=session_id,
        )
    return store.truncate_from(session_id, place + but_question)


def undo_turn(
    store: SessionStore, session_id: str, turn: Sequence[Message]
) -> tuple[int, str | None]:
    """Remove a turn; return the number of messages and the entry of the trash, None if the store keeps no trash.

    Raises:
        SessionConflict: as `remove_turn`.
    """
    before = {entry.uid for entry in store.trash()}
    count = remove_turn(store, session_id, turn)
    entries = (one for one in store.trash() if one.session_id == session_id)
    return count, next((one.uid for one in entries if one.uid not in before), None)
