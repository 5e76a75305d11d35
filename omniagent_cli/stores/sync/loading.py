"""Reading of the state of a session from a store.

A ``synced`` record of the journal is a list: the `fingerprint` of the session's header when it was last synchronized, the
digest of its state then, and, if there are any, an object with ``order``, the logical times of messages that differ from
their ``created_at``, and ``uids``, those that the session has in other stores. Messages below the position of the next
message then may have been ordered by a merge; those after it were written later than all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from typing import Any, NamedTuple
from zlib import crc32

from omniagent_cli.models import Message
from omniagent_cli.stores.backend import CHUNK, HeaderRow, RowRange, contiguous_ranges
from omniagent_cli.stores.facts import BEGUN, DELETED, UIDS, facts_of, later, stamps_of
from omniagent_cli.stores.journal import removals
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.sync.state import (
    EMPTY,
    Fact,
    MessageState,
    Order,
    Revision,
    SessionState,
    digest,
    merge,
    settle,
)
from omniagent_cli.stores.unit_of_work import UnitOfWork

CACHE_BYTES = 1 << 18
"""Size up to which the messages of a session are kept in memory between its reading and its sending."""

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

Record = dict[str, Any]

Item = tuple[str, str, Record]
"""``message`` or ``attachment``, its id or SHA-256, and its record."""


class ChangedError(Exception):
    """A session was changed by another program since it was read."""


@dataclass(slots=True)
class LoadedSession:
    """A session of one store and its state.

    Attributes:
        header: its header; None if there is only a grave.
        places: positions of the messages by id, ascending.
        created: their ``created_at`` by id.
        content: the messages by id, if they are few.
    """

    state: SessionState
    header: HeaderRow | None = None
    places: dict[str, int] = field(default_factory=dict)
    created: dict[str, str] = field(default_factory=dict)
    content: dict[str, Record] | None = None


def fingerprint(header: HeaderRow) -> str:
    """Return the columns by which any change of a session is noticed, in short."""
    columns = f"{header.updated_at} {header.modified_at} {header.id}"
    counts = f"{header.revision}.{header.message_count}.{header.next_position}"
    return f"{counts}.{crc32(columns.encode()):x}"


def is_stamp(text: Any) -> bool:
    """Return True if a value has the form of a time that this program writes."""
    return isinstance(text, str) and _STAMP.fullmatch(text) is not None


def revision_of(record: Mapping[str, Any]) -> Revision:
    """Return the revision of a message."""
    text = _canonical(record).encode("ascii")
    revised_at = str(record.get("revised_at", ""))
    return Revision(
        revised_at if is_stamp(revised_at) else "",
        record.get("status") != "interrupted",
        len(text),
        blake2b(text, digest_size=16).hexdigest(),
    )


def grave_state(grave: Mapping[str, Any]) -> SessionState:
    """Return the state of a deleted session."""
    facts = {
        "id": Fact(grave.get("named", ""), (grave["id"],)),
        DELETED: Fact(grave["at"], (True,)),
    }
    return SessionState(
        facts=facts,
        removed=grave["removed"],
        restored=grave.get("restored") or {},
        uids=frozenset(grave["uids"]),
    )


def load_session(
    store: StoreBase,
    header: HeaderRow,
    synced: Sequence[Any] | None,
    graves: Iterable[Mapping[str, Any]] = (),
) -> LoadedSession:
    """Read the state of a session.

    Args:
        store: its store.
        header: its header, with payload; messages that are added later are not read.
        synced: its record in the journal.
        graves: records of deleted sessions that had the same id or uid.
    """
    buried = EMPTY
    for grave in graves:
        buried = merge(buried, grave_state(grave))
    first = store.read_unit(lambda unit: _first_part(unit, header))
    removed, restored = first.removals
    own = SessionState(removed=removed, restored=restored)
    known = merge(own, buried)
    reader = MessageReader(synced)
    content: dict[str, Record] | None = {}
    size = 0
    for message in chain(first.messages, _later_messages(store, header, first.messages)):
        size += reader.add(message)
        if content is not None and size <= CACHE_BYTES:
            content[message.id or ""] = message.record
        else:
            content = None
    data = store.row_codec.data(header)
    brought_back = {
        key: later(known.removed[key], known.removed[key])
        for key in reader.messages
        if known.is_removed(key)
    }
    state = SessionState(
        facts=load_facts(header, data, buried.facts.get(DELETED)),
        messages=reader.messages,
        removed=known.removed,
        restored={**known.restored, **brought_back},
        attachments=frozenset(first.attachments),
        uids=frozenset({header.uid, *(data.get(UIDS) or ()), *buried.uids}),
        created_at=header.created_at,
        updated_at=header.updated_at,
        changed_at=header.changed_at,
    )
    return LoadedSession(settle(state), header, reader.places, reader.created, content)


def load_facts(
    header: HeaderRow, data: Mapping[str, Any], grave: Fact | None = None
) -> dict[str, Fact]:
    """Return the facts of a session; those that are there after a deletion known to its store were set after it."""
    stamps = stamps_of(data)
    deleted = max(stamps.get(DELETED, ""), grave.stamp if grave else "")
    values = {name: (value,) for name, value in facts_of(header, data).items()}
    facts = {name: Fact(stamp, values.get(name, ())) for name, stamp in stamps.items()}
    for name, value in values.items():
        facts.setdefault(name, Fact("", value))
    if not deleted:
        return facts
    floor = later(deleted, deleted)
    facts = {
        name: Fact(floor, fact.value) if fact.stamp < floor and fact.value else fact
        for name, fact in facts.items()
    }
    begun = facts.get(BEGUN, Fact("", ())).stamp
    return {**facts, DELETED: Fact(deleted, (True,)), BEGUN: Fact(max(begun, floor), (True,))}


class MessageReader:
    """Collector of the states of a session's messages, in the order of their positions."""

    def __init__(self, synced: Sequence[Any] | None = None) -> None:
        self.messages: dict[str, MessageState] = {}
        self.places: dict[str, int] = {}
        self.created: dict[str, str] = {}
        ordered = synced_more(synced).get("order") or {}
        self._ordered = {key: Order(*order) for key, order in ordered.items()}
        self._next = int(synced[0].split(".")[2]) if synced else 0
        self._latest = (Order(""), "")

    def add(self, message: Message) -> int:
        """Add the next message and return its size."""
        key, position = message.id or "", message.position or 0
        record = message.record
        order = self._ordered.get(key) or Order(record["created_at"])
        if position >= self._next and key not in self._ordered and (order, key) <= self._latest:
            order = Order(self._latest[0].time, self._latest[0].number + 1)
        self._latest = max(self._latest, (order, key))
        revision = revision_of(record)
        self.messages[key] = MessageState(revision, order, record.get("turn_id") or key)
        self.places[key] = position
        self.created[key] = record["created_at"]
        return revision.size


class _FirstPart(NamedTuple):
    removals: tuple[dict[str, str], dict[str, str]]
    attachments: list[str]
    messages: list[Message]


def _first_part(unit: UnitOfWork, header: HeaderRow) -> _FirstPart:
    """Return all that most sessions have, in one unit of work: on a server, each costs a round trip."""
    attachments = unit.record_keys(header.uid, "attachment")
    span = RowRange(0, header.next_position - 1, limit=CHUNK)
    return _FirstPart(removals(unit, header), attachments, unit.messages(header, span))


def _later_messages(store: StoreBase, header: HeaderRow, chunk: list[Message]) -> Iterator[Message]:
    """Yield the messages after the first chunk."""
    while len(chunk) == CHUNK:
        span = RowRange((chunk[-1].position or 0) + 1, header.next_position - 1, limit=CHUNK)
        chunk = store.read_unit(lambda unit: unit.messages(header, span))  # noqa: B023  # run immediately
        yield from chunk


def read_content(store: StoreBase, member: LoadedSession, wanted: Iterable[str]) -> Iterator[Item]:
    """Yield messages of a session by id, as far as it has them."""
    header = member.header
    if header is None:
        return
    if member.content is not None:
        yield from (
            ("message", key, member.content[key]) for key in wanted if key in member.content
        )
        return
    chunk: list[str] = []
    for key in wanted:
        if key in member.places:
            chunk.append(key)
        if len(chunk) == CHUNK:
            yield from _read(store, header, member, chunk)
            chunk = []
    yield from _read(store, header, member, chunk)


def _read(
    store: StoreBase, header: HeaderRow, member: LoadedSession, keys: list[str]
) -> Iterator[Item]:
    found: dict[str, Record] = {}
    for span in contiguous_ranges(sorted(member.places[key] for key in keys)):
        for message in store.read_unit(lambda unit: unit.messages(header, span)):  # noqa: B023  # run immediately
            found[message.id or ""] = message.record
    yield from (("message", key, found[key]) for key in keys if key in found)


def read_attachments(
    store: StoreBase, member: LoadedSession, wanted: Iterable[str]
) -> Iterator[Item]:
    """Yield attachments of a session, one in memory at a time."""
    header = member.header
    if header is None:
        return
    for key in wanted:
        value = store.read_unit(lambda unit: unit.record(header, "attachment", key))  # noqa: B023  # run immediately
        if value is not None:
            yield "attachment", key, value


def verified(items: Iterable[Item], merged: SessionState) -> Iterator[Item]:
    """Yield items that belong to a merged state, in the announced versions; others are left out."""
    for kind, key, record in items:
        if kind == "attachment":
            if key in merged.attachments:
                yield kind, key, record
        elif key in merged.messages and merged.messages[key].revision == revision_of(record):
            yield kind, key, record


def synced_record(header: HeaderRow, state: SessionState, created: Mapping[str, str]) -> list[Any]:
    """Return the record of the journal for a session whose state is known."""
    order = {
        key: list(message.order)
        for key, message in state.messages.items()
        if message.order != Order(created[key])
    }
    uids = sorted(state.uids - {header.uid})
    more = {name: value for name, value in (("order", order), ("uids", uids)) if value}
    return [fingerprint(header), digest(state), *([more] if more else [])]


def synced_more(synced: Sequence[Any] | None) -> Mapping[str, Any]:
    """Return the object of a ``synced`` record, which most have not."""
    return synced[2] if synced is not None and len(synced) > 2 else {}


BATCH_BYTES = 4 << 20
"""Approximate size of the content that one transaction adds."""


@dataclass(slots=True)
class ContentBatch:
    """Content that one transaction adds: records by id, and by SHA-256."""

    messages: dict[str, Record] = field(default_factory=dict)
    attachments: dict[str, Record] = field(default_factory=dict)


def content_batches(*sources: Iterable[Item]) -> Iterator[ContentBatch]:
    """Yield content in batches of bounded size."""
    batch, size = ContentBatch(), 0
    for source in sources:
        for kind, key, record in source:
            (batch.messages if kind == "message" else batch.attachments)[key] = record
            size += _size(record)
            if size >= BATCH_BYTES or len(batch.messages) >= CHUNK:
                yield batch
                batch, size = ContentBatch(), 0
    if batch.messages or batch.attachments:
        yield batch


def _size(record: Mapping[str, Any]) -> int:
    content = record.get("content", record.get("data"))
    return len(content) if isinstance(content, str) else len(str(record))
