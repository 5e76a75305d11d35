"""Message trees of other tools: messages that name their parent, with edited and regenerated branches.

Messages need not be in order, and one conversation may fill the file, so they are stored until the threads are known,
on disk beyond a memory limit.
"""

from __future__ import annotations

import json
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from omniagent_cli.formats.readers.message_sequence import MessageSequence
from omniagent_cli.formats.readers.node_store import MemoryNodeStore, Node, NodeStore
from omniagent_cli.formats.readers.records import LEFT_OUT_KEY
from omniagent_cli.formats.types import (
    Entry,
    IncomingSession,
    MessageEntry,
    Omission,
    ReaderItem,
)
from omniagent_cli.json_format import dump

_MAX_EXPECTED = 100_000
_MAX_MEMORY_BYTES = 16 * 1024 * 1024

Numbers = Iterable[int]
"""Messages of a thread, by order of insertion."""


class MessageTree:
    """Messages of one conversation by id, in order of insertion. Close after use.

    A node without records only connects others; its parent may be missing.
    """

    def __init__(self) -> None:
        self._memory: MemoryNodeStore | None = MemoryNodeStore()
        self._nodes: NodeStore = self._memory
        self._unreadable: set[str] = set()
        self._expected: dict[str, str] = {}
        self._count = 0
        self._newest: str | None = None
        self._newest_message: str | None = None

    def __len__(self) -> int:
        """Return the number of insertions, including replacements."""
        return self._count

    def __contains__(self, node_id: object) -> bool:
        return isinstance(node_id, str) and self._nodes.number(node_id) > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release all nodes."""
        self._nodes.close()

    def add(
        self,
        node_id: str,
        parent: str | None,
        location: str,
        records: list[dict[str, Any]],
        children: Iterable[str] = (),
    ) -> None:
        """Add a node with its message records, possibly none; the last node of an id wins.

        Raises:
            InvalidRecord: the records are not valid JSON, or nested too deeply.
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
        if any(LEFT_OUT_KEY not in record for record in records):
            self._newest_message = node_id

    def _put(self, node: Node) -> None:
        self._count += 1
        self._nodes.put(node)
        self._spill_if_large()

    def _spill_if_large(self) -> None:
        if self._memory is not None and self._memory.size > _MAX_MEMORY_BYTES:
            self._nodes, self._memory = self._memory.move_to_disk(), None

    def replace(self, node_id: str, location: str, records: list[dict[str, Any]]) -> None:
        """Replace the message records of a node; its parent stays."""
        node = self._nodes.node(self.number_of(node_id))
        self._put(node._replace(location=location, data=dump(records) if records else None))

    def move(self, node_id: str, parent: str | None) -> None:
        """Change the parent of a node."""
        self._put(self._nodes.node(self.number_of(node_id))._replace(parent=parent))

    def add_unreadable(self, node_id: str, location: str) -> None:
        """Add an unreadable node; its parent is the node that lists it as a child."""
        self._unreadable.add(node_id)
        self._put(Node(node_id, self._expected.pop(node_id, None), location, None))

    def newest_leaf(self) -> str | None:
        """Return the last added node with messages, else the last added one that is not a parent.

        A later node without messages may belong to an earlier branch. If all nodes are in cycles, return the last added
        one; None only for an empty tree.
        """
        if self._newest_message is not None:
            return self._newest_message
        leaf_ids = deque(self._nodes.leaves(), maxlen=1)
        return leaf_ids[0] if leaf_ids else self._newest

    def leaves(self) -> Iterator[str]:
        """Yield the nodes that are not a parent, in order of insertion."""
        return self._nodes.leaves()

    def number_of(self, node_id: str) -> int:
        """Return the number of a node, or 0 if it is unknown."""
        return self._nodes.number(node_id)

    def thread(self, leaf: str | None) -> array[int]:
        """Return the nodes with records from the root to a leaf; a cycle is followed once."""
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

    def entries(self, thread: Numbers) -> Iterator[MessageEntry | Omission]:
        """Yield the messages and omissions of these nodes, in this order."""
        for number in thread:
            node = self._nodes.node(number)
            for record in json.loads(node.data or b"[]"):
                kind = record.get(LEFT_OUT_KEY)
                yield Omission(kind) if kind else MessageEntry(node.location, record)

    def messages(self, thread: Numbers) -> Iterator[MessageEntry]:
        """Yield the messages of these nodes, in this order."""
        return (entry for entry in self.entries(thread) if isinstance(entry, MessageEntry))

    def get_note(self, kind: str, name: str) -> str:
        """Return a note, or an empty string."""
        return self._nodes.get_note(kind, name)

    def set_note(self, kind: str, name: str, value: str) -> None:
        """Set a note about the conversation."""
        self._nodes.set_note(kind, name, value)
        self._spill_if_large()

    def drop_notes(self, kind: str) -> None:
        """Delete all notes of a kind."""
        self._nodes.drop_notes(kind)


def session_threads(
    tree: MessageTree,
    leaf: str | None,
    location: str,
    header: Callable[[str], dict[str, Any]],
    *,
    branches: bool,
    complete: Callable[[array[int]], array[int]] | None = None,
) -> Iterator[ReaderItem]:
    """Yield the thread that ends at a leaf as a session, then each other thread as its own session.

    Another thread is identified by its first message that no earlier thread contains; this message stays the same when
    either thread is continued.

    Args:
        tree: the complete conversation.
        leaf: last node of the visible thread.
        location: start of the conversation in the input.
        header: returns the header for a branch id, which is empty for the visible thread.
        branches: also yield the other threads.
        complete: adds nodes that belong to a thread but are not on the path to its root.
    """
    yielded = bytearray(len(tree) + 1)
    for end in _leaf_ids(tree, leaf, branches=branches):
        thread = tree.thread(end)
        thread = complete(thread) if complete else thread
        first_new = next((number for number in thread if not yielded[number]), None)
        if first_new is None:
            if end == leaf is not None:
                yield Omission("empty conversation")
            continue
        branch = "" if end == leaf else _first_id(tree, first_new)
        for number in thread:
            yielded[number] = 1
        others = 0 if branches else _count_branches(tree, yielded)
        yield _to_session(tree, thread, location, header, branch, others)


def _leaf_ids(tree: MessageTree, leaf: str | None, *, branches: bool) -> Iterator[str | None]:
    yield leaf
    if branches:
        yield from tree.leaves()


def _count_branches(tree: MessageTree, yielded: bytearray) -> int:
    """Return the number of leaves with messages that no thread contains."""
    numbers = (tree.number_of(leaf) for leaf in tree.leaves())
    return sum(1 for number in numbers if not yielded[number] and any(tree.messages([number])))


def _first_id(tree: MessageTree, number: int) -> str:
    first = next(tree.messages([number]), None)
    return (first and first.record.get("id")) or tree.id_of(number)


def _to_session(
    tree: MessageTree,
    thread: array[int],
    location: str,
    header: Callable[[str], dict[str, Any]],
    branch: str,
    omitted_branches: int,
) -> IncomingSession:
    session_fields = header(branch)

    def reread() -> Iterator[Entry]:
        yield from MessageSequence(session_fields.get("created_at")).entries(tree.entries(thread))
        if omitted_branches:
            yield Omission("branch", omitted_branches)

    def as_branch(first: str) -> IncomingSession:
        return _to_session(tree, thread, location, header, first, omitted_branches)

    branch_of = header("")["id"] if branch else ""
    return IncomingSession(
        location, session_fields, reread(), reread=reread, branch_of=branch_of, as_branch=as_branch
    )
