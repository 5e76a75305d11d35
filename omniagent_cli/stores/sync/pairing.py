"""Pairing: which sessions and deletions of two stores are one session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from omniagent_cli.stores.sync.index import Entry


@dataclass(slots=True)
class Cluster:
    """The entries of two stores that are one session."""

    mine: list[Entry] = field(default_factory=list)
    theirs: list[Entry] = field(default_factory=list)

    @property
    def entries(self) -> list[Entry]:
        """The entries of both stores."""
        return self.mine + self.theirs

    @property
    def session_id(self) -> str:
        """The id of the session after the synchronization: the last one that it was given."""
        return max((entry.named, entry.session_id) for entry in self.entries)[1]

    @property
    def is_equal(self) -> bool:
        """True if both stores have it in the same state."""
        return (
            len(self.mine) == len(self.theirs) == 1
            and self.mine[0].digest == self.theirs[0].digest != ""
        )

    def add(self, other: Cluster) -> None:
        """Add the entries of another cluster."""
        self.mine += other.mine
        self.theirs += other.theirs


def pair(mine: Iterable[Entry], theirs: Iterable[Entry]) -> list[Cluster]:
    """Return the clusters of two lists of entries that are not equal, by session id.

    Entries that share a uid are one session, so a renamed one is found; then those with the same id are.
    """
    found: dict[str, Cluster] = {}
    for entries, own in ((mine, True), (theirs, False)):
        for entry in entries:
            cluster = Cluster([entry], []) if own else Cluster([], [entry])
            for other in {
                id(found[uid]): found[uid] for uid in entry.uids if uid in found
            }.values():
                cluster.add(other)
            for member in cluster.entries:
                found |= dict.fromkeys(member.uids, cluster)
    named: dict[str, Cluster] = {}
    for cluster in {id(one): one for one in found.values()}.values():
        known = named.setdefault(cluster.session_id, cluster)
        if known is not cluster:
            known.add(cluster)
    return [named[name] for name in sorted(named) if not named[name].is_equal]
