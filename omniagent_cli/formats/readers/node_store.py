"""Temporary storage of message nodes: in memory, or on disk when they are many."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple, Protocol

_CACHE_KIB = 8 * 1024
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE nodes (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, parent BLOB, place BLOB, data BLOB);
CREATE TABLE notes (kind TEXT, name BLOB, value BLOB, PRIMARY KEY (kind, name)) WITHOUT ROWID;
BEGIN;
"""


class Node(NamedTuple):
    """Node of a message tree.

    Attributes:
        parent: id of the parent, which may be missing; None for a root.
        location: position in the input.
        data: serialized records; None for a node that only connects others.
    """

    id: str
    parent: str | None
    location: str
    data: bytes | None


class NodeStore(Protocol):
    """Nodes by id and by number (from 1, in order of insertion), and notes by kind and name."""

    def number(self, node_id: str) -> int:
        """Return the number of a node, or 0 if it is unknown."""

    def node(self, number: int) -> Node:
        """Return the node with a number."""

    def put(self, node: Node) -> None:
        """Add a node, or replace the one with its id."""

    def leaves(self) -> Iterator[str]:
        """Yield the ids of the nodes that are not a parent, in order."""

    def get_note(self, kind: str, name: str) -> str:
        """Return a note, or an empty string."""

    def set_note(self, kind: str, name: str, value: str) -> None:
        """Set a note."""

    def drop_notes(self, kind: str) -> None:
        """Delete all notes of a kind."""

    def close(self) -> None:
        """Release all nodes."""


class MemoryNodeStore:
    """Node store in memory."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._nodes: list[Node] = []
        self._notes: dict[str, dict[str, str]] = {}
        self.size = 0
        """The approximate memory of the nodes, in bytes."""

    def number(self, node_id: str) -> int:
        return self._numbers.get(node_id, 0)

    def node(self, number: int) -> Node:
        return self._nodes[number - 1]

    def put(self, node: Node) -> None:
        self.size += 300 + len(node.data or b"")
        number = self._numbers.setdefault(node.id, len(self._nodes) + 1)
        if number > len(self._nodes):
            self._nodes.append(node)
        else:
            self._nodes[number - 1] = node

    def leaves(self) -> Iterator[str]:
        parents = {node.parent for node in self._nodes}
        yield from (node.id for node in self._nodes if node.id not in parents)

    def get_note(self, kind: str, name: str) -> str:
        return self._notes.get(kind, {}).get(name, "")

    def set_note(self, kind: str, name: str, value: str) -> None:
        self.size += 250 + len(name) + len(value)
        self._notes.setdefault(kind, {})[name] = value

    def drop_notes(self, kind: str) -> None:
        self._notes.pop(kind, None)

    def move_to_disk(self) -> DiskNodeStore:
        """Move all nodes and notes to disk."""
        disk = DiskNodeStore()
        for node in self._nodes:
            disk.put(node)
        for kind, notes in self._notes.items():
            for name, value in notes.items():
                disk.set_note(kind, name, value)
        self.close()
        return disk

    def close(self) -> None:
        self._numbers.clear()
        self._nodes.clear()
        self._notes.clear()


class DiskNodeStore:
    """Node store on disk, in a private unnamed database."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(f"PRAGMA cache_size = -{_CACHE_KIB};{_SCHEMA}")

    def number(self, node_id: str) -> int:
        query = "SELECT number FROM nodes WHERE id = ?"
        row = self._db.execute(query, (_blob(node_id),)).fetchone()
        return row[0] if row else 0

    def node(self, number: int) -> Node:
        query = "SELECT id, parent, place, data FROM nodes WHERE number = ?"
        node_id, parent, location, data = self._db.execute(query, (number,)).fetchone()
        return Node(
            _text(node_id), None if parent is None else _text(parent), _text(location), data
        )

    def put(self, node: Node) -> None:
        parent = None if node.parent is None else _blob(node.parent)
        self._db.execute(
            "INSERT INTO nodes (id, parent, place, data) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET parent = excluded.parent, place = excluded.place, data = excluded.data",
            (_blob(node.id), parent, _blob(node.location), node.data),
        )

    def leaves(self) -> Iterator[str]:
        query = (
            "SELECT id FROM nodes WHERE id IN (SELECT id FROM nodes EXCEPT SELECT parent FROM nodes)"
            " ORDER BY number"
        )
        for (node_id,) in self._db.execute(query):
            yield _text(node_id)

    def get_note(self, kind: str, name: str) -> str:
        query = "SELECT value FROM notes WHERE kind = ? AND name = ?"
        row = self._db.execute(query, (kind, _blob(name))).fetchone()
        return _text(row[0]) if row else ""

    def set_note(self, kind: str, name: str, value: str) -> None:
        change = "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)"
        self._db.execute(change, (kind, _blob(name), _blob(value)))

    def drop_notes(self, kind: str) -> None:
        self._db.execute("DELETE FROM notes WHERE kind = ?", (kind,))

    def close(self) -> None:
        self._db.close()


def _blob(text: str) -> bytes:
    # A hostile id may contain a lone surrogate, which SQLite rejects as text.
    return text.encode("utf-8", "surrogatepass")


def _text(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogatepass")
