"""Cache of the headers that a process saw last."""

from __future__ import annotations

from dataclasses import replace

from omniagent_cli.stores.backends.redis.rows import Seen


class HeaderCache:
    """A cache of headers as this process last saw them, so that an append need not read what the commit checks anyway."""

    __slots__ = ("_seen", "_uids")

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._uids: dict[str, str] = {}

    def uid(self, session_id: str) -> str | None:
        """Return the cached uid of an id."""
        return self._uids.get(session_id)

    def seen(self, uid: str) -> Seen | None:
        """Return a cached header without its payload."""
        return self._seen.get(uid)

    def keep(self, seen: Seen) -> None:
        """Cache a visible header, up to a thousand."""
        header = seen.header
        if header is None or header.hidden:
            return
        if len(self._seen) > 1000 or len(self._uids) > 1000:
            self.clear()
        self._seen[header.uid] = seen._replace(header=replace(header, payload=None))
        self._uids[header.id] = header.uid

    def forget(self, uid: str) -> None:
        """Remove a session from the cache."""
        self._seen.pop(uid, None)

    def clear(self) -> None:
        """Clear the cache."""
        self._seen.clear()
        self._uids.clear()
