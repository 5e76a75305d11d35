"""Scan of all sessions with their messages, many in one round trip, for a search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from omniagent_cli.stores.backend import CHUNK, ListQuery, MessageRow
from omniagent_cli.stores.backends.redis.commit import lost, lost_header
from omniagent_cli.stores.backends.redis.connection import Connection
from omniagent_cli.stores.backends.redis.rows import Seen, member_uid, read_rows, read_seen
from omniagent_cli.stores.backends.redis.scripts import ROWS
from omniagent_cli.stores.backends.redis.session_index import SessionIndex

_FEW, _MANY = 50, 1000
"""Sessions in the first and in the largest response."""

_BYTES = 4_000_000
"""Size that responses aim at."""

Scanned = tuple[Seen, list[MessageRow], bool]
"""Header of a session, its messages, and True if these are only the first because they are large."""


def scan(
    connection: Connection, index: SessionIndex, query: ListQuery, now: Callable[[], datetime]
) -> Iterator[Scanned]:
    """Yield the sessions that a query may accept, the most recently active first.

    Responses grow while they are small, so that a search that ends early reads little and a complete one makes few round
    trips.

    Raises:
        CorruptSession: the header or the messages of a session are gone from the server.
    """
    members = index.by_activity(query)
    size = _FEW
    while uids := [member_uid(member) for member in islice(members, size)]:
        received = 1
        for scanned in _sessions(connection, index, uids, now):
            received += sum(len(row.payload) for row in scanned[1])
            yield scanned
        size = max(_FEW, min(4 * size, _MANY, size * _BYTES // received))


def _sessions(
    connection: Connection, index: SessionIndex, uids: Sequence[str], now: Callable[[], datetime]
) -> Iterator[Scanned]:
    keys = connection.keys
    limits = (CHUNK, max(_BYTES // len(uids), 10_000))
    calls = [
        (
            keys.header(uid),
            connection.evaluation(
                ROWS, keys.session(uid)[:2], "ZRANGEBYSCORE", "-inf", "+inf", 0, *limits, 1
            ),
        )
        for uid in uids
    ]
    missing = []
    for uid, answer in zip(uids, connection.together(calls), strict=True):
        fields, _, more, *members = answer
        seen = read_seen(uid, fields)
        if seen.header is None:
            missing.append(uid)
        elif not members and seen.header.message_count:
            raise lost(seen.header)
        else:
            yield seen, read_rows(uid, members), bool(more) or len(members) == CHUNK
    for known in index.entries(missing):
        if known is not None and not known.is_expired(now()):
            raise lost_header(known)
