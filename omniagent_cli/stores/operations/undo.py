"""Taking back what was said last: a tail, a message, or one turn among those of other writers."""

from __future__ import annotations

from omniagent_cli.errors import UsageError
from omniagent_cli.models import Message
from omniagent_cli.stores.backend import RowRange, Transaction
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.operations.search import CHUNK, bounded, runs
from omniagent_cli.stores.operations.trash import Trash


class Undoing(Trash):
    """The operations of a store that take back; `restore` returns what they took."""

    def remove_from(self, session_id: str, position: int) -> int:
        """Remove the message at a position and all after it (undo of a turn); return how many went.

        Raises:
            UsageError: the position is negative.
            SessionNotFound: there is no such session.
        """
        if position < 0:
            raise UsageError(f"no message stands at position {position}")
        position = bounded(position)

        def work(tx: Transaction, events: list[Event]) -> int:
            header = self._find(tx, session_id)
            gone = sum(1 for _ in tx.rows(header.uid, RowRange(first=position)))
            if gone:
                self._take(tx, header, [RowRange(first=position)], gone, "undone", purge=False)
                events.append(Event("session_trimmed", session_id, {"count": gone}))
            return gone

        return self._write(work)

    def pop(self, session_id: str) -> Message | None:
        """Remove the newest message and return it; None when there is none.

        Raises:
            SessionNotFound: there is no such session.
        """

        def work(tx: Transaction, events: list[Event]) -> Message | None:
            header = self._find(tx, session_id)
            newest = self._to_messages(header, tx.rows(header.uid, RowRange(newest=True, limit=1)))
            if not newest:
                return None
            self._take(tx, header, [RowRange(first=newest[0].position)], 1, "undone", purge=False)
            events.append(Event("session_trimmed", session_id, {"count": 1}))
            return newest[0]

        return self._write(work)

    def remove_turn(self, session_id: str, turn_id: str, *, but_question: bool = False) -> int:
        """Remove the messages of one turn and no others, wherever they stand; return how many went.

        Two programs that talk in one session interleave their turns; taking back the tail would take the other's
        words along. The turn is looked for from the newest message back to its question.

        Args:
            session_id: the session.
            turn_id: the turn.
            but_question: leave the question, to be answered anew.

        Raises:
            SessionNotFound: there is no such session.
        """

        def work(tx: Transaction, events: list[Event]) -> int:
            header = self._find(tx, session_id)
            positions = _positions_of(tx, header.uid, turn_id, but_question=but_question)
            if positions:
                self._take(tx, header, runs(positions), len(positions), "undone", purge=False)
                events.append(Event("session_trimmed", session_id, {"count": len(positions)}))
            return len(positions)

        return self._write(work)


def _positions_of(tx: Transaction, uid: str, turn_id: str, *, but_question: bool) -> list[int]:
    """Return where the messages of a turn stand, ascending, reading back no further than its question."""
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
