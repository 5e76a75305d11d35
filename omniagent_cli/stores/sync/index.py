"""The index of a store: the sessions and deletions that a synchronization compares, by digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import product
from typing import Any, NamedTuple
from zlib import crc32

from omniagent_cli.errors import CorruptSession
from omniagent_cli.models import new_uid
from omniagent_cli.stores.backend import HeaderRow, ListQuery
from omniagent_cli.stores.journal import (
    GRAVE,
    JOURNAL,
    SYNCED,
    grave_of_entry,
    journal_header,
    open_journal,
)
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.sync.loading import fingerprint, grave_state, synced_more
from omniagent_cli.stores.sync.state import digest
from omniagent_cli.stores.unit_of_work import UnitOfWork

GROUPS = 256
"""Number of groups of sessions whose digests are compared first."""


class Entry(NamedTuple):
    """A session or deletion in the index of a store.

    Attributes:
        uids: every uid the session has had, its own first.
        digest: digest of its state; "" if it changed since the last synchronization.
        is_grave: it was deleted.
        messages: number of its messages.
        named: stamp of its id; only in entries that are compared one by one.
    """

    uids: tuple[str, ...]
    session_id: str
    digest: str
    is_grave: bool
    messages: int = 0
    named: str = ""

    @property
    def group(self) -> int:
        """The group of the session, by its visible id."""
        return crc32(self.session_id.encode()) % GROUPS


@dataclass(slots=True)
class StoreIndex:
    """The index of a store.

    Attributes:
        entries: one per session and deletion.
        headers: of the sessions, by uid.
        graves: by uid.
        synced: records of the last synchronization, by uid.
        absorbed: deletions that are part of the state of a session that exists, by uid.
        fresh_graves: keys of those that the journal does not have yet.
    """

    entries: list[Entry] = field(default_factory=list)
    headers: dict[str, HeaderRow] = field(default_factory=dict)
    graves: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    synced: dict[str, Sequence[Any]] = field(default_factory=dict)
    absorbed: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    fresh_graves: set[str] = field(default_factory=set)
    _places: dict[str, list[Entry]] = field(default_factory=dict)
    _grave_places: dict[str, list[str]] = field(default_factory=dict)

    def group_digests(self) -> list[str]:
        """Return the digest of each group; one that contains a changed session equals no other."""
        groups: list[list[str]] = [[] for _ in range(GROUPS)]
        for entry in self.entries:
            groups[entry.group].append(f"{entry.digest or new_uid()} {entry.session_id}")
        return [
            blake2b("\n".join(sorted(one)).encode(), digest_size=8).hexdigest() for one in groups
        ]

    def find(self, session_id: str, uids: Iterable[str]) -> list[Entry]:
        """Return the entries that have an id or one of some uids."""
        if not self._places:
            for entry in self.entries:
                for name in (f" {entry.session_id}", *entry.uids):
                    self._places.setdefault(name, []).append(entry)
        found = (self._places.get(name, []) for name in (f" {session_id}", *uids))
        return list(dict.fromkeys(entry for entries in found for entry in entries))

    def graves_of(self, session_id: str, uids: Iterable[str]) -> list[str]:
        """Return the keys of the deletions of sessions that had an id or one of some uids."""
        if not self._grave_places:
            for key, grave in self.graves.items():
                for name in (f" {grave['id']}", *grave["uids"]):
                    self._grave_places.setdefault(name, []).append(key)
        found = (self._grave_places.get(name, []) for name in (f" {session_id}", *uids))
        return list(dict.fromkeys(key for keys in found for key in keys))


def read_index(store: StoreBase) -> StoreIndex:
    """Read the index of a store: one pass over its headers, without messages."""

    def journal(unit: UnitOfWork) -> None:
        header = journal_header(unit)
        found: dict[str, Any]
        for kind, found in ((GRAVE, index.graves), (SYNCED, index.synced)):
            found.clear()
            if header is not None:
                for key, payload in unit.tx.records(JOURNAL, kind):
                    found[key] = unit.open_record(header, kind, key, payload)
        index.absorbed = {k: g for k, g in index.graves.items() if g.get("absorbed")}
        for key in index.absorbed:
            del index.graves[key]

    index = StoreIndex()
    store.read_unit(journal)
    _add_trash(store, index)
    now = store.read_unit(lambda unit: unit.now())
    buried_ids = {grave["id"] for grave in index.graves.values()}
    buried_uids = {uid for grave in index.graves.values() for uid in grave["uids"]}
    alive: set[str] = set()
    for header in _headers(store):
        if header.uid in index.headers or header.is_expired(now):
            continue
        index.headers[header.uid] = header
        synced = index.synced.get(header.uid)
        uids: tuple[str, ...] = (header.uid,)
        if synced is not None and len(synced) > 2:
            uids += tuple(synced_more(synced).get("uids", ()))
        known = synced is not None and synced[0] == fingerprint(header)
        if buried_ids and (header.id in buried_ids or not buried_uids.isdisjoint(uids)):
            known = False
            alive |= {header.id, *uids}
        value = str(synced[1]) if known and synced is not None else ""
        index.entries.append(
            Entry(uids, header.id, value, is_grave=False, messages=header.message_count)
        )
    for key, grave in index.graves.items():
        if grave["id"] not in alive and alive.isdisjoint(grave["uids"]):
            others = (uid for uid in grave["uids"] if uid != key)
            value = digest(grave_state(grave))
            index.entries.append(Entry((key, *others), grave["id"], value, is_grave=True))
    return index


def _headers(store: StoreBase) -> Iterator[HeaderRow]:
    """Yield the headers of all sessions in an order that the backends have indexes for.

    One that is pinned, archived or renamed at the same time may be yielded twice, or not at all.
    """
    for archived, pinned in product((False, True), repeat=2):
        query = ListQuery(sort="created", archived=archived, pinned=pinned)
        yield from store.iter_headers(query)


def _add_trash(store: StoreBase, index: StoreIndex) -> None:
    """Add the deletions whose sessions are in the trash."""
    known: dict[str, str] = {}
    for earlier in (*index.absorbed.values(), *index.graves.values()):
        for uid in earlier["uids"]:
            known[uid] = max(earlier["at"], known.get(uid, ""))
    for header in store.iter_headers(ListQuery(hidden=True, sort="id")):
        trash = _trash_of(store, header)
        if trash and trash["kind"] == "deleted" and known.get(header.uid, "") < trash["at"]:
            grave = store.read_unit(lambda unit: grave_of_entry(unit, header))  # noqa: B023  # run immediately
            if grave is not None:
                index.graves[header.uid] = grave
                index.fresh_graves.add(header.uid)


def _trash_of(store: StoreBase, header: HeaderRow) -> Any:
    with suppress(CorruptSession):  # `store check` reports it
        return store.row_codec.data(header).get("trash")
    return None


def known_store_id(store: StoreBase) -> str:
    """Return the id of a store; "" if it was never changed by a synchronization."""
    return store.read_unit(_read_id)


def own_store_id(store: StoreBase, *, renew: bool = False) -> str:
    """Return the id of a store, which gets one if it has none.

    Args:
        store: the store.
        renew: give it a new one, because it is a copy of another store.
    """

    def make(unit: UnitOfWork) -> str:
        known = _read_id(unit)
        if known and not renew:
            return known
        header = open_journal(unit)
        made = new_uid()
        unit.set_data(header, {**unit.data(header), "store": made})
        unit.touch(header, unit.now(), activity=False)
        unit.tx.put(header)
        return made

    return ("" if renew else known_store_id(store)) or store.write_unit(make)


def _read_id(unit: UnitOfWork) -> str:
    header = journal_header(unit)
    return "" if header is None else str(unit.data(header).get("store", ""))
