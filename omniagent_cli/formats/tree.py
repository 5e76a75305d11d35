"""Messages that name the one before them, as other tools keep edited questions and answers that were asked for again.

Such a file need not be in the order of the conversation, so a session's messages wait in a private nameless file
until its thread is known; only where they stand is held.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Self

from omniagent_cli.canonical import dump
from omniagent_cli.formats.exchange import Entry, Incoming, MessageEntry, Problem
from omniagent_cli.formats.foreign import Thread

_SPOOL_BYTES = 8 * 1024 * 1024


class Node(NamedTuple):
    """One message of a tree.

    Attributes:
        parent: the id of the one before it; None for the first. It need not be there.
        place: where it was read.
        offset: where its records are; below 0 when it says nothing itself and only joins others.
    """

    parent: str | None
    place: str
    offset: int
    length: int


class Tree:
    """The messages of one conversation, by id, in the order they were added. Close it when done."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._lost: set[str] = set()
        self._expected: dict[str, str] = {}
        self._file = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115  # see close
        self._end = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._nodes

    def close(self) -> None:
        """Forget all of it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(
        self,
        node_id: str,
        parent: str | None,
        place: str,
        records: list[dict[str, Any]],
        children: Iterable[str] = (),
    ) -> None:
        """Add a node with the message records it stands for, which may be none; the last of an id wins.

        Raises:
            InvalidRecord: the records are no JSON, or nested too deeply.
        """
        self._expected.pop(node_id, None)
        for child in children:
            if child in self._lost:
                self._nodes[child] = self._nodes[child]._replace(parent=node_id)
            elif child not in self._nodes:
                self._expected[child] = node_id
        if not records:
            self._nodes[node_id] = Node(parent, place, -1, 0)
            return
        data = dump(records)
        self._file.seek(self._end)
        self._file.write(data)
        self._nodes[node_id] = Node(parent, place, self._end, len(data))
        self._end += len(data)

    def replace(self, node_id: str, place: str, records: list[dict[str, Any]]) -> None:
        """Give a node other message records and leave it where it stands."""
        self.add(node_id, self._nodes[node_id].parent, place, records)

    def move(self, node_id: str, parent: str | None) -> None:
        """Let a node follow another one."""
        self._nodes[node_id] = self._nodes[node_id]._replace(parent=parent)

    def lose(self, node_id: str, place: str) -> None:
        """Note a node that could not be read; the one that names it as a child tells where it stood."""
        self._lost.add(node_id)
        self._nodes[node_id] = Node(self._expected.pop(node_id, None), place, -1, 0)

    def newest_leaf(self) -> str | None:
        """Return the node that was added last of those that no other names as the one before it.

        Where all are in circles there is none, and any will do; None only of a tree without nodes.
        """
        parents = {node.parent for node in self._nodes.values()}
        newest = next((key for key in reversed(self._nodes) if key not in parents), None)
        return newest if newest is not None else next(reversed(self._nodes), None)

    def leaves(self) -> list[str]:
        """Return the nodes that no other names as the one before it, in the order they were added."""
        parents = {node.parent for node in self._nodes.values()}
        return [key for key in self._nodes if key not in parents]

    def thread(self, leaf: str | None) -> list[str]:
        """Return the ids from the first node to this one; a circle is gone round once."""
        found: dict[str, None] = {}
        while leaf is not None and leaf in self._nodes and leaf not in found:
            found[leaf] = None
            leaf = self._nodes[leaf].parent
        return list(reversed(found))

    def says(self, node_id: str) -> bool:
        """Tell whether a node stands for a message."""
        return self._nodes[node_id].offset >= 0

    def entries(self, thread: list[str]) -> Iterator[MessageEntry]:
        """Yield the messages of these nodes, in this order."""
        for key in thread:
            node = self._nodes[key]
            if node.offset < 0:
                continue
            self._file.seek(node.offset)
            for record in json.loads(self._file.read(node.length)):
                yield MessageEntry(node.place, record)


def threads(
    tree: Tree,
    leaf: str | None,
    place: str,
    header: Callable[[str], dict[str, Any]],
    *,
    branches: bool,
    whole: Callable[[list[str]], list[str]] | None = None,
) -> Iterator[Incoming | Problem]:
    """Yield the thread that ends with a node as a session, then each other thread as one of its own.

    Another thread is told from the visible one by its first message that is in no thread before it: that message
    stays when either of them goes on.

    Args:
        tree: all of the conversation.
        leaf: the last node of the visible thread.
        place: where the conversation begins.
        header: makes the header; called with what tells a thread from the visible one, empty for that.
        branches: whether the others are wanted.
        whole: adds the nodes that belong to a thread and are not on the way to its root.
    """
    told: set[str] = set()
    for end in [leaf, *(tree.leaves() if branches else [])]:
        thread = tree.thread(end)
        thread = [key for key in (whole(thread) if whole else thread) if tree.says(key)]
        new = next((key for key in thread if key not in told), None)
        if new is None:
            continue
        yield _incoming(tree, thread, place, header, "" if end == leaf else _id_at(tree, new))
        if branches:
            told.update(thread)


def _id_at(tree: Tree, key: str) -> str:
    first = next(tree.entries([key])).record
    return first.get("id") or key


def _incoming(
    tree: Tree,
    thread: list[str],
    place: str,
    header: Callable[[str], dict[str, Any]],
    branch: str,
) -> Incoming:
    made = header(branch)

    def again() -> Iterator[Entry]:
        return Thread(made.get("created_at")).entries(tree.entries(thread))

    def beside(first: str) -> Incoming:
        return _incoming(tree, thread, place, header, first)

    branch_of = header("")["id"] if branch else ""
    return Incoming(place, made, again(), again=again, branch_of=branch_of, beside=beside)
