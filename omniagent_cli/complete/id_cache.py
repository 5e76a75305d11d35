"""The cached session ids of stores on servers, which are too slow for TAB; updated after commands that write, and after a time."""

from __future__ import annotations

from omniagent_cli.config.paths import directory
from omniagent_cli.errors import ConfigError, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from omniagent_cli.stores import SessionStore, StoreLocation

_SESSIONS = 500

_FRESH = 600.0
"""Seconds for which commands that only read do not read the list again."""


def read_ids(
    url: str, prefix: str, limit: int, environ: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return the cached (id, title) of sessions whose id starts with a prefix, newest first; empty without a cache."""
    found: list[tuple[str, str]] = []
    try:
        with open(_path(url, environ), encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123  # pathlib is slow to import
            for line in file:
                session_id, _, title = line.rstrip("\n").partition("\t")
                if session_id.startswith(prefix):
                    found.append((session_id, title))
                if len(found) >= limit:
                    break
    except OSError:
        return []
    return found


def cache_ids(store: SessionStore, location: StoreLocation, environ: Mapping[str, str]) -> None:
    """Cache the newest sessions of a store on a server in a private file, best effort.

    The list is a second reading, so a command that only read keeps a fresh one, unless it found the store encrypted. Titles of an encrypted store are left out,
    because the cache is plain text.
    """
    backend = location.backend
    if location.scheme == "memory" or (backend is not None and backend.reads_ids):
        return
    from pathlib import Path

    from omniagent_cli.private_files import write_private

    try:
        path = Path(_path(location.url, environ))
        if not (store.has_written or store.has_key or store.found_encrypted) and _is_fresh(path):
            return
        encrypted = store.encryption() is not None
        lines = [
            _line(one.id, "" if encrypted else one.title) for one in store.list(limit=_SESSIONS)
        ]
        write_private(path, "".join(lines).encode("utf-8", "surrogateescape"))
    except (StoreError, ConfigError):
        return


def _is_fresh(path: Path) -> bool:
    import time

    try:
        return abs(time.time() - path.stat().st_mtime) < _FRESH
    except OSError:
        return False


def forget_ids(url: str, environ: Mapping[str, str]) -> None:
    """Remove the cached ids and titles of a store that was encrypted."""
    import os

    try:
        os.unlink(_path(url, environ))  # noqa: PTH108  # pathlib is slow to import
    except (OSError, ConfigError):
        return


def _line(session_id: str, title: str) -> str:
    return f"{session_id}\t{' '.join(title[:400].split())}\n"


def _path(url: str, environ: Mapping[str, str]) -> str:
    from hashlib import sha256

    from omniagent_cli.masking import mask_url

    name = sha256(mask_url(url).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return f"{directory('cache', environ)}/ids-{name}"
