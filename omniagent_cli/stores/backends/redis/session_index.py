"""The session index of a Redis store: listing and counting by sorted sets, one page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import merge
from itertools import chain, islice
from typing import Any

from omniagent_cli.json_format import format_time
from omniagent_cli.stores.backend import HeaderRow, ListQuery
from omniagent_cli.stores.backends.redis.connection import Connection
from omniagent_cli.stores.backends.redis.rows import (
    INFO,
    LOOKS,
    Seen,
    member_uid,
    read_entry,
    read_seen,
)
from omniagent_cli.stores.backends.redis.scripts import HEADERS

PAGE_SIZE = 500
"""Headers per response."""

SCAN_PAGE = 5000
"""Index members per response of a scan."""

Bounds = tuple[bytes, bytes]
"""Range of ZRANGEBYLEX."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a list of the index."""

    name: str
    low: bytes
    high: bytes
    descending: bool

    def command(self, base: str, size: int) -> tuple[Any, ...]:
        """Return the command that reads the first members; `base` begins the name of the key."""
        command = "ZREVRANGEBYLEX" if self.descending else "ZRANGEBYLEX"
        ends = (self.high, self.low) if self.descending else (self.low, self.high)
        return (command, f"{base}{self.name}", *ends, "LIMIT", 0, size)

    def after(self, member: bytes) -> Span:
        """Return the rest of the range after a member."""
        if self.descending:
            return replace(self, high=b"(" + member)
        return replace(self, low=b"(" + member)


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
        spans = {kind: _plan(kind, query) for kind in _kinds(query)}
        streams = self._streams([*chain(*spans.values())], min(query.limit, PAGE_SIZE))
        for own in spans.values():
            members = chain(*islice(streams, len(own)))
            number = 0
            while number < query.limit and (
                part := [*islice(members, min(query.limit - number, PAGE_SIZE))]
            ):
                for seen in self._headers_of(part, query):
                    if seen.header is not None and query.accepts(seen.header):
                        if query.expired_by is None and self._is_gone(seen):
                            continue
                        found.append(seen)
                        number += 1
        return found

    def _is_gone(self, seen: Seen) -> bool:
        """Return True if the server removed a session because it expired; only a purge lists those."""
        expires_at = seen.header.expires_at if seen.header is not None and not seen.etag else None
        return expires_at is not None and expires_at <= format_time(self._now())

    def _streams(self, spans: Sequence[Span], size: int) -> Iterator[Iterator[bytes]]:
        """Yield the members of each span, all of whose first pages are read in one round trip."""
        pages = self._pages(spans, size)
        for span, page in zip(spans, pages, strict=True):
            yield self._members(span, page, size)

    def _members(self, span: Span, page: list[bytes], size: int) -> Iterator[bytes]:
        while page:
            yield from page
            if len(page) < size:
                return
            span, size = span.after(page[-1]), max(size, PAGE_SIZE)
            (page,) = self._pages([span], size)

    def _pages(self, spans: Sequence[Span], size: int) -> list[list[bytes]]:
        key = self._connection.keys.store
        return self._connection.together([(key, span.command(key, size)) for span in spans])

    def _headers_of(self, members: Sequence[bytes], query: ListQuery) -> Iterator[Seen]:
        uids = [member_uid(member) for member in members]
        found = self._look([self._connection.keys.header(uid) for uid in uids])
        seen = [read_seen(*pair) for pair in zip(uids, found, strict=True)]
        self._fill(uids, seen)
        for member, one in zip(members, seen, strict=True):
            yield _fitting(query, member, one)

    def _look(self, headers: Sequence[str]) -> list[Any]:
        """Read headers, on a server without cluster with the encryption manifest."""
        if self._connection.cluster:
            return self._connection.together([(key, ("HMGET", key, *LOOKS)) for key in headers])
        keys = [self._connection.keys.meta, *headers]
        found: list[Any] = self._connection.run_again(HEADERS, keys)
        self._heard(found[0])
        return found[1:]

    def by_activity(self, query: ListQuery) -> Iterator[bytes]:
        """Yield the members of sessions that a query may accept, the most recently active first, pinned or not."""
        spans = [
            Span(f"{kind}:updated", b"[" + pinned, b"(" + pinned + b"\xff", descending=True)
            for kind in _kinds(query)
            for pinned in (b"0", b"1")
        ]
        streams = self._streams(spans, SCAN_PAGE)
        return merge(*streams, key=lambda member: member[1:].partition(b"\x00")[0], reverse=True)

    def _fill(self, uids: Sequence[str], seen: list[Seen]) -> None:
        """Replace missing headers by what the index knows."""
        gaps = [number for number, one in enumerate(seen) if one.header is None]
        for number, header in zip(gaps, self.entries([uids[n] for n in gaps]), strict=True):
            seen[number] = INFO._replace(header=header)

    def entries(self, uids: Sequence[str]) -> list[HeaderRow | None]:
        """Return what the index knows of some sessions."""
        if not uids:
            return []
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
            return self._lengths(query)
        return sum(self._counted(kind, query) for kind in _kinds(query))

    def _lengths(self, query: ListQuery) -> int:
        """Count by the sizes of the lists, in one round trip."""
        ended = query.now or query.expired_by
        high = b"(" + (ended or "").encode() + b"\x01"
        commands: list[tuple[Any, ...]] = []
        for kind in _kinds(query):
            base = f"{self._connection.keys.store}{kind}"
            if not query.expired_by:
                commands.append(("ZCARD", f"{base}:id"))
            if ended:
                commands.append(("ZLEXCOUNT", f"{base}:expires", "-", high))
        key = self._connection.keys.store
        counts = self._connection.together([(key, command) for command in commands])
        pairs = zip(commands, counts, strict=True)
        if query.expired_by:
            return sum(counts)
        return sum(count if command[0] == "ZCARD" else -count for command, count in pairs)

    def _counted(self, kind: str, query: ListQuery) -> int:
        spans = _plan(kind, ListQuery(sort="id", prefix=query.prefix))
        members = chain(*self._streams(spans, PAGE_SIZE))
        total = 0
        while part := [*islice(members, PAGE_SIZE)]:
            headers = self.entries([member_uid(member) for member in part])
            total += sum(header is not None and query.accepts(header) for header in headers)
        return total


def _kinds(query: ListQuery) -> list[str]:
    if query.hidden:
        return ["h"]
    kinds = {None: ["v", "a"], False: ["v"], True: ["a"]}[query.archived]
    return kinds if query.hidden is False else [*kinds, "h"]


def _plan(kind: str, query: ListQuery) -> list[Span]:
    """Return the ranges to read for a query, in order."""
    if query.expired_by is not None and query.after is None:
        high = b"(" + query.expired_by.encode() + b"\x01"
        return [Span(f"{kind}:expires", b"-", high, descending=False)]
    descending = query.sort != "id"
    bounds = _descending(query) if descending else _ascending(query)
    return [Span(f"{kind}:{query.sort}", *pair, descending=descending) for pair in bounds]


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
