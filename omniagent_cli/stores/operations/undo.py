"""Undo operations: remove the last messages, or one turn among those of other writers."""

from __future__ import annotations

from omniagent_cli.errors import UsageError
from omniagent_cli.models import Message
from omniagent_cli.stores.backend import (
    CHUNK,
    HeaderRow,
    RowRange,
    Transaction,
    clamp,
    contiguous_ranges,
)
from omniagent_cli.stores.removal import remove_messages
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork


class UndoOperations(StoreBase):
    """Operations that undo; `restore` reverts them."""

    def truncate_from(self, session_id: str, position: int) -> int:
        """Remove the message at a position and all after it, and return how many were removed.

        Raises:
            UsageError: the position is negative.
            SessionNotFound: the session does not exist.
        """
        if position < 0:
            raise UsageError(f"invalid position {position}; it must not be negative")
        span = RowRange(first=clamp(position))

        def work(unit: UnitOfWork) -> int:
            header = unit.find(session_id)
            count = sum(1 for _ in unit.tx.rows(header.uid, span))
            if count:
                _undo(unit, header, [span], count)
            return count

        return self.write_unit(work)

    def pop(self, session_id: str) -> Message | None:
        """Remove the newest message and return it; None if there is none.

        Raises:
            SessionNotFound: the session does not exist.
        """

        def work(unit: UnitOfWork) -> Message | None:
            header = unit.find(session_id)
            newest = unit.messages(header, RowRange(newest=True, limit=1))
            if not newest:
                return None
            _undo(unit, header, [RowRange(first=newest[0].position)], 1)
            return newest[0]

        return self.write_unit(work)

    def remove_turn(self, session_id: str, turn_id: str, *, but_question: bool = False) -> int:
        """Remove the messages of one turn and no others, and return how many were removed.

        Programs that share a session interleave their turns, so removing the tail would remove messages of others. The
        turn is searched from the newest message back to its question.

        Args:
            session_id: the session.
            turn_id: the turn.
            but_question: keep the question.

        Raises:
            SessionNotFound: the session does not exist.
        """

        def work(unit: UnitOfWork) -> int:
            header = unit.find(session_id)
            positions = _positions_of(unit.tx, header.uid, turn_id, but_question=but_question)
            if positions:
                _undo(unit, header, contiguous_ranges(positions), len(positions))
            return len(positions)

        return self.write_unit(work)


def _undo(unit: UnitOfWork, header: HeaderRow, spans: list[RowRange], count: int) -> None:
    session_id = header.id
    remove_messages(unit, header, spans, count, "undone")
    unit.emit("session_trimmed", session_id, count=count)


def _positions_of(tx: Transaction, uid: str, turn_id: str, *, but_question: bool) -> list[int]:
    """Return the positions of a turn's messages, ascending, reading back no further than its question."""
    positions: list[int] = []
    last: int | None = None
    while True:
        rows = list(tx.rows(uid, RowRange(last=last, newest=True, limit=CHUNK)))
        for row in rows:
            if row.turn_id == turn_id and not (but_question and row.role == "user"):
                positions.append(row.position)
            if row.id == turn_id:
                return positions[::-1]
        if len(rows) < CHUNK:
            return positions[::-1]
        last = rows[-1].position - 1
