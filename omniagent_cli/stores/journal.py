"""The journal of a store: one hidden session whose records remember deletions and earlier synchronizations.

======== =================== =========================================================================
kind     key                 value
======== =================== =========================================================================
grave    uid of a session    ``id``, ``named`` (stamp of the id), ``uids``, ``at`` (stamp of the deletion), ``removed``
                             and ``restored`` (message ids with stamps); or ``absorbed`` if it is part of the state of
                             a session that exists again
synced   uid of a session    see `stores.sync.loading`
carrier  a directory         see `stores.sync.carrier`
carried  and a session       its digest in the last file there
======== =================== =========================================================================

A deleted session has no ``grave`` as long as it is in the trash. A session's own removed messages are records of the kind ``removal`` of that session: the key is the stamp, the value has
``removed`` and ``restored``, ids with their stamps (a list of ids means the key).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.stores.backend import HIDDEN, HeaderRow, RowRange
from omniagent_cli.stores.facts import UIDS, later, stamps_of
from omniagent_cli.stores.unit_of_work import UnitOfWork

JOURNAL = "journal"
"""Uid of the journal."""

GRAVE = "grave"
SYNCED = "synced"
REMOVAL = "removal"

CARRIER = "carrier"
CARRIED = "carried"

JOURNAL_KINDS = (GRAVE, SYNCED, CARRIER, CARRIED)


def journal_header(unit: UnitOfWork) -> HeaderRow | None:
    """Return the header of the journal, or None if nothing was deleted or synchronized yet."""
    return unit.tx.find_uid(JOURNAL)


def open_journal(unit: UnitOfWork) -> HeaderRow:
    """Return the header of the journal; create the journal if it does not exist."""
    header = journal_header(unit)
    if header is None:
        now = unit.now()
        header = unit.fresh_hidden(now)
        header.uid, header.id = JOURNAL, HIDDEN + JOURNAL
        unit.set_data(header, {})
        unit.touch(header, now, activity=True)
        unit.tx.put(header)
    return header


def bury(unit: UnitOfWork, header: HeaderRow) -> None:
    """Record the deletion of a session that is removed without the trash."""
    if not unit.keeps_tombstones:
        return
    open_journal(unit)
    unit.put_record(JOURNAL, GRAVE, header.uid, grave_of(unit, header, header.id, unit.now()))


def bury_entry(unit: UnitOfWork, header: HeaderRow) -> None:
    """Record the deletion of a session whose entry in the trash is removed; until then, that entry is the record."""
    grave = grave_of_entry(unit, header) if unit.keeps_tombstones else None
    if grave is not None:
        open_journal(unit)
        unit.put_record(JOURNAL, GRAVE, header.uid, grave)


def grave_of_entry(unit: UnitOfWork, header: HeaderRow) -> dict[str, Any] | None:
    """Return the record of a deletion that an entry of the trash stands for; None if it is something else."""
    trash = unit.data(header).get("trash") if header.hidden else None
    if not isinstance(trash, dict) or trash.get("kind") != "deleted":
        return None
    return grave_of(unit, header, trash["id"], parse_time(trash["at"]))


def grave_of(unit: UnitOfWork, header: HeaderRow, session_id: str, at: datetime) -> dict[str, Any]:
    """Return the record of the deletion of a session at a time."""
    stamp = later(format_time(at), header.changed_at)
    data = unit.data(header)
    removed, restored = removals(unit, header)
    return {
        "id": session_id,
        "named": stamps_of(data).get("id", ""),
        "uids": sorted({header.uid, *(data.get(UIDS) or ())}),
        "at": stamp,
        "removed": removed | dict.fromkeys((row.id for row in unit.tx.rows(header.uid)), stamp),
        "restored": restored,
    }


def entomb(
    unit: UnitOfWork, header: HeaderRow, spans: Sequence[RowRange], kept: Iterable[str] = ()
) -> None:
    """Record the removal of messages, before they are removed.

    Args:
        unit: the unit of work.
        header: their session.
        spans: their positions.
        kept: ids of messages that are stored at other positions in the same step.
    """
    if not unit.keeps_tombstones:
        return
    found = {row.id for span in spans for row in unit.tx.rows(header.uid, span)} - set(kept)
    if found:
        last = max(unit.record_keys(header.uid, REMOVAL), default="")
        stamp = later(format_time(unit.now()), last, header.changed_at)
        unit.put_record(header.uid, REMOVAL, stamp, {"removed": sorted(found)})


def removals(unit: UnitOfWork, header: HeaderRow) -> tuple[dict[str, str], dict[str, str]]:
    """Return the stamps of a session's removed and restored messages, by id."""
    removed: dict[str, str] = {}
    restored: dict[str, str] = {}
    for key, payload in unit.tx.records(header.uid, REMOVAL):
        found = read_removal(key, unit.open_record(header, REMOVAL, key, payload))
        for given, stamps in zip(found, (removed, restored), strict=True):
            for message_id, stamp in given.items():
                stamps[message_id] = max(stamp, stamps.get(message_id, ""))
    return removed, restored


def read_removal(key: str, value: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Return the stamps of removed and restored messages of a record, by id."""
    return dict(_stamped(value, "removed", key)), dict(_stamped(value, "restored", key))


def _stamped(value: Any, name: str, key: str) -> Iterable[tuple[str, str]]:
    found = value.get(name) if isinstance(value, dict) else None
    return found.items() if isinstance(found, dict) else ((one, key) for one in found or ())
