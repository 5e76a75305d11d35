"""Check of a Redis store: sessions and index entries that do not match, and keys left alone by an eviction."""

from __future__ import annotations

from collections.abc import Iterator
from operator import methodcaller
from typing import Any
from uuid import uuid4

from omniagent_cli.errors import CorruptSession
from omniagent_cli.json_format import format_time
from omniagent_cli.stores.backend import HeaderRow, Problem
from omniagent_cli.stores.backends.redis.commit import ChangedError, Changes
from omniagent_cli.stores.backends.redis.connection import Connection
from omniagent_cli.stores.backends.redis.rows import (
    LOOKS,
    Seen,
    entry,
    kind_of,
    read_entry,
    read_seen,
)


class RedisCare:
    """The check of all keys of a store."""

    def __init__(self, connection: Connection, *, repair: bool) -> None:
        self._connection = connection
        self._keys = connection.keys
        self._repair = repair
        self._found: list[Problem] = []

    def problems(self) -> list[Problem]:
        """Return the problems, repaired if requested."""
        for uid, line in self._entries():
            self._check_listed(uid, line)
        for uid in self._unlisted():
            self._check_unlisted(uid)
        return self._found

    def _entries(self) -> Iterator[tuple[str, bytes]]:
        found: dict[bytes, bytes] = {}
        place = 0
        key = f"{self._keys.store}entries"
        while True:
            place, found = self._connection.ask(methodcaller("hscan", key, place, count=500))
            for uid, line in found.items():
                yield uid.decode(), line
            if place == 0:
                return

    def _unlisted(self) -> list[str]:
        """Return sessions that have keys and no index entry."""
        names = self._connection.ask(
            lambda c: list(c.scan_iter(match=self._keys.pattern(), count=1000))
        )
        uids = sorted({self._keys.uid_of(name) for name in names} - {"store"})
        missing = []
        for start in range(0, len(uids), 500):
            part = uids[start : start + 500]
            lines = self._connection.ask(methodcaller("hmget", f"{self._keys.store}entries", part))
            missing += [uid for uid, line in zip(part, lines, strict=True) if line is None]
        return missing

    def _look(self, uid: str) -> Seen:
        return read_seen(
            uid, self._connection.ask(lambda c: c.hmget(self._keys.header(uid), LOOKS))
        )

    def _check_listed(self, uid: str, line: bytes) -> None:
        listed = read_entry(uid, line)
        name = None if listed.hidden else listed.id
        try:
            seen = self._look(uid)
        except CorruptSession as error:
            self._found.append(Problem(str(error), name))
            return
        if seen.header is None:
            if listed.expires_at is None or listed.expires_at > format_time(self._connection.now()):
                self._report(listed, seen, "its header is missing on the server", name)
        elif entry(seen.header) != line or not self._is_in_lists(seen.header):
            self._report(seen.header, seen, "its index entries do not match its header", name)

    def _is_in_lists(self, header: HeaderRow) -> bool:
        base = self._keys.store
        tail = f"\x00{header.id}\x00{header.uid}"
        pinned = "1" if header.pinned else "0"
        wanted = {
            "updated": f"{pinned}{header.updated_at}{tail}",
            "created": f"{pinned}{header.created_at}{tail}",
            "messages": f"{pinned}{header.message_count:020d}{tail}",
            "id": f"{'0' if header.pinned else '1'}{tail[1:]}",
        }
        if header.expires_at:
            wanted["expires"] = f"{header.expires_at}{tail}"

        def look(client: Any) -> bool:
            pipeline = client.pipeline(transaction=False)
            for name, member in wanted.items():
                pipeline.zscore(f"{base}{kind_of(header)}:{name}", member)
            pipeline.hget(f"{base}ids", header.id)
            *scores, uid = pipeline.execute()
            return None not in scores and uid == header.uid.encode()

        return self._connection.ask(look)

    def _check_unlisted(self, uid: str) -> None:
        try:
            seen = self._look(uid)
        except CorruptSession as error:
            self._found.append(Problem(str(error)))
            return
        header = seen.header
        if header is None:
            if self._connection.ask(lambda c: c.pttl(self._keys.rows(uid))) > 0:
                return  # sent ahead of its header, which may still follow
            now = format_time(self._connection.now())
            header = HeaderRow(uid, f"found-{uid}", now, now)
            self._report(header, seen, "messages without a session", header.id)
            return
        holder = self._connection.ask(lambda c: c.hget(f"{self._keys.store}ids", header.id))
        if holder is not None and holder != uid.encode():
            header.id = f"found-{uid}"
        name = None if header.hidden else header.id
        self._report(header, seen, "it is missing from the index", name)

    def _report(self, header: HeaderRow, seen: Seen, what: str, name: str | None) -> None:
        """Report a problem and, for a repair, rewrite header and index entries; counts come from the messages."""
        uid = header.uid
        key = self._keys.rows(uid)
        count = self._connection.ask(lambda c: c.zcard(key))
        if seen.header is None and count == 0:
            what = f"{what}, and it has no messages"
        self._found.append(Problem(what, name, repaired=self._repair))
        if not self._repair:
            return
        if seen.header is None and count:
            ((_, last),) = self._connection.ask(lambda c: c.zrange(key, -1, -1, withscores=True))
            header.message_count, header.next_position = count, int(last) + 1
        elif seen.header is None:
            header.message_count, header.next_position = 0, header.message_count
        self._write(header, seen)

    def _write(self, header: HeaderRow, seen: Seen) -> None:
        changes = Changes(self._connection, uuid4().hex)
        holder = self._connection.ask(lambda c: c.hget(f"{self._keys.store}ids", header.id))
        changes.ids[header.id] = "" if holder is None else holder.decode()
        changes.guards[header.uid] = seen
        changes.put(header)
        try:
            changes.rewrite(self._connection.now())
        except ChangedError:
            self._found[-1] = Problem(
                f"{self._found[-1].what}; another program changed it during the check; check again",
                self._found[-1].session_id,
            )


def keep_copy(connection: Connection, name: str) -> str:
    """Copy all keys of a store to a longer prefix on the same server, and return how to open the copy."""
    start = len(connection.keys.prefix.encode())
    target = connection.keys.prefix.encode() + name.encode()

    def copy(client: Any) -> None:
        for key in client.scan_iter(match=connection.keys.pattern(), count=1000):
            client.copy(key, target + key[start:], replace=True)

    connection.open()
    connection.ask(copy)
    return f"{connection.url} with the prefix {target.decode()}"
