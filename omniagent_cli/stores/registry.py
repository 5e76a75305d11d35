"""The table of backends: URL schemes, class, driver extra and capabilities, one row each.

Plain classes, because completion reads this table and may not wait for `dataclasses` or `typing`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

ENTRY_POINTS = "omniagent.stores"
"""Entry-point group through which other packages add backends: name = scheme, value = ``module:Class``."""

_PACKAGE = "omniagent_cli.stores.backends"


class Capabilities:
    """Guarantees of a store beyond the rules that hold for every backend.

    Attributes:
        durability: where an acknowledged write is, and what it survives.
        atomic_append: an append of any size is stored completely or not at all.
        native_expiry: the database itself removes expired sessions; elsewhere `purge_expired` does.
        indexed_search: search uses an index; elsewhere it reads every message.
    """

    __slots__ = ("atomic_append", "durability", "indexed_search", "native_expiry")

    def __init__(
        self,
        durability: str = "as its backend says",
        *,
        atomic_append: bool = True,
        native_expiry: bool = False,
        indexed_search: bool = False,
    ) -> None:
        self.durability = durability
        self.atomic_append = atomic_append
        self.native_expiry = native_expiry
        self.indexed_search = indexed_search

    def facts(self) -> dict[str, object]:
        """Return the capabilities as `SessionStore.info` reports them."""
        return {
            "durability": self.durability,
            "atomic_append": self.atomic_append,
            "native_expiry": self.native_expiry,
            "indexed_search": self.indexed_search,
        }

    def without_index(self) -> Capabilities:
        """Return the same capabilities without indexed search, as an encrypted store has them."""
        return Capabilities(
            self.durability,
            atomic_append=self.atomic_append,
            native_expiry=self.native_expiry,
        )


class Backend:
    """One row of the table.

    Attributes:
        name: `SessionStore.backend` of its class.
        schemes: URL schemes that select it.
        store_class: ``module:Class`` of the store.
        capabilities: its guarantees.
        extra: extra of omniagent-cli that installs its driver, or None.
        is_local: the URL names a file or a directory.
        side_files: suffixes of the files a database keeps beside its own.
        reads_ids: its package has a module ``ids``, which lists session ids without opening the store.
    """

    __slots__ = (
        "capabilities",
        "extra",
        "is_local",
        "name",
        "reads_ids",
        "schemes",
        "side_files",
        "store_class",
    )

    def __init__(
        self,
        name: str,
        schemes: tuple[str, ...],
        store_class: str,
        capabilities: Capabilities,
        *,
        extra: str | None = None,
        is_local: bool = False,
        side_files: tuple[str, ...] = (),
        reads_ids: bool = False,
    ) -> None:
        self.name = name
        self.schemes = schemes
        self.store_class = f"{_PACKAGE}.{store_class}"
        self.capabilities = capabilities
        self.extra = extra
        self.is_local = is_local
        self.side_files = side_files
        self.reads_ids = reads_ids

    def ids_module(self) -> ModuleType | None:
        """Return the module that lists session ids without opening the store, or None if there is none.

        Its functions: ``session_ids(path, prefix, group, limit)``, ``values(path, session_id, section)`` and
        ``tags(path)``. A group is ``""`` (active), ``archived``, ``pinned`` or ``trashed``.
        """
        if not self.reads_ids:
            return None
        import sys

        name = f"{self.store_class.partition(':')[0].removesuffix('.store')}.ids"
        __import__(name)  # import_module imports warnings first, for which completion may not wait
        return sys.modules[name]


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(
            "sqlite",
            ("sqlite",),
            "sqlite.store:SqliteStore",
            Capabilities("on this disk: survives a crash of the machine", indexed_search=True),
            is_local=True,
            side_files=("-wal", "-shm"),
            reads_ids=True,
        ),
        Backend(
            "file",
            ("file",),
            "jsonl.store:JsonlFilesStore",
            Capabilities("on this disk: survives a crash of the machine"),
            is_local=True,
            reads_ids=True,
        ),
        Backend(
            "memory",
            ("memory",),
            "memory:MemoryStore",
            Capabilities("in this process: lost when the process ends"),
        ),
        Backend(
            "redis",
            (
                "redis",
                "rediss",
                "valkey",
                "valkeys",
                "redis+sentinel",
                "rediss+sentinel",
                "valkey+sentinel",
                "valkeys+sentinel",
                "unix",
                "redis+unix",
                "redis+socket",
            ),
            "redis.store:RedisStore",
            Capabilities("as its server is set: appendonly and appendfsync", native_expiry=True),
            extra="redis",
        ),
        Backend(
            "postgres",
            ("postgresql", "postgres"),
            "postgres.store:PostgresStore",
            Capabilities("on its server's disk: survives a crash of it", indexed_search=True),
            extra="postgres",
        ),
        Backend(
            "conversations",
            ("openai-conversations",),
            "conversations.store:ConversationsStore",
            Capabilities("at OpenAI, its map on this disk", atomic_append=False),
            reads_ids=True,
        ),
    )
}
"""Backend name -> row."""


def backend_of(scheme: str) -> Backend | None:
    """Return the backend that a URL scheme selects, or None."""
    return next((row for row in BACKENDS.values() if scheme in row.schemes), None)
