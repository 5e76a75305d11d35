"""Messages that name the one before them, as other tools keep edited questions and answers that were asked for again.

Such a file need not be in the order of the conversation, and one conversation may be all of it. So its messages wait
until its thread is known, and however many there are, little of them is held in memory.
"""

from __future__ import annotations

import json
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from omniagent_cli.formats.readers.message_sequence import MessageSequence
from omniagent_cli.formats.readers.node_store import MemoryNodeStore, Node, NodeStore
from omniagent_cli.formats.types import Entry, IncomingSession, MessageEntry, Problem
from omniagent_cli.json_format import dump

_MAX_EXPECTED = 100_000
_MAX_NEAR_BYTES = 16 * 1024 * 1024

Numbers = Iterable[int]
"""The messages of a thread, by the order in which they were added to their tree."""


class MessageTree:
    """The messages of one conversation, by id, in the order they were added. Close it when done.

    A node that says nothing itself only joins others; what it names as the one before it need not be there.
    """

    def __init__(self) -> None:
        self._memory: MemoryNodeStore | None = MemoryNodeStore()
        self._nodes: NodeStore = self._memory
        self._unreadable: set[str] = set()
        self._expected: dict[str, str] = {}
        self._count = 0
        self._newest: str | None = None

    def __len__(self) -> int:
        """How many nodes were added, replaced ones too."""
        return self._count

    def __contains__(self, node_id: object) -> bool:
        return isinstance(node_id, str) and self._nodes.number(node_id) > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget all of it."""
        self._nodes.close()

    def add(
        self,
        node_id: str,
        parent: str | None,
        location: str,
        records: list[dict[str, Any]],
        children: Iterable[str] = (),
    ) -> None:
        """Add a node with the message records it stands for, which may be none; the last of an id wins.

        Raises:
            InvalidRecord: the records are no JSON, or nested too deeply.
        """
        data = dump(records) if records else None
        self._expected.pop(node_id, None)
        for child in children:
            if child in self._unreadable:
                self.move(child, node_id)
            elif len(self._expected) < _MAX_EXPECTED:
                self._expected[child] = node_id
        self._put(Node(node_id, parent, location, data))
        self._newest = node_id

    def _put(self, node: Node) -> None:
        self._count += 1
        self._nodes.put(node)
        self._spill_if_large()

    def _spill_if_large(self) -> None:
        if self._memory is not None and self._memory.size > _MAX_NEAR_BYTES:
            self._nodes, self._memory = self._memory.move_to_disk(), None

    def replace(self, node_id: str, location: str, records: list[dict[str, Any]]) -> None:
        """Give a node other message records and leave it where it stands."""
        node = self._nodes.node(self.number_of(node_id))
        self._put(node._replace(location=location, data=dump(records) if records else None))

    def move(self, node_id: str, parent: str | None) -> None:
        """Let a node follow another one."""
        self._put(self._nodes.node(self.number_of(node_id))._replace(parent=parent))

    def add_unreadable(self, node_id: str, location: str) -> None:
        """Note a node that could not be read; the one that names it as a child tells where it stood."""
        self._unreadable.add(node_id)
        self._put(Node(node_id, self._expected.pop(node_id, None), location, None))

    def newest_leaf(self) -> str | None:
        """Return the node that was added last of those that no other names as the one before it.

        Where all are in circles there is none, and any will do; None only of a tree without nodes.
        """
        numbers = deque(self._nodes.leaves(), maxlen=1)
        return numbers[0] if numbers else self._newest

    def leaves(self) -> Iterator[str]:
        """Yield the nodes that no other names as the one before it, in the order they were added."""
        return self._nodes.leaves()

    def number_of(self, node_id: str) -> int:
        """Return the number of a node that is there and 0 of any other."""
        return self._nodes.number(node_id)

    def thread(self, leaf: str | None) -> array[int]:
        """Return what is said from the first node to this one; a circle is gone round once."""
        numbers, visited = array("q"), bytearray(self._count + 1)
        current = leaf
        while (
            current is not None and (number := self._nodes.number(current)) and not visited[number]
        ):
            visited[number] = 1
            node = self._nodes.node(number)
            current = node.parent
            if node.data is not None:
                numbers.append(number)
        numbers.reverse()
        return numbers

    def id_of(self, number: int) -> str:
        """Return the id of a node."""
        return self._nodes.node(number).id

    def entries(self, thread: Numbers) -> Iterator[MessageEntry]:
        """Yield the messages of these nodes, in this order."""
        for number in thread:
            node = self._nodes.node(number)
            for record in json.loads(node.data or b"[]"):
                yield MessageEntry(node.location, record)

    def get_note(self, kind: str, name: str) -> str:
        """Return what was noted under a name; empty when nothing was."""
        return self._nodes.get_note(kind, name)

    def set_note(self, kind: str, name: str, value: str) -> None:
        """Note something about the conversation under a name, in the place of what was noted there."""
        self._nodes.set_note(kind, name, value)
        self._spill_if_large()

    def drop_notes(self, kind: str) -> None:
        """Forget all notes of a kind."""
        self._nodes.drop_notes(kind)


def session_threads(
    tree: MessageTree,
    leaf: str | None,
    location: str,
    header: Callable[[str], dict[str, Any]],
    *,
    branches: bool,
    complete: Callable[[array[int]], array[int]] | None = None,
) -> Iterator[IncomingSession | Problem]:
    """Yield the thread that ends with a node as a session, then each other thread as one of its own.

    Another thread is told from the visible one by its first message that is in no thread before it: that message
    stays when either of them goes on.

    Args:
        tree: all of the conversation.
        leaf: the last node of the visible thread.
        location: where the conversation begins.
        header: makes the header; called with what tells a thread from the visible one, empty for that.
        branches: whether the others are wanted.
        complete: adds the nodes that belong to a thread and are not on the way to its root.
    """
    yielded = bytearray(len(tree) + 1)
    for end in _leaf_ids(tree, leaf, branches=branches):
        thread = tree.thread(end)
        thread = complete(thread) if complete else thread
        first_new = next((number for number in thread if not yielded[number]), None)
        if first_new is None:
            continue
        yield _to_session(
            tree, thread, location, header, "" if end == leaf else _first_id(tree, first_new)
        )
        for number in thread:
            yielded[number] = 1


def _leaf_ids(tree: MessageTree, leaf: str | None, *, branches: bool) -> Iterator[str | None]:
    yield leaf
    if branches:
        yield from tree.leaves()


def _first_id(tree: MessageTree, number: int) -> str:
    first = next(tree.entries([number])).record
    return first.get("id") or tree.id_of(number)


def _to_session(
    tree: MessageTree,
    thread: array[int],
    location: str,
    header: Callable[[str], dict[str, Any]],
    branch: str,
) -> IncomingSession:
    session_fields = header(branch)

    def reread() -> Iterator[Entry]:
        return MessageSequence(session_fields.get("created_at")).entries(tree.entries(thread))

    def as_branch(first: str) -> IncomingSession:
        return _to_session(tree, thread, location, header, first)

    branch_of = header("")["id"] if branch else ""
    return IncomingSession(
        location, session_fields, reread(), reread=reread, branch_of=branch_of, as_branch=as_branch
    )
