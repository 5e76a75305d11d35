"""Links of forks to the sessions they were copied from, and the trees that they form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from omniagent_cli.models import SessionSummary

FORKED_FROM = "forked_from"
"""Metadata of a fork: the id that the copied session had at that time."""

FORKED_AT = "forked_at"
"""Metadata of a fork: the position of the last message that was copied."""

FORKED_UID = "forked_uid"
"""Key of the origin of a fork: the uid of the copied session, which a rename does not change."""


@dataclass(slots=True, eq=False)
class Branch:
    """A session in a tree of forks.

    Attributes:
        id: its id; for a session that no longer exists, the id it had.
        summary: None for a session that no longer exists.
        at: the position that it was forked at; None for a root.
        forks: its forks, ordered by that position.
    """

    id: str
    summary: SessionSummary | None
    at: int | None = None
    forks: list[Branch] = field(default_factory=list)


def fork_trees(summaries: Iterable[SessionSummary]) -> list[Branch]:
    """Return the trees of the sessions that are forks or have forks, the most recently used first.

    A session that was deleted, but whose forks exist, is part of its tree.
    """
    branches = [Branch(one.id, one, _position(one)) for one in summaries]
    trees = _Forest(branches)
    for branch in branches:
        trees.link(branch)
    return trees.roots()


class _Forest:
    def __init__(self, branches: list[Branch]) -> None:
        self._branches = branches
        self._by_uid = {branch.summary.uid: branch for branch in branches if branch.summary}
        self._by_id = {branch.id: branch for branch in branches}
        self._deleted: dict[str, Branch] = {}
        self._parents: dict[int, Branch] = {}

    def link(self, branch: Branch) -> None:
        """Add a branch to the forks of the session it was copied from."""
        parent = self._origin(branch)
        if parent is None or branch in self._path(parent):  # metadata set by hand can form a ring
            branch.at = None
            return
        self._parents[id(branch)] = parent
        parent.forks.append(branch)

    def roots(self) -> list[Branch]:
        """Return the trees with at least one fork."""
        every = [*self._branches, *self._deleted.values()]
        newest = {id(branch): "" for branch in every}
        for branch in every:
            branch.forks.sort(key=lambda fork: (fork.at or 0, fork.id))
            used = branch.summary.updated_at.isoformat() if branch.summary else ""
            root = self._path(branch)[-1]
            newest[id(root)] = max(newest[id(root)], used)
        roots = [branch for branch in every if branch.forks and id(branch) not in self._parents]
        return sorted(roots, key=lambda root: newest[id(root)], reverse=True)

    def _path(self, branch: Branch) -> list[Branch]:
        """Return a branch and the sessions above it, the root last."""
        path = [branch]
        while (parent := self._parents.get(id(path[-1]))) is not None:
            path.append(parent)
        return path

    def _origin(self, branch: Branch) -> Branch | None:
        summary = branch.summary
        named = summary.metadata.get(FORKED_FROM) if summary else None
        if summary is None or not isinstance(named, str):
            return None
        uid = summary.origin.get(FORKED_UID)
        found = self._by_uid.get(uid) if isinstance(uid, str) else None
        # A copy of the session in another store has another uid, and the same id.
        found = found or self._by_id.get(named)
        return found or self._deleted.setdefault(named, Branch(named, None))


def _position(summary: SessionSummary) -> int | None:
    at = summary.metadata.get(FORKED_AT)
    return at if isinstance(at, int) and not isinstance(at, bool) else None
