"""Writing of a merged state to a store: one session at a time, in transactions of bounded size.

Each transaction leaves a sound session with some of the missing messages, so an interrupted synchronization continues
where it was. Only the last one records the session as synchronized.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import Message, new_uid
from omniagent_cli.stores.attachments_and_summaries import detach_summaries
from omniagent_cli.stores.backend import HeaderRow, RowRange, contiguous_ranges
from omniagent_cli.stores.facts import STAMPS, UIDS, assign
from omniagent_cli.stores.journal import GRAVE, JOURNAL, REMOVAL, SYNCED, open_journal
from omniagent_cli.stores.removal import withdraw_messages
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.sync.loading import (
    ChangedError,
    ContentBatch,
    Item,
    LoadedSession,
    content_batches,
    fingerprint,
    read_content,
    synced_record,
)
from omniagent_cli.stores.sync.state import (
    SessionState,
    deleted_at,
    exists,
    ordered,
    session_id_of,
)
from omniagent_cli.stores.unit_of_work import UnitOfWork


@dataclass(slots=True)
class _Placed:
    """Changes of one transaction to a session.

    Attributes:
        places: positions by id, of all messages if `is_whole`, else of the added ones.
        preview: the last message, if it changed.
        added: messages to insert, with their positions.
    """

    places: dict[str, int] = field(default_factory=dict)
    added: list[Message] = field(default_factory=list)
    preview: Message | None = None
    header: HeaderRow | None = None
    is_whole: bool = True


def apply_state(
    store: StoreBase,
    members: list[LoadedSession],
    merged: SessionState,
    items: Iterable[Item],
    graves: Mapping[str, Mapping[str, Any]],
) -> None:
    """Make a session of a store equal to a merged state.

    Args:
        store: the store.
        members: its sessions that are one session in the merged state, as they were read; mostly one.
        merged: the settled state.
        items: the content that the members lack, messages in order.
        graves: the store's records of deletions of the session.

    Raises:
        ChangedError: the session was changed by another program; synchronize it again.
    """
    alive = [member for member in members if member.header is not None]
    if not exists(merged):
        _bury(store, alive, merged, set(graves))
        return
    name = session_id_of(merged)
    alive.sort(key=lambda one: (one.header.id != name, one.header.uid))  # type: ignore[union-attr]  # these have one
    session = _Session(store, alive[0] if alive else None, merged, alive[1:], graves)
    batches = content_batches(_content_of(store, alive[1:], session), items)
    batch = next(batches, ContentBatch())
    for following in batches:
        session.write(batch, final=False)
        batch = following
    session.write(batch, final=True)
    if alive:
        alive[0].places = session.places


def _content_of(store: StoreBase, others: list[LoadedSession], session: _Session) -> Iterator[Item]:
    """Yield what other sessions of this store have, which become one with it."""
    for member in others:
        assert member.header is not None  # noqa: S101  # as `apply_state` selected them
        yield from read_content(store, member, session.missing(member))


def _bury(
    store: StoreBase, alive: list[LoadedSession], merged: SessionState, graves: set[str]
) -> None:
    """Delete the members of a session that was deleted elsewhere, and record the deletion."""
    named = merged.facts["id"]
    grave = {
        "id": session_id_of(merged),
        "named": named.stamp,
        "uids": sorted(merged.uids),
        "at": deleted_at(merged),
        "removed": dict(merged.removed),
        "restored": dict(merged.restored),
    }
    key = min(merged.uids)

    at = parse_time(deleted_at(merged))

    def work(unit: UnitOfWork) -> None:
        open_journal(unit)
        for member in alive:
            header = _unchanged(unit, member.header)
            unit.emit("session_deleted", header.id)
            unit.move_to_trash(header, deleted_at=at)
        for old in graves - {key}:
            unit.tx.remove_record(JOURNAL, GRAVE, old)
        unit.put_record(JOURNAL, GRAVE, key, grave)

    store.write_unit(work)


def _unchanged(unit: UnitOfWork, seen: HeaderRow | None) -> HeaderRow:
    header = None if seen is None else unit.tx.find_uid(seen.uid)
    if seen is None or header is None or header.hidden or fingerprint(header) != fingerprint(seen):
        raise ChangedError
    return header


class _Session:
    """A session that is being made equal to a merged state."""

    def __init__(
        self,
        store: StoreBase,
        primary: LoadedSession | None,
        merged: SessionState,
        others: list[LoadedSession],
        graves: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._store = store
        self._own = primary or LoadedSession(SessionState())
        self._merged = merged
        self._order = ordered(merged)
        self._rank = {key: number for number, key in enumerate(self._order)}
        self._others = others
        self._graves = graves
        self.places = dict(self._own.places)
        self._created = dict(self._own.created)
        self._top = self._in_order()
        self._uid = ""

    def _in_order(self) -> int | None:
        """Return the rank of the last message, -1 without one; None if messages must be removed or moved."""
        present = sorted(self.places, key=lambda key: self.places[key])
        ranks = [self._rank.get(key, -1) for key in present]
        if -1 in ranks or any(b < a for a, b in pairwise(ranks)):
            return None
        return ranks[-1] if ranks else -1

    def missing(self, other: LoadedSession) -> list[str]:
        """Return the ids of the messages whose final content another session has and this one lacks."""
        wanted, own, has = self._merged.messages, self._own.state.messages, other.state.messages
        return [
            key
            for key in self._order
            if key in has
            and has[key].revision == wanted[key].revision
            and (key not in own or own[key].revision != wanted[key].revision)
        ]

    def write(self, batch: ContentBatch, *, final: bool) -> None:
        """Write one batch; the final one ends the synchronization of the session."""

        def work(unit: UnitOfWork) -> _Placed:
            header = self._open(unit)
            append = self._is_append(batch)
            placed = self._append(header, batch) if append else self._place(unit, header, batch)
            if placed.preview is not None or not append:
                unit.set_preview(header, placed.preview)
            self._write_header(unit, header)
            if placed.added:
                unit.insert(header.uid, placed.added)
                unit.announce(header, [one for one in placed.added if one.id not in self.places])
            for key, value in batch.attachments.items():
                unit.put_record(header.uid, "attachment", key, value)
            self._write_removals(unit, header)
            count = len(placed.places) + (len(self.places) if append else 0)
            if final and count == len(self._merged.messages):
                self._finish(unit, header, batch)
            placed.header = header
            return placed

        placed = self._store.write_unit(work)
        self._note(batch, placed)

    def _note(self, batch: ContentBatch, placed: _Placed) -> None:
        """Keep what a batch changed, once it is stored."""
        if placed.is_whole:
            self.places = placed.places
        else:
            self.places.update(placed.places)
        self._created |= {key: record["created_at"] for key, record in batch.messages.items()}
        self._top = max((self._rank[key] for key in placed.places), default=self._top or -1)
        self._own.header = placed.header

    def _is_append(self, batch: ContentBatch) -> bool:
        """Return True if the messages of a batch come after all that are there, which are in order."""
        top = self._top
        return top is not None and all(self._rank.get(key, -1) > top for key in batch.messages)

    def _append(self, header: HeaderRow, batch: ContentBatch) -> _Placed:
        """Place the messages of a batch at the end, without looking at the others."""
        placed = _Placed(is_whole=False)
        for key in sorted(batch.messages, key=lambda key: self._rank[key]):
            message = Message.trusted(batch.messages[key], header.next_position)
            placed.places[key] = header.next_position
            placed.added.append(message)
            header.next_position += 1
        header.message_count += len(placed.added)
        placed.preview = placed.added[-1] if placed.added else None
        return placed

    def _open(self, unit: UnitOfWork) -> HeaderRow:
        if self._own.header is not None:
            return _unchanged(unit, self._own.header)
        header = unit.fresh("", unit.now())
        if not self._uid:
            uid = min(self._merged.uids)
            taken = unit.tx.find_uid(uid, payload=False) is not None
            self._uid = new_uid() if taken else uid
        header.uid, header.payload = self._uid, None  # the payload is bound to the uid
        unit.emit("session_created", session_id_of(self._merged))
        return header

    def _facts(self, unit: UnitOfWork, header: HeaderRow) -> dict[str, Any]:
        """Set the columns of the header and return its data; make room for its id."""
        merged = self._merged
        values = {name: fact.value[0] for name, fact in merged.facts.items() if fact.value}
        old_id = header.id
        data = assign(values, header)
        if header.id != old_id:
            _make_room(unit, header)
        if stamps := {
            name: fact.stamp for name, fact in sorted(merged.facts.items()) if fact.stamp
        }:
            data[STAMPS] = stamps
        if uids := sorted(merged.uids - {header.uid}):
            data[UIDS] = uids
        return data

    def _place(self, unit: UnitOfWork, header: HeaderRow, batch: ContentBatch) -> _Placed:
        """Remove, replace and move messages; those to add are inserted once the header is written."""
        wanted, places = self._merged.messages, dict(self.places)
        placed = _Placed(places)
        gone = {key: place for key, place in places.items() if key not in wanted}
        if gone:
            spans = contiguous_ranges(sorted(gone.values()))
            withdraw_messages(unit, header, spans, len(gone), "synced")
            for key in gone:
                del places[key]
        target = [key for key in self._order if key in places or key in batch.messages]
        present = sorted(places, key=lambda key: places[key])
        kept = _common_prefix(target, present)
        moved = self._take_tail(unit, header, [places[key] for key in present[kept:]])
        for key in present[:kept]:
            if key in batch.messages:
                message = Message.trusted(batch.messages[key], places[key])
                row = unit.to_row(header.uid, message)
                unit.tx.replace(header.uid, row, unit.index_texts([message])[0])
        for key in target[kept:]:
            record = batch.messages.get(key)
            message = moved[key] if record is None else Message.trusted(record, None)
            message.position = places[key] = header.next_position
            header.next_position += 1
            placed.added.append(message)
        header.message_count += len(target) - len(present) - len(gone)
        placed.preview = self._last(unit, header, target, placed, batch)
        return placed

    def _last(
        self,
        unit: UnitOfWork,
        header: HeaderRow,
        target: list[str],
        placed: _Placed,
        batch: ContentBatch,
    ) -> Message | None:
        """Return the last message, which the preview shows."""
        if placed.added or not target:
            return placed.added[-1] if placed.added else None
        if target[-1] in batch.messages:
            return Message.trusted(batch.messages[target[-1]], None)
        place = placed.places[target[-1]]
        return unit.messages(header, RowRange(place, place))[0]

    def _take_tail(
        self, unit: UnitOfWork, header: HeaderRow, positions: list[int]
    ) -> dict[str, Message]:
        """Remove the messages that have to move behind others, and return them by id."""
        found: dict[str, Message] = {}
        for span in contiguous_ranges(positions):
            found |= {message.id or "": message for message in unit.messages(header, span)}
        if positions:
            detach_summaries(unit, header, positions[0])
        for span in contiguous_ranges(positions):
            unit.tx.delete_rows(header.uid, span)
        return found

    def _write_header(self, unit: UnitOfWork, header: HeaderRow) -> None:
        """Write the header with the merged facts."""
        merged = self._merged
        data = self._facts(unit, header)
        header.revision += 1
        header.created_at = merged.created_at or header.created_at
        header.updated_at = merged.updated_at or header.updated_at
        changed = merged.changed_at
        header.modified_at = changed if changed > header.updated_at else None
        header.expires_at = _expiry(header)
        unit.set_data(header, data)
        unit.tx.put(header)

    def _write_removals(self, unit: UnitOfWork, header: HeaderRow) -> None:
        removed, restored = dict(self._merged.removed), dict(self._merged.restored)
        own = self._own.state
        stored = self._own.header is not None and not self._graves  # what graves add is not
        if not removed or (stored and (own.removed, own.restored) == (removed, restored)):
            return
        key = max((*removed.values(), *restored.values()))
        for old in unit.record_keys(header.uid, REMOVAL):
            if old != key:
                unit.tx.remove_record(header.uid, REMOVAL, old)
        unit.put_record(header.uid, REMOVAL, key, {"removed": removed, "restored": restored})

    def _finish(self, unit: UnitOfWork, header: HeaderRow, batch: ContentBatch) -> None:
        """Record that the session is synchronized, and remove what became part of it."""
        open_journal(unit)
        for other in self._others:
            unit.tx.remove(_unchanged(unit, other.header).uid)
            unit.tx.remove_record(JOURNAL, SYNCED, other.header.uid)  # type: ignore[union-attr]  # it has one
        for key, grave in self._graves.items():
            kept = {name: grave[name] for name in ("id", "uids", "at")}
            unit.put_record(JOURNAL, GRAVE, key, {**kept, "absorbed": True})
        created = {key: record["created_at"] for key, record in batch.messages.items()}
        record = synced_record(header, self._merged, {**self._created, **created})
        unit.put_record(JOURNAL, SYNCED, header.uid, record)


def _common_prefix(one: list[str], other: list[str]) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _make_room(unit: UnitOfWork, header: HeaderRow) -> None:
    """Rename another session that has the id; its own turn gives it the right one."""
    holder = unit.tx.find(header.id)
    if holder is None or holder.uid == header.uid:
        return
    if holder.is_expired(unit.now()):
        unit.tx.remove(holder.uid)
        return
    data = unit.data(holder)
    stamps = {name: stamp for name, stamp in (data.get(STAMPS) or {}).items() if name != "id"}
    holder.id = holder.uid
    unit.set_data(holder, {**data, STAMPS: stamps})
    holder.mark_changed(format_time(unit.now()), activity=False)
    unit.tx.put(holder)


def _expiry(header: HeaderRow) -> str | None:
    if header.ttl_seconds is None:
        return None
    try:
        end = parse_time(header.changed_at) + timedelta(seconds=header.ttl_seconds)
    except OverflowError:
        return None
    return format_time(end)
