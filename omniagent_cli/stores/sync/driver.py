"""The synchronization of a store with another side, in rounds, until both are equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from omniagent_cli.errors import UsageError
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.sync.index import own_store_id
from omniagent_cli.stores.sync.loading import Item
from omniagent_cli.stores.sync.pairing import Cluster, pair
from omniagent_cli.stores.sync.peer import ExchangeRequest, LocalPeer, Peer, SyncedSession
from omniagent_cli.stores.sync.state import SessionState, exists, lacking, merge, settle

ROUNDS = 5
"""Number of rounds after which a session that is being written to is left for the next synchronization."""

BATCH_SESSIONS = 64
BATCH_MESSAGES = 20_000


@dataclass(frozen=True, slots=True)
class SessionChange:
    """Effects of a synchronization on one session.

    Attributes:
        session_id: its id afterwards.
        received, sent: messages that are new or changed here, and there.
        removed_here, removed_there: messages that the other side removed, and this one.
        status: ``new here``, ``new there``, ``deleted here``, ``deleted there``, ``changed``, or ``sent`` (to a directory).
        renamed_from: its former id on the side that renames it; "" if neither does.
        restored: it was deleted on one side and written to on the other.
    """

    session_id: str
    received: int = 0
    sent: int = 0
    removed_here: int = 0
    removed_there: int = 0
    status: str = "changed"
    renamed_from: str = ""
    restored: bool = False


@dataclass(slots=True)
class SyncReport:
    """The result of a synchronization, or of a dry run.

    Attributes:
        changes: one per session that differed.
        refused: sessions that were not synchronized, with the reason.
        total, seen: numbers of sessions to compare in this round, and compared.
        notes: facts about the other side.
    """

    changes: list[SessionChange] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    total: int = 0
    seen: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if no session was refused."""
        return not self.refused


Progress = Callable[[SyncReport], object]


def sync_with(
    store: StoreBase,
    peer: Peer,
    *,
    dry_run: bool = False,
    pull: bool = True,
    push: bool = True,
    progress: Progress | None = None,
) -> SyncReport:
    """Synchronize a store with another side.

    Args:
        store: the store.
        peer: the other side.
        dry_run: change nothing.
        pull: change this store.
        push: change the other one.
        progress: called with the report as it grows.
    """
    sync = _Sync(
        LocalPeer(store, trusts=isinstance(peer, LocalPeer)),
        peer,
        dry_run=dry_run,
        pull=pull,
        push=push,
    )
    sync.progress = progress
    if not dry_run:
        sync.report.notes += conflict_copy_notes(store)
    for _ in range(ROUNDS):
        if not sync.round():
            break
    return sync.report


def conflict_copy_notes(store: StoreBase) -> list[str]:
    """Merge the conflict copies of a store's files, and return a note about each."""
    return [f"merged {name}, which a sync tool left" for name in store.merge_conflict_copies()]


def sync(
    store: StoreBase,
    other: StoreBase,
    *,
    dry_run: bool = False,
    pull: bool = True,
    push: bool = True,
    progress: Progress | None = None,
) -> SyncReport:
    """Bring two stores to the same content; see `sync_with` for the options.

    Raises:
        UsageError: both are the same store.
    """
    if store is other or (store.url == other.url and store.backend != "memory"):
        raise UsageError(f"{store.url} cannot be synchronized with itself; choose another store")
    peer = LocalPeer(other)
    notes = [] if dry_run else conflict_copy_notes(other)
    report = sync_with(store, peer, dry_run=dry_run, pull=pull, push=push, progress=progress)
    report.notes += notes
    return report


class _Sync:
    def __init__(
        self, mine: LocalPeer, theirs: Peer, *, dry_run: bool, pull: bool, push: bool
    ) -> None:
        self._mine = mine
        self._theirs = theirs
        self._pull = pull and not dry_run
        self._push = push and not dry_run
        self._reports_pull, self._reports_push = pull, push
        self._changes: dict[str, SessionChange] = {}
        self._dry_run = dry_run
        self.progress: Progress | None = None
        self.report = SyncReport()

    def round(self) -> bool:
        """Compare both stores once; return True if a session changed during the round."""
        compared = self._theirs.compare(self._mine.refresh())
        if self._pull:
            self._check_ids(compared.store_id)
        clusters = pair(self._mine.entries(compared.groups), compared.entries)
        self.report.total, self.report.seen = len(clusters), 0
        self.report.refused.clear()
        again = False
        for batch in _batches(clusters):
            again |= self._batch(batch)
            self.report.seen += len(batch)
            if self.progress is not None:
                self.progress(self.report)
        self.report.changes = list(self._changes.values())
        return again and not self._dry_run

    def _check_ids(self, other: str) -> None:
        """Give this store a new id if the other one has the same: one is a copy of the other's files."""
        if own_store_id(self._mine.store) == other:
            own_store_id(self._mine.store, renew=True)
            self.report.notes.append(
                "one of the two stores is a copy of the other, so this one was given a new id"
            )

    def _batch(self, clusters: list[Cluster]) -> bool:
        own = self._mine.load([[one.uids[0] for one in cluster.mine] for cluster in clusters])
        outcomes = [session.error for session in own]
        requests = [
            ExchangeRequest(tuple(one.uids[0] for one in cluster.theirs), session.state)
            for cluster, session in zip(clusters, own, strict=True)
        ]
        states: dict[int, SessionState] = {}

        def replies() -> Iterator[tuple[SyncedSession, SessionState, Iterator[Item]]]:
            for number, reply in enumerate(self._theirs.exchange(requests, content=self._pull)):
                outcomes[number] = outcomes[number] or reply.error
                if outcomes[number]:
                    for _ in reply.items:
                        pass
                    continue
                states[number] = reply.state
                self._note(clusters[number], own[number].state, reply.state)
                yield own[number], reply.state, reply.items

        if self._pull:
            received = self._mine.receive(replies())
            for number, outcome in zip(states, received, strict=True):
                outcomes[number] = outcome
        else:
            for _, _, items in replies():
                for _ in items:
                    pass
        if self._push:
            wanted = [number for number in states if not outcomes[number]]
            pushed = self._theirs.push(
                (number, own[number].items(states[number])) for number in wanted
            )
            for number, outcome in zip(wanted, pushed, strict=True):
                outcomes[number] = outcome
        return self._settle(clusters, outcomes)

    def _settle(self, clusters: list[Cluster], outcomes: list[str]) -> bool:
        again = False
        for cluster, outcome in zip(clusters, outcomes, strict=True):
            if outcome == "changed":
                again = True
                reason = "it is being written to; synchronize again later"
                self.report.refused.append((cluster.session_id, reason))
            elif outcome:
                self.report.refused.append((cluster.session_id, outcome))
        return again

    def _note(self, cluster: Cluster, mine: SessionState, theirs: SessionState) -> None:
        """Add what happens to a session to the report."""
        change: SessionChange | None = session_change(cluster, mine, theirs)
        if change is not None and not (self._reports_pull and self._reports_push):
            change = _one_way(change, pull=self._reports_pull)
        if mine != theirs and change is not None:
            self._changes[change.session_id] = change


def _one_way(change: SessionChange, *, pull: bool) -> SessionChange | None:
    if pull:
        one = replace(change, sent=0, removed_there=0)
        return None if one.status.endswith("there") else one
    one = replace(change, received=0, removed_here=0)
    return None if one.status.endswith("here") else one


def session_change(cluster: Cluster, mine: SessionState, theirs: SessionState) -> SessionChange:
    """Return what merging two states of a session does to both sides."""
    merged = settle(merge(mine, theirs))
    here, there = exists(mine) and bool(cluster.mine), exists(theirs) and bool(cluster.theirs)
    after = exists(merged)
    status = "changed"
    if after and not (here and there):
        status = "new here" if there else "new there"
    elif not after and (here or there):
        status = "deleted here" if here else "deleted there"
    names = {entry.session_id for entry in cluster.entries if not entry.is_grave}
    renamed = sorted(names - {cluster.session_id})
    return SessionChange(
        cluster.session_id,
        received=len(lacking(merged, mine)),
        sent=len(lacking(merged, theirs)),
        removed_here=len(mine.messages.keys() - merged.messages.keys()),
        removed_there=len(theirs.messages.keys() - merged.messages.keys()),
        status=status,
        renamed_from=renamed[0] if renamed else "",
        restored=after and any(entry.is_grave for entry in cluster.entries),
    )


def _batches(clusters: list[Cluster]) -> Iterator[list[Cluster]]:
    batch: list[Cluster] = []
    count = 0
    for cluster in clusters:
        batch.append(cluster)
        count += sum(entry.messages for entry in cluster.entries)
        if len(batch) == BATCH_SESSIONS or count >= BATCH_MESSAGES:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch
