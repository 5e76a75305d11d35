"""Paths of a JSON-file store. File names of sessions are readable, portable, and found without a search.

Lower-case letters, digits, ``-``, ``_`` and ``.`` are used unchanged, ``+a`` means ``A``, ``%xx`` any other byte of the
UTF-8 form. So a name is ASCII, has no upper-case letters (ids that differ only in case are different files on every
disk) and can be decoded. Names that are reserved on some system are escaped too. A name that would be too long is
shortened and followed by ``~`` and a hash of the full id.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from omniagent_cli.stores.backend import HeaderRow

SUFFIX = ".jsonl"
MAX_BYTES = 200

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul"]
    + [f"{device}{number}" for device in ("com", "lpt") for number in range(10)]
)
"""Names of devices on Windows, with any extension:
https://learn.microsoft.com/windows/win32/fileio/naming-a-file
"""


def file_name(session_id: str) -> str:
    """Return the name of the file of a visible session."""
    data = session_id.encode("utf-8")
    stem = "".join(map(_escape, data))
    if stem[0] in ".-" or stem.partition(".")[0] in _RESERVED:
        stem = f"%{data[0]:02x}{stem[1:]}"
    if len(stem) + len(SUFFIX) > MAX_BYTES:
        stem = f"{stem[:120]}~{hashlib.sha256(data).hexdigest()[:40]}"
    return stem + SUFFIX


def _escape(byte: int) -> str:
    if byte in _PLAIN:
        return chr(byte)
    if 0x41 <= byte <= 0x5A:
        return f"+{chr(byte + 32)}"
    return f"%{byte:02x}"


class Layout:
    """Paths in a store's directory: sessions in it, everything else in ``.omniagent`` below it."""

    def __init__(self, root: Path) -> None:
        own = root / ".omniagent"
        self.root = root
        self.own = own
        self.hidden = own / "hidden"
        self.drafts = own / "tmp"
        self.torn = own / "torn"
        self.partial = own / "partial"
        self.cache = own / "cache"
        self.lock = own / "lock"
        self.journal = own / "journal.json"
        self.marker = own / "store.json"
        self.local = own / "local.json"
        self.ignore = root / ".gitignore"
        self.index = own / "index.json"

    def directories(self) -> tuple[Path, ...]:
        """Return every directory of the store, outer ones first."""
        return (
            self.root, self.own, self.hidden, self.drafts, self.torn, self.partial, self.cache
        )  # fmt: skip

    def name_of(self, header: HeaderRow) -> str:
        """Return the path of a session log, relative as in the journal and the index."""
        if header.hidden:
            return f".omniagent/hidden/{header.uid}{SUFFIX}"
        return file_name(header.id)

    def path_of(self, header: HeaderRow) -> Path:
        """Return the path of a session log."""
        return self.hidden_path(header.uid) if header.hidden else self.visible_path(header.id)

    def visible_path(self, session_id: str) -> Path:
        """Return the path of the log of a visible session."""
        return self.root / file_name(session_id)

    def hidden_path(self, uid: str) -> Path:
        """Return the path of the log of a hidden session (trash, staged import)."""
        return self.hidden / f"{uid}{SUFFIX}"

    def torn_path(self, uid: str) -> Path:
        """Return the path of the side file for incomplete writes of a session."""
        return self.torn / f"{uid}.torn"

    def partial_path(self, uid: str, position: int) -> Path:
        """Return the path of the growing answer of a running turn."""
        return self.partial / f"{uid}.{position}{SUFFIX}"

    def cache_path(self, path: Path) -> Path:
        """Return the path of the cache of a log's state."""
        return self.cache / f"{'=' if path.parent == self.hidden else ''}{path.name}.json"

    def relative(self, path: Path) -> str:
        """Return a path relative to the store, as in the journal and the index."""
        return path.relative_to(self.root).as_posix()
