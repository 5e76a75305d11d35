"""Removal of messages: into hidden sessions, the entries of the trash, or for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from omniagent_cli.errors import CorruptSession
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message
from omniagent_cli.stores.attachments_and_summaries import detach, move_messages
from omniagent_cli.stores.backend import HeaderRow, ListQuery, MessageRow, RowRange
from omniagent_cli.stores.journal import bury_entry, entomb
from omniagent_cli.stores.unit_of_work import UnitOfWork


def remove_messages(
    unit: UnitOfWork,
    header: HeaderRow,
    spans: Sequence[RowRange],
    count: int,
    kind: str,
    *,
    purge: bool = False,
) -> None:
    """Remove messages and update the header of their session.

    Args:
        unit: the unit of work.
        header: the session, read with its payload.
        spans: the positions of the messages.
        count: the number of messages.
        kind: kind of the trash entry.
        purge: remove them for good.
    """
    now = unit.now()
    data = unit.data(header)
    newest = _newest_without(unit, header.uid, spans)
    entomb(unit, header, spans)
    if purge or (count and unit.retention.trash_seconds is None):
        detach(unit, header, spans, None, purge=purge)
        for span in spans:
            unit.tx.delete_rows(header.uid, span)
    elif count:
        _move_to_entry(unit, header, spans, count, kind, now)
    if purge and data.get("title_source") == "auto":
        # An automatic title repeats the first question, which may be what is purged.
        unit.set_data(header, {**data, "title": "", "title_source": ""})
    header.message_count -= count
    if header.message_count == 0:
        unit.set_preview(header, None)
    elif newest is not None:
        unit.set_preview(header, unit.to_messages(header, [newest])[0])
    unit.touch(header, now, activity=count > 0)
    unit.tx.put(header)


def replace_messages(
    unit: UnitOfWork,
    header: HeaderRow,
    spans: Sequence[RowRange],
    count: int,
    added: Sequence[Message],
) -> None:
    """Remove messages that a saved session no longer has; the caller updates the header.

    Args:
        unit: the unit of work.
        header: the session.
        spans: the positions of the messages.
        count: the number of messages.
        added: the messages stored in the same step.
    """
    entomb(unit, header, spans, (message.id for message in added if message.id))
    withdraw_messages(unit, header, spans, count, "replaced", added=added)


def withdraw_messages(
    unit: UnitOfWork,
    header: HeaderRow,
    spans: Sequence[RowRange],
    count: int,
    kind: str,
    *,
    added: Sequence[Message] = (),
) -> None:
    """Move messages to the trash without a tombstone; the caller updates the header."""
    if unit.retention.trash_seconds is not None:
        _move_to_entry(unit, header, spans, count, kind, unit.now(), added=added)
        return
    detach(unit, header, spans, None, added=added)
    for span in spans:
        unit.tx.delete_rows(header.uid, span)


def _move_to_entry(
    unit: UnitOfWork,
    header: HeaderRow,
    spans: Sequence[RowRange],
    count: int,
    kind: str,
    now: datetime,
    *,
    added: Sequence[Message] = (),
) -> None:
    """Move messages, with their attachments and summaries, to a new entry of the trash."""
    entry = unit.fresh_hidden(now)
    entry.message_count, entry.next_position = count, header.next_position
    entry.agent_id, entry.model = header.agent_id, header.model
    entry.ttl_seconds = header.ttl_seconds
    unit.touch(
        entry, now, activity=True
    )  # a removal is a write: the session's time to live restarts
    entry.expires_at = unit.trash_end(entry.expires_at, now)
    data = unit.data(header)
    unit.set_data(
        entry, {"title": data.get("title", ""), "trash": unit.trash_facts(header, kind, now)}
    )
    unit.tx.put(entry)
    detach(unit, header, spans, entry, added=added)
    for span in spans:
        move_messages(unit, header, entry, span)


def trash_entries(
    unit: UnitOfWork, *, damaged_last: bool = False
) -> Iterator[tuple[HeaderRow, dict[str, Any]]]:
    """Yield the headers and data of all trash entries that have not expired, newest first.

    Raises:
        CorruptSession: a hidden session is damaged; with `damaged_last`, raised after all others were yielded.
    """
    found = []
    damage: CorruptSession | None = None
    for header in unit.headers(ListQuery(hidden=True, now=format_time(unit.now()))):
        try:
            data = unit.data(header)
        except CorruptSession as error:
            if not damaged_last:
                raise
            damage = error
            continue
        if "trash" in data:
            found.append((header, data))
    yield from sorted(found, key=lambda pair: (pair[1]["trash"]["at"], pair[0].uid), reverse=True)
    if damage is not None:
        raise damage


def purge_entries_of(unit: UnitOfWork, uid: str) -> None:
    """Remove the trash entries of a session for good."""
    for header, data in trash_entries(unit):
        if data["trash"]["uid"] == uid:
            bury_entry(unit, header)
            unit.tx.remove(header.uid)


def _newest_without(unit: UnitOfWork, uid: str, spans: Sequence[RowRange]) -> MessageRow | None:
    """Return the newest message after a removal; None if the newest message stays, or none does."""
    if all(span.last is not None for span in spans):
        newest = unit.newest_row(uid)
        if newest is None or not any(span.holds(newest.position) for span in spans):
            return None
    for span in reversed(spans):
        left = None if span.first is None else unit.newest_row(uid, span.first - 1)
        if left is None or not any(other.holds(left.position) for other in spans):
            return left
    return None
