"""The session index of a Redis store: listing and counting by sorted sets, one page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from omniagent_cli.json_format import format_time
from omniagent_cli.stores.backend import HeaderRow, ListQuery
from omniagent_cli.stores.backends.redis.connection import Connection
from omniagent_cli.stores.backends.redis.rows import (
    ABSENT,
    LOOKS,
    Seen,
    member_uid,
    read_entry,
    read_seen,
)
from omniagent_cli.stores.backends.redis.scripts import PAGE

PAGE_SIZE = 500
"""Headers per response."""

Bounds = tuple[bytes, bytes]
"""Range of ZRANGEBYLEX."""


class SessionIndex:
    """The index of one store.

    Args:
        connection: the connection.
        now: returns the time that decides about expiry.
        heard: receives the encryption manifest that comes with a page.
    """

    def __init__(
        self, connection: Connection, now: Callable[[], datetime], heard: Callable[[bytes], None]
    ) -> None:
        self._connection = connection
        self._now = now
        self._heard = heard

    def headers(self, query: ListQuery) -> list[Seen]:
        """Return at least the headers that match a query, in any order."""
        found: list[Seen] = []
        for kind in _kinds(query):
            number = 0
            for seen in self._walk(kind, query):
                if seen.header is None or not query.accepts(seen.header):
                    continue
                if query.expired_by is None and self._is_gone(seen):
                    continue
                found.append(seen)
                number += 1
                if number >= query.limit:
                    break
        return found

    def _is_gone(self, seen: Seen) -> bool:
        """Return True if the server removed a session because it expired; only a purge lists those."""
        expires_at = seen.header.expires_at if seen.header is not None and not seen.etag else None
        return expires_at is not None and expires_at <= format_time(self._now())

    def _walk(self, kind: str, query: ListQuery) -> Iterator[Seen]:
        name, descending, spans = _plan(kind, query)
        for span in spans:
            low, high = span
            size = min(query.limit, PAGE_SIZE)
            while True:
                page = self._page(name, low, high, size, descending=descending)
                for member, found in page:
                    seen = _fitting(query, member, found)
                    yield seen
                if len(page) < size:
                    break
                low, high = _go_on(low, high, page[-1][0], descending=descending)
                size = PAGE_SIZE

    def _page(
        self, name: str, low: bytes, high: bytes, size: int, *, descending: bool
    ) -> list[tuple[bytes, Seen]]:
        command = "ZREVRANGEBYLEX" if descending else "ZRANGEBYLEX"
        ends = (high, low) if descending else (low, high)
        keys = self._connection.keys
        if self._connection.cluster:
            members = self._range(name, low, high, size, descending=descending)
            found = self._look(members)
        else:
            answer = self._connection.run_again(
                PAGE, [keys.store], keys.prefix, name, command, *ends, size
            )
            self._heard(answer[0])
            members, found = [pair[0] for pair in answer[1:]], [pair[1] for pair in answer[1:]]
        seen = [read_seen(member_uid(m), f) for m, f in zip(members, found, strict=True)]
        self._fill(members, seen)
        return list(zip(members, seen, strict=True))

    def _range(
        self, name: str, low: bytes, high: bytes, size: int, *, descending: bool
    ) -> list[bytes]:
        key = f"{self._connection.keys.store}{name}"
        members: list[bytes] = self._connection.ask(
            lambda client: (
                client.zrevrangebylex(key, high, low, 0, size)
                if descending
                else client.zrangebylex(key, low, high, 0, size)
            )
        )
        return members

    def _look(self, members: Sequence[bytes]) -> list[Any]:
        """Read headers from all nodes of a cluster."""

        def look(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for member in members:
                pipeline.hmget(self._connection.keys.header(member_uid(member)), LOOKS)
            answers: list[Any] = pipeline.execute()
            return answers

        return self._connection.ask(look) if members else []

    def _fill(self, members: Sequence[bytes], seen: list[Seen]) -> None:
        """Replace missing headers by what the index knows."""
        gaps = [number for number, one in enumerate(seen) if one.header is None]
        if gaps:
            uids = [member_uid(members[number]) for number in gaps]
            for number, header in zip(gaps, self._entries(uids), strict=True):
                seen[number] = ABSENT._replace(header=header)

    def _entries(self, uids: Sequence[str]) -> list[HeaderRow | None]:
        key = f"{self._connection.keys.store}entries"
        lines = self._connection.ask(lambda client: client.hmget(key, uids))
        return [
            None if line is None else read_entry(uid, line)
            for uid, line in zip(uids, lines, strict=True)
        ]

    def count(self, query: ListQuery) -> int:
        """Count the headers of a query, by the size of the sets or else by the index entries."""
        plain = not (query.prefix or query.updated_from or query.updated_before)
        if (
            plain
            and query.agent_id is None
            and query.pinned is None
            and not (query.hidden and query.archived is not None)
            and not (query.now and query.expired_by)
        ):
            return sum(self._length(kind, query) for kind in _kinds(query))
        return sum(self._counted(kind, query) for kind in _kinds(query))

    def _length(self, kind: str, query: ListQuery) -> int:
        base = f"{self._connection.keys.store}{kind}"
        ended = query.now or query.expired_by
        expired = 0
        if ended:
            high = b"(" + ended.encode() + b"\x01"
            expired = self._connection.ask(
                lambda client: client.zlexcount(f"{base}:expires", "-", high)
            )
        if query.expired_by:
            return expired
        whole: int = self._connection.ask(lambda client: client.zcard(f"{base}:id"))
        return whole - expired

    def _counted(self, kind: str, query: ListQuery) -> int:
        name, descending, spans = _plan(kind, ListQuery(sort="id", prefix=query.prefix))
        total = 0
        for span in spans:
            low, high = span
            while members := self._range(name, low, high, PAGE_SIZE, descending=descending):
                headers = self._entries([member_uid(member) for member in members])
                total += sum(header is not None and query.accepts(header) for header in headers)
                low, high = _go_on(low, high, members[-1], descending=descending)
        return total


def _kinds(query: ListQuery) -> list[str]:
    if query.hidden:
        return ["h"]
    kinds = {None: ["v", "a"], False: ["v"], True: ["a"]}[query.archived]
    return kinds if query.hidden is False else [*kinds, "h"]


def _plan(kind: str, query: ListQuery) -> tuple[str, bool, list[Bounds]]:
    """Return the set to read for a query, its direction, and its ranges."""
    if query.expired_by is not None and query.after is None:
        return f"{kind}:expires", False, [(b"-", b"(" + query.expired_by.encode() + b"\x01")]
    if query.sort == "id":
        return f"{kind}:id", False, _ascending(query)
    return f"{kind}:{query.sort}", True, _descending(query)


def _groups(query: ListQuery) -> list[bool]:
    """Return the pinned and unpinned groups that the query and its cursor select."""
    wanted = [True, False] if query.pinned is None else [query.pinned]
    place = query.after
    return [pinned for pinned in wanted if place is None or place.pinned >= pinned]


def _ascending(query: ListQuery) -> list[Bounds]:
    spans = []
    for pinned in _groups(query):
        front = b"0" if pinned else b"1"
        start = front + query.prefix.encode()
        low = b"[" + start
        if query.after is not None and query.after.pinned == pinned:
            after = front + query.after.id.encode() + b"\x01"
            low = b"[" + max(start, after)
        spans.append((low, b"(" + start + b"\xff"))
    return spans


def _descending(query: ListQuery) -> list[Bounds]:
    spans = []
    dated = query.sort == "updated"
    for pinned in _groups(query):
        front = b"1" if pinned else b"0"
        start = front + (query.updated_from or "").encode() if dated else front
        end = front + b"\xff"
        if dated and query.updated_before:
            end = front + query.updated_before.encode()
        place = query.after
        if place is not None and place.pinned == pinned:
            key = f"{place.key:020d}" if isinstance(place.key, int) else place.key
            end = min(end, front + f"{key}\x00{place.id}\x00".encode())
        spans.append((b"[" + start, b"(" + end))
    return spans


def _go_on(low: bytes, high: bytes, member: bytes, *, descending: bool) -> Bounds:
    return (low, b"(" + member) if descending else (b"(" + member, high)


def _fitting(query: ListQuery, member: bytes, seen: Seen) -> Seen:
    """Give a header that was changed after the index was read the sort key of its index entry.

    A cursor made from the new key would return to the beginning.
    """
    header = seen.header
    key = member.partition(b"\x00")[0][1:]
    if header is not None and query.sort == "updated" and query.expired_by is None:
        header.updated_at = key.decode()
    elif header is not None and query.sort == "messages" and query.expired_by is None:
        header.message_count = int(key)
    return seen
