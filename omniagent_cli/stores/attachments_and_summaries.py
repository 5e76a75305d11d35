"""Attachments and summaries of messages that are removed or restored.

A summary is valid as long as exactly the messages it was made of are there: positions are never reused, so a count
is enough to check. What removed messages took with them waits with them in the trash.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from omniagent_cli.errors import CorruptSession, SessionExists
from omniagent_cli.json_format import dump
from omniagent_cli.models import Message
from omniagent_cli.stores.backend import (
    CHUNK,
    HeaderRow,
    MessageRow,
    RowRange,
    Transaction,
    contiguous_ranges,
)
from omniagent_cli.stores.unit_of_work import UnitOfWork


def detach(
    unit: UnitOfWork,
    header: HeaderRow,
    spans: Sequence[RowRange],
    target: HeaderRow | None,
    *,
    added: Iterable[Message] = (),
    purge: bool = False,
) -> None:
    """Remove from a session the attachments and summaries of messages that are about to be removed.

    Args:
        unit: the unit of work, in which the messages still exist.
        header: their session.
        spans: their positions.
        target: the hidden session that keeps them; None: nothing is kept.
        added: messages stored in the same step, which may refer to the same attachments.
        purge: also remove attachments that no message refers to.
    """
    detach_summaries(unit, header, min(span.first or 0 for span in spans), target)
    keys = unit.record_keys(header.uid, "attachment")
    if not keys:
        return
    leaving: set[str] = set()
    staying = {key for message in added for key in _references(message, keys)}
    for row in unit.tx.rows(header.uid):
        found = leaving if any(span.holds(row.position) for span in spans) else staying
        found.update(_references_of_row(unit, header, row, keys))
    for key in keys:
        if target is not None and key in leaving:
            value = unit.record(header, "attachment", key)
            unit.put_record(target.uid, "attachment", key, value)
        if key not in staying and (purge or key in leaving):
            unit.tx.remove_record(header.uid, "attachment", key)


def detach_summaries(
    unit: UnitOfWork, header: HeaderRow, first: int, target: HeaderRow | None = None
) -> None:
    """Remove the summaries of messages from a position on; `target` keeps them."""
    for key, payload in list(unit.tx.records(header.uid, "summary")):
        if int(key) < first:
            continue
        if target is not None:
            summary = unit.open_record(header, "summary", key, payload)
            kept = {"messages": count_up_to(unit.tx, header.uid, int(key)), "summary": summary}
            unit.put_record(target.uid, "summary", key, kept)
        unit.tx.remove_record(header.uid, "summary", key)


def move_messages(unit: UnitOfWork, header: HeaderRow, target: HeaderRow, span: RowRange) -> None:
    """Move messages to another session; encrypted ones are bound to their session and encrypted again."""
    if not unit.access.has_key:
        unit.tx.move_rows(header.uid, target.uid, span)
        return
    for chunk in _chunks(unit.tx.rows(header.uid, span)):
        unit.insert(target.uid, unit.to_messages(header, chunk))
    unit.tx.delete_rows(header.uid, span)


def _chunks(rows: Iterable[MessageRow]) -> Iterator[list[MessageRow]]:
    chunk: list[MessageRow] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def restore_messages(unit: UnitOfWork, entry: HeaderRow, origin: HeaderRow) -> None:
    """Move the messages of a trash entry back to their session, at their old positions.

    Raises:
        SessionExists: the session has other messages at these positions.
    """
    back = {row.position: row for row in unit.tx.rows(entry.uid)}
    known = {row.position: row.id for row in unit.tx.rows(origin.uid)}
    if back.keys() & known.keys():
        raise SessionExists(
            f"{origin.id!r} has other messages at these positions; restore them as another session with --as",
            session_id=origin.id,
        )
    newest, newest_back = unit.newest_row(origin.uid), unit.newest_row(entry.uid)
    if newest_back is not None and (newest is None or newest_back.position > newest.position):
        unit.set_preview(origin, unit.to_messages(entry, [newest_back])[0])
    origin.message_count += entry.message_count
    _reattach(unit, entry, origin)
    ids = set(known.values())
    older = [row for row in back.values() if row.id in ids]
    if older:  # earlier versions of messages that are there become messages of their own
        taken = ids | {row.id for row in back.values()}
        for message in unit.to_messages(entry, older):
            message.record["id"] = _version_id(message, taken)
            taken.add(message.record["id"])
            unit.insert(origin.uid, [message])
        for position in (row.position for row in older):
            unit.tx.delete_rows(entry.uid, RowRange(position, position))
    for span in contiguous_ranges([p for p, row in back.items() if row.id not in ids]):
        move_messages(unit, entry, origin, span)
    unit.touch(origin, unit.now(), activity=True)
    unit.tx.put(origin)
    unit.tx.remove(entry.uid)


def _version_id(message: Message, taken: Container[str]) -> str:
    """Return an id for an earlier version of a message: the same one on every machine that restores it."""
    number = 0
    while True:
        content = dump([message.record, number])
        version_id = blake2b(content, digest_size=11).hexdigest()
        if version_id not in taken:
            return version_id
        number += 1


def _reattach(unit: UnitOfWork, entry: HeaderRow, origin: HeaderRow) -> None:
    """Return what the messages of a trash entry took with them; remove summaries made without them."""
    first = next(iter(unit.tx.rows(entry.uid, RowRange(limit=1))), None)
    for key in unit.record_keys(origin.uid, "summary"):
        if first is not None and int(key) >= first.position:
            unit.tx.remove_record(origin.uid, "summary", key)
    for key, value in _valid_summaries(unit, entry, origin):
        unit.put_record(origin.uid, "summary", key, value)
    unit.copy_missing_attachments(entry, origin.uid)


def unwrap_summaries(unit: UnitOfWork, entry: HeaderRow) -> None:
    """Turn the summaries of a trash entry into those of the session that it becomes."""
    valid = _valid_summaries(unit, entry, entry)
    for key in unit.record_keys(entry.uid, "summary"):
        unit.tx.remove_record(entry.uid, "summary", key)
    for key, value in valid:
        unit.put_record(entry.uid, "summary", key, value)


def _valid_summaries(
    unit: UnitOfWork, entry: HeaderRow, target: HeaderRow
) -> list[tuple[str, Any]]:
    """Return the summaries of a trash entry whose messages all exist once it is merged into the target."""
    found = []
    for key, payload in list(unit.tx.records(entry.uid, "summary")):
        kept = unit.open_record(entry, "summary", key, payload)
        count = sum(count_up_to(unit.tx, uid, int(key)) for uid in {entry.uid, target.uid})
        if "summary" in kept and kept.get("messages") == count:
            found.append((key, kept["summary"]))
    return found


def count_up_to(tx: Transaction, uid: str, last: int | None) -> int:
    """Count the messages up to and including a position."""
    return sum(1 for _ in tx.rows(uid, RowRange(last=last)))


def _references_of_row(
    unit: UnitOfWork, header: HeaderRow, row: MessageRow, keys: list[str]
) -> list[str]:
    """Return the attachments a stored message refers to; an unreadable one may refer to any."""
    try:
        (message,) = unit.to_messages(header, [row])
    except CorruptSession:
        return keys
    return _references(message, keys)


def _references(message: Message, keys: Iterable[str]) -> list[str]:
    """Return the attachments a message refers to, in any part of it."""
    data = dump(message.record)
    return [key for key in keys if key.encode() in data]
