"""What the backends can do that not all can: durability, atomic append, expiry, search."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store promises beyond the rules that hold for each.

    Attributes:
        durability: where an acknowledged write is, and what it survives.
        atomic_append: whether an append of any size is there whole or not at all.
        native_expiry: whether the technology itself removes what has expired; elsewhere `purge_expired` does.
        indexed_search: whether search asks an index; elsewhere it reads everything.
    """

    durability: str = "as its backend says"
    atomic_append: bool = True
    native_expiry: bool = False
    indexed_search: bool = False

    def facts(self) -> dict[str, object]:
        """Return them as `info` shows them."""
        return {
            "durability": self.durability,
            "atomic_append": self.atomic_append,
            "native_expiry": self.native_expiry,
            "indexed_search": self.indexed_search,
        }


CAPABILITIES = {
    "sqlite": Capabilities("on this disk: survives a crash of the machine", indexed_search=True),
    "file": Capabilities("on this disk: survives a crash of the machine"),
    "memory": Capabilities("in this process: survives nothing"),
    "redis": Capabilities("as its server is set: appendonly and appendfsync", native_expiry=True),
    "conversations": Capabilities("at OpenAI, its map on this disk", atomic_append=False),
    "postgres": Capabilities("on its server's disk: survives a crash of it", indexed_search=True),
}
"""By `SessionStore.backend`; the table in the README is compared with it."""

UNKNOWN = Capabilities()
"""Of a backend that says nothing of itself."""
