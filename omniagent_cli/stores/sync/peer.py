"""One side of a synchronization: a store that compares, exchanges and receives states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from omniagent_cli.errors import CorruptSession, StoreError, SyncError, UnsupportedOperation
from omniagent_cli.stores.backend import HeaderRow
from omniagent_cli.stores.facts import UIDS, stamps_of
from omniagent_cli.stores.journal import JOURNAL, SYNCED, journal_header, open_journal
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.sync.applying import apply_state
from omniagent_cli.stores.sync.index import (
    Entry,
    StoreIndex,
    known_store_id,
    own_store_id,
    read_index,
)
from omniagent_cli.stores.sync.loading import (
    ChangedError,
    Item,
    LoadedSession,
    grave_state,
    load_session,
    read_attachments,
    read_content,
    synced_record,
    verified,
)
from omniagent_cli.stores.sync.state import (
    EMPTY,
    SessionState,
    digest,
    exists,
    lacking,
    merge,
    ordered,
    settle,
)
from omniagent_cli.stores.unit_of_work import UnitOfWork


class Comparison(NamedTuple):
    """The answer to the group digests of another store.

    Attributes:
        store_id: the id of this store.
        groups: numbers of the groups that differ.
        entries: this store's entries in them.
    """

    store_id: str
    groups: list[int]
    entries: list[Entry]


class ExchangeRequest(NamedTuple):
    """A session of which two stores exchange their states.

    Attributes:
        keys: the first uids of the entries of the store that answers.
        state: the state in the store that asks.
    """

    keys: tuple[str, ...]
    state: SessionState


class ExchangeReply(NamedTuple):
    """The state of a session in the store that answers, and what the other one lacks.

    Attributes:
        error: why the session cannot be read there; "" if it was.
    """

    state: SessionState
    items: Iterator[Item]
    error: str = ""


class Peer(Protocol):
    """The other side of a synchronization; each method is one round trip."""

    def compare(self, digests: Sequence[str]) -> Comparison:
        """Compare the digests of the groups, which begins a round."""

    def exchange(
        self, requests: Sequence[ExchangeRequest], *, content: bool
    ) -> Iterator[ExchangeReply]:
        """Exchange states; each reply is consumed before the next. Without `content`, no messages are sent."""

    def push(self, sessions: Iterable[tuple[int, Iterator[Item]]]) -> list[str]:
        """Merge sessions of the last exchange, given by number with what this side lacks.

        Returns:
            For each, "" or why it was not merged; "changed" if it was written to since the exchange.
        """


class SyncedSession:
    """A session of one store during an exchange.

    Attributes:
        error: why it cannot be read; "" if it was.
    """

    def __init__(self, store: StoreBase, index: StoreIndex, keys: Sequence[str]) -> None:
        self._store = store
        self._index = index
        self.members: list[LoadedSession] = []
        self.graves: dict[str, Mapping[str, Any]] = {}
        self.state, self.error = EMPTY, ""
        try:
            self._load(keys)
        except CorruptSession as error:  # the others are synchronized
            self.error = str(error)
        self._merged = EMPTY, self.state

    def _load(self, keys: Sequence[str]) -> None:
        store, index = self._store, self._index
        graves = {key for key in keys if key in index.graves}
        for key in dict.fromkeys(keys):  # the other side may send one twice
            header = index.headers.get(key)
            if header is not None:
                uids = (key, *(store.row_codec.data(header).get(UIDS) or ()))
                own = index.graves_of(header.id, uids)
                graves.update(own)
                found = [index.graves[one] for one in own]
                self.members.append(load_session(store, header, index.synced.get(key), found))
        self.graves = {key: index.graves[key] for key in sorted(graves)}
        state = EMPTY
        for key in self.graves:
            state = merge(state, grave_state(self.graves[key]))
        for member in self.members:
            state = merge(state, member.state)
        self.state = settle(state)

    @property
    def digest(self) -> str:
        """The digest of its state."""
        return digest(self.state)

    def _merged_with(self, other: SessionState) -> SessionState:
        known, merged = self._merged
        if known is not other:
            merged = settle(merge(self.state, other))
            self._merged = other, merged
        return merged

    def items(self, other: SessionState) -> Iterator[Item]:
        """Yield what a store with another state lacks of the merged session."""
        merged = self._merged_with(other)
        wanted = [
            key
            for key in lacking(merged, other)
            if key in self.state.messages
            and self.state.messages[key].revision == merged.messages[key].revision
        ]
        for member in self.members:
            missing = sorted(self.state.attachments - other.attachments)
            yield from read_attachments(self._store, member, missing)
        if len(self.members) == 1:
            yield from read_content(self._store, self.members[0], wanted)
            return
        for key in wanted:  # several sessions become one: in its order
            for member in self.members:
                known = member.state.messages.get(key)
                if known is not None and known.revision == merged.messages[key].revision:
                    yield from read_content(self._store, member, [key])
                    break

    def receive(self, other: SessionState, items: Iterable[Item], *, verify: bool = False) -> bool:
        """Merge the state of another store into this one, with what it lacks.

        Args:
            other: the other state.
            items: the content.
            verify: leave out content that is not what the other state announces.

        Returns:
            False if nothing changed but that the session is synchronized; see `mark_synced`.
        """
        merged = self._merged_with(other)
        if self._is_settled(merged):
            return False
        if verify:
            items = verified(items, merged)
        apply_state(self._store, self.members, merged, items, self.graves)
        self.members = self.members[:1]
        return True

    def _is_settled(self, merged: SessionState) -> bool:
        if merged != self.state or len(self.members) > 1:
            return False
        if not self.members:
            return len(self.graves) == 1 and self._index.fresh_graves.isdisjoint(self.graves)
        own = self.members[0]
        in_order = sorted(own.places, key=lambda key: own.places[key])
        return not self.graves and exists(merged) and in_order == ordered(merged)


def load_one(store: StoreBase, session_id: str) -> LoadedSession:
    """Read the state of one session of a store, to merge something with it.

    Raises:
        SessionNotFound: it does not exist.
    """

    def read(unit: UnitOfWork) -> tuple[HeaderRow, Any]:
        header, journal = unit.find(session_id), journal_header(unit)
        payload = unit.tx.record(JOURNAL, SYNCED, header.uid) if journal else None
        known = payload and journal and unit.open_record(journal, SYNCED, header.uid, payload)
        return header, known

    return load_session(store, *store.read_unit(read))


class LocalPeer:
    """A side of a synchronization whose store is open in this process.

    Args:
        store: the store.
        trusts: the content of the other side needs no verification, because it is a store in this process too.

    Raises:
        UnsupportedOperation: the store's backend cannot record removals.
    """

    def __init__(self, store: StoreBase, *, trusts: bool = True) -> None:
        if not store.read_unit(lambda unit: unit.keeps_tombstones):
            raise UnsupportedOperation(
                f"{store.url} cannot be synchronized; its backend keeps only a subset of a session"
            )
        self.store = store
        self._trusts = trusts
        self.index = StoreIndex()
        self.sessions: list[SyncedSession] = []
        self._others: list[SessionState] = []

    @property
    def store_id(self) -> str:
        """The id of the store; "" before it is first changed by a synchronization."""
        return known_store_id(self.store)

    def refresh(self) -> list[str]:
        """Read the index and return its group digests, which begins a round."""
        self.index = read_index(self.store)
        return self.index.group_digests()

    def compare(self, digests: Sequence[str]) -> Comparison:
        """Return the entries of the groups whose digests differ."""
        own = self.refresh()
        groups = [number for number, one in enumerate(own) if one != digests[number]]
        return Comparison(self.store_id, groups, self.entries(groups))

    def entries(self, groups: Iterable[int]) -> list[Entry]:
        """Return the entries of some groups, with the stamps of their ids."""
        wanted = frozenset(groups)
        return self.named(entry for entry in self.index.entries if entry.group in wanted)

    def named(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return entries with the stamps of their ids and all uids."""
        return [self._named(entry) for entry in entries]

    def _named(self, entry: Entry) -> Entry:
        key = entry.uids[0]
        if entry.is_grave:
            return entry._replace(named=self.index.graves[key].get("named", ""))
        with suppress(CorruptSession):  # it is refused when it is loaded
            return self._with_data(entry, key)
        return entry

    def _with_data(self, entry: Entry, key: str) -> Entry:
        data = self.store.row_codec.data(self.index.headers[key])
        uids = (key, *(uid for uid in data.get(UIDS) or () if uid != key))
        return entry._replace(named=stamps_of(data).get("id", ""), uids=uids)

    def load(self, keys: Iterable[Sequence[str]]) -> list[SyncedSession]:
        """Read the states of sessions, given by the first uids of their entries."""
        self.sessions = [SyncedSession(self.store, self.index, own) for own in keys]
        return self.sessions

    def exchange(
        self, requests: Sequence[ExchangeRequest], *, content: bool
    ) -> Iterator[ExchangeReply]:
        """Yield the states of sessions, and what the other side lacks."""
        self.load([request.keys for request in requests])
        self._others = [request.state for request in requests]
        for session, other in zip(self.sessions, self._others, strict=True):
            items = session.items(other) if content and not session.error else iter(())
            yield ExchangeReply(session.state, items, session.error)

    def push(self, sessions: Iterable[tuple[int, Iterator[Item]]]) -> list[str]:
        """Merge sessions of the last exchange."""
        own_store_id(self.store)
        given = ((self.sessions[number], self._others[number], items) for number, items in sessions)
        return self.receive(given)

    def receive(
        self, given: Iterable[tuple[SyncedSession, SessionState, Iterator[Item]]]
    ) -> list[str]:
        """Merge states of the other side into this store; see `Peer.push` for the result."""
        outcomes: list[str] = []
        settled: list[SyncedSession] = []
        for session, other, items in given:
            try:
                if not session.error and not session.receive(other, items, verify=not self._trusts):
                    settled.append(session)
                outcomes.append(session.error)
            except SyncError:
                raise
            except ChangedError:
                outcomes.append("changed")
            except StoreError as error:
                outcomes.append(str(error))
            for _ in items:  # the next session begins after them
                pass
        self.mark(settled)
        return outcomes

    def mark(self, sessions: list[SyncedSession]) -> None:
        """Record sessions as synchronized that needed no change."""
        records = {}
        for session in sessions:
            for member in session.members:
                if member.header is not None:
                    record = synced_record(member.header, session.state, member.created)
                    if self.index.synced.get(member.header.uid) != record:
                        records[member.header.uid] = record

        def work(unit: UnitOfWork) -> None:
            open_journal(unit)
            for uid, record in records.items():
                unit.put_record(JOURNAL, SYNCED, uid, record)

        if records:
            self.store.write_unit(work)
