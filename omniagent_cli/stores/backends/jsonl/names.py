"""Where things are. File names of sessions: readable for plain ids, the same on every kind of disk, and found without searching.

Small letters, digits, ``-``, ``_`` and ``.`` stand for themselves, ``+a`` for ``A``, ``%xx`` for any other byte
of the UTF-8 form. So a name is ASCII, holds no capital letters (two ids that differ only in case are two files
on a disk that ignores case) and can be read back. What a name may not begin with, or be, on some system is
escaped too. A name that would be too long is cut, and ``~`` and a hash of the whole id follow.
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
"""Names that are devices on Windows, with any ending:
https://learn.microsoft.com/windows/win32/fileio/naming-a-file"""


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
    """Where things are in a store's directory: sessions in it, all else in ``.omniagent`` below it."""

    def __init__(self, root: Path) -> None:
        own = root / ".omniagent"
        self.root = root
        self.own = own
        self.hidden = own / "hidden"
        self.drafts = own / "tmp"
        self.torn = own / "torn"
        self.lock = own / "lock"
        self.journal = own / "journal.json"
        self.marker = own / "store.json"
        self.index = own / "index.json"

    def directories(self) -> tuple[Path, ...]:
        """Return every directory of the store, outer ones first."""
        return self.root, self.own, self.hidden, self.drafts, self.torn

    def name_of(self, header: HeaderRow) -> str:
        """Return where the log of a session belongs, as the journal and the index write it."""
        if header.hidden:
            return f".omniagent/hidden/{header.uid}{SUFFIX}"
        return file_name(header.id)

    def path_of(self, header: HeaderRow) -> Path:
        """Return where the log of a session belongs."""
        return self.hidden_path(header.uid) if header.hidden else self.visible_path(header.id)

    def visible_path(self, session_id: str) -> Path:
        """Return where the log of a visible session belongs."""
        return self.root / file_name(session_id)

    def hidden_path(self, uid: str) -> Path:
        """Return where the log of a hidden session (trash, staged import) belongs."""
        return self.hidden / f"{uid}{SUFFIX}"

    def torn_path(self, uid: str) -> Path:
        """Return where unfinished writes of a session are put."""
        return self.torn / f"{uid}.torn"

    def relative(self, path: Path) -> str:
        """Return a path as the journal and the index write it."""
        return path.relative_to(self.root).as_posix()
