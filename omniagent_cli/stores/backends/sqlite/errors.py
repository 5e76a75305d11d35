"""Translation of SQLite errors into StoreError subclasses."""

from __future__ import annotations

import math
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from omniagent_cli.errors import (
    InvalidRecord,
    OmniAgentError,
    StoreCorrupt,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnreachable,
)


def translate_error(error: sqlite3.Error, path: str) -> OmniAgentError:
    """Return the error for a SQLite error."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    primary = code & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLocked(f"the store {path} is in use by another process; try again later")
    if primary == sqlite3.SQLITE_READONLY:
        return read_only_error(path)
    if primary == sqlite3.SQLITE_FULL or (primary == sqlite3.SQLITE_IOERR and _disk_is_full(path)):
        return StoreFull(
            f"the disk of {path} is full; nothing was changed. Free some space and try again"
        )
    if primary in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    ):  # `inspect` has identified the file before
        return StoreCorrupt(
            f"the store {path} is damaged ({error}); run: omniagent store check --repair"
        )
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreUnreachable(
            f"the store {path} cannot be opened ({error}); check the path and its permissions"
        )
    if primary == sqlite3.SQLITE_TOOBIG or isinstance(error, sqlite3.DataError):
        return InvalidRecord(f"the message is too large for SQLite ({error})")
    if primary == sqlite3.SQLITE_IOERR:
        return StoreUnreachable(
            f"disk error in the store {path} ({error}); copy the file to another disk"
        )
    message = f"SQLite failed on {path}: {error}"
    if "closed database" in str(error):  # see `SqliteStore.before_fork`
        message = (
            f"the process was forked during an operation on {path}; nothing was changed. Try again"
        )
    return StoreUnavailable(message)


def read_only_error(path: str) -> StoreReadOnly:
    """Return the error for a file that cannot be written, with the reason."""
    why = "; check the permissions of the file and its directory"
    with suppress(OSError):
        if (names := Path(path).stat().st_nlink) > 1:
            why = f", because it has {names} names (hard links); copy it, or remove the other names"
        elif os.name == "posix" and os.statvfs(path).f_flag & os.ST_RDONLY:
            why = ", because its disk is read-only"
    return StoreReadOnly(f"the store {path} cannot be written{why}")


def _disk_is_full(path: str) -> bool:
    import shutil

    try:
        if shutil.disk_usage(Path(path).parent).free < 1 << 20:
            return True
        largest = max(Path(path + side).stat().st_size for side in ("", "-wal"))
    except OSError:
        return False
    return largest + (1 << 16) > _file_size_limit()


def _file_size_limit() -> float:
    """Return the file size limit of the process; SQLite reports a write beyond it as a disk error (``ulimit -f``)."""
    try:
        import resource
    except ImportError:  # not on Windows
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit
