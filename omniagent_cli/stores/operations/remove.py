"""Remove operations: trim, clear, delete, and purge of expired sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from omniagent_cli.errors import StoreFull, UsageError
from omniagent_cli.json_format import format_time
from omniagent_cli.models import check_session_id
from omniagent_cli.stores.attachments_and_summaries import count_up_to
from omniagent_cli.stores.backend import CHUNK, ListQuery, RowRange, clamp
from omniagent_cli.stores.journal import bury, bury_entry
from omniagent_cli.stores.removal import purge_entries_of, remove_messages
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork

T = TypeVar("T")


class RemoveOperations(StoreBase):
    """Operations that remove messages and sessions; unless purged, `restore` brings them back."""

    def trim(self, session_id: str, keep: int, *, purge: bool = False) -> int:
        """Keep the last `keep` messages and return how many were removed.

        Args:
            session_id: the session.
            keep: number of messages to keep; 0 removes all.
            purge: remove them for good, with all trash entries of this session, also from the backend's files.

        Raises:
            UsageError: `keep` is negative.
            SessionNotFound: the session does not exist.
        """
        if keep < 0:
            raise UsageError(f"cannot keep {keep} messages; the number must not be negative")

        def work(unit: UnitOfWork) -> int:
            header = unit.find(session_id)
            count = header.message_count - keep
            if count <= 0:
                return 0
            last = None
            if keep:
                span = RowRange(newest=True, skip=keep - 1, limit=1)
                (oldest,) = unit.tx.rows(header.uid, span)
                last = oldest.position - 1
            remove_messages(unit, header, [RowRange(last=last)], count, "trimmed", purge=purge)
            if purge:
                purge_entries_of(unit, header.uid)
            unit.emit("session_trimmed", session_id, count=count)
            return count

        return self._remove(work, purge=purge)

    def clear(self, session_id: str, *, before: int | None = None, purge: bool = False) -> int:
        """Remove all messages, keep id, metadata and creation time, and return how many were removed.

        Args:
            session_id: the session.
            before: only messages below this position.
            purge: as for `trim`.

        Raises:
            SessionNotFound: the session does not exist.
        """
        span = RowRange() if before is None else RowRange(last=clamp(before - 1))

        def work(unit: UnitOfWork) -> int:
            header = unit.find(session_id)
            count = header.message_count
            if before is not None:
                count = count_up_to(unit.tx, header.uid, span.last)
            remove_messages(unit, header, [span], count, "cleared", purge=purge)
            if purge:
                purge_entries_of(unit, header.uid)
            unit.emit("session_cleared", session_id, count=count)
            return count

        return self._remove(work, purge=purge)

    def delete(self, session_id: str, *, purge: bool = False) -> bool:
        """Remove a session and return True if it existed."""
        check_session_id(session_id)

        def work(unit: UnitOfWork) -> bool:
            header = unit.tx.find(session_id)
            if header is None:
                return False
            if header.is_expired(unit.now()):
                unit.tx.remove(header.uid)
                unit.emit("session_expired", session_id)
                return False
            if purge or unit.retention.trash_seconds is None:
                bury(unit, header)
            if purge:
                purge_entries_of(unit, header.uid)
                unit.tx.remove(header.uid)
            else:
                unit.move_to_trash(header)
            unit.emit("session_deleted", session_id)
            return True

        return self._remove(work, purge=purge)

    def _remove(self, work: Callable[[UnitOfWork], T], *, purge: bool) -> T:
        if purge:
            self._check_open()
            self.check_can_wipe()
        try:
            result = self.write_unit(work)
        except StoreFull:
            if not purge:
                raise
            result = self.write_unit(lambda unit: work(_without_tombstones(unit)))
        if purge:
            self._scrub()
        return result

    def purge_expired(self) -> int:
        """Remove expired sessions for good, also from the backend's files, and return how many were visible."""

        def work(unit: UnitOfWork) -> tuple[int, int]:
            query = ListQuery(hidden=None, expired_by=format_time(unit.now()), limit=CHUNK)
            expired = unit.tx.headers(query)
            for header in expired:
                bury_entry(unit, header)
                unit.tx.remove(header.uid)
                if not header.hidden:
                    unit.emit("session_expired", header.id)
            return len(expired), len(unit.events)

        self._check_open()
        self.check_can_wipe()
        visible, removed, count = 0, 0, CHUNK
        while count == CHUNK:
            count, seen = self.write_unit(work)
            visible += seen
            removed += count
        if removed:
            self._scrub()
        return visible

    def count_expired(self) -> int:
        """Count the visible sessions that have expired and were not removed yet."""
        return self.read_unit(
            lambda unit: unit.tx.count(ListQuery(expired_by=format_time(unit.now())))
        )


def _without_tombstones(unit: UnitOfWork) -> UnitOfWork:
    """Return the unit of work, so that a full store can remove, although that is not synchronized then."""
    unit.keeps_tombstones = False
    return unit
