"""Trash operations: list, restore and empty."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from omniagent_cli.errors import NothingToRestore
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import check_session_id
from omniagent_cli.stores.attachments_and_summaries import restore_messages, unwrap_summaries
from omniagent_cli.stores.backend import HeaderRow
from omniagent_cli.stores.facts import facts_of, restamp
from omniagent_cli.stores.journal import bury_entry
from omniagent_cli.stores.removal import trash_entries
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """Removed messages or a removed session that can be restored.

    Attributes:
        uid: the identity of the entry.
        session_id: the id it was removed from.
        kind: ``deleted`` (a whole session), ``trimmed``, ``cleared``, ``undone``, ``replaced`` or ``synced`` (messages).
        expires_at: when it is removed for good; None: never.
        operation: the operation that removed it together with others; empty: it was removed alone.
    """

    uid: str
    session_id: str
    kind: str
    title: str
    message_count: int
    removed_at: datetime
    expires_at: datetime | None
    operation: str = ""


class TrashOperations(StoreBase):
    """Operations on the trash."""

    def trash(self) -> list[TrashEntry]:
        """Return the entries of the trash, newest first."""
        return self.read_unit(
            lambda unit: [_entry(unit, header, data) for header, data in trash_entries(unit)]
        )

    def restore(
        self, session_id: str | None = None, *, as_id: str | None = None, uid: str | None = None
    ) -> TrashEntry:
        """Restore the newest entry of the trash, of one session or of all.

        A deleted session is restored under its id, messages at their old positions.

        Args:
            session_id: the id it was removed from; None: any.
            as_id: restore it as a session with this id instead.
            uid: exactly this entry of `trash`.

        Raises:
            NothingToRestore: the trash has no such entry.
            SessionExists: the id, or a position of a message, is taken; give `as_id`.
        """
        if as_id is not None:
            check_session_id(as_id)

        def work(unit: UnitOfWork) -> TrashEntry:
            for header, data in trash_entries(unit, damaged_last=True):
                entry = _entry(unit, header, data)
                if session_id in (None, entry.session_id) and uid in (None, entry.uid):
                    _restore(unit, header, data, entry, as_id)
                    return entry
            what = (
                "the trash is empty"
                if session_id is None
                else f"the trash has no entry of {session_id!r}"
            )
            raise NothingToRestore(
                f"{what}; run `omniagent sessions trash` to list it", session_id=session_id
            )

        return self.write_unit(work)

    def empty_trash(self) -> int:
        """Remove all entries of the trash for good and return how many there were."""

        def work(unit: UnitOfWork) -> int:
            headers = [header for header, _ in trash_entries(unit)]
            for header in headers:
                bury_entry(unit, header)
                unit.tx.remove(header.uid)
            return len(headers)

        self._check_open()
        self.check_can_wipe()
        count = self.write_unit(work)
        self._scrub()
        return count


def _entry(unit: UnitOfWork, header: HeaderRow, data: dict[str, Any]) -> TrashEntry:
    origin = unit.tx.find_uid(data["trash"]["uid"], payload=False)
    exists = origin is not None and not origin.hidden
    return TrashEntry(
        uid=header.uid,
        session_id=origin.id if origin is not None and exists else data["trash"]["id"],
        kind=data["trash"]["kind"],
        title=data.get("title", ""),
        message_count=header.message_count,
        removed_at=parse_time(data["trash"]["at"]),
        expires_at=parse_time(header.expires_at) if header.expires_at else None,
        operation=data["trash"].get("operation", ""),
    )


def _restore(
    unit: UnitOfWork, header: HeaderRow, data: dict[str, Any], entry: TrashEntry, as_id: str | None
) -> None:
    origin = None
    if entry.kind != "deleted" and as_id is None:
        origin = unit.tx.find_uid(data["trash"]["uid"])
    if origin is not None and not origin.hidden and not origin.is_expired(unit.now()):
        restore_messages(unit, header, origin)
        return
    new_id = as_id or entry.session_id
    unit.ensure_unused(new_id)
    if entry.kind != "deleted":
        unwrap_summaries(unit, header)
        newest = unit.newest_row(header.uid)
        if newest is not None:  # an entry has no preview
            unit.set_preview(header, unit.to_messages(header, [newest])[0])
    header.id, header.hidden = data["trash"]["id"], False
    before = facts_of(header, data)
    header.id = new_id
    kept = {key: value for key, value in data.items() if key != "trash"}
    if entry.kind == "deleted":
        restamp(before, header, kept, format_time(unit.now()))
    unit.set_data(header, kept)
    unit.touch(header, unit.now(), activity=False)
    unit.tx.put(header)
    unit.emit("session_created", new_id)
