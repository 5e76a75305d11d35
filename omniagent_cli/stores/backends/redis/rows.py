"""Encoding of sessions as keys and values of Redis.

One session, all under its own hash tag: ``PREFIX{UID}:h`` is a hash (``h`` the header, ``v`` the preview, ``p`` the
payload, and counters of `scripts`), ``:m`` a sorted set of messages by position, ``:r`` a hash of attachments and summaries.

The store, under the tag ``store``: ``ids`` (id -> uid), ``entries`` (uid -> the columns of a listing),
``meta``, and for each kind of session (``v``isible, ``a``rchived, ``h``idden) sorted sets read by bytes, all
scores 0: ``v:updated``, ``v:created``, ``v:messages``, ``v:id``, ``v:expires``. Their members are the sort key, the
id and the uid, so that a page of a list is a range and needs no header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from omniagent_cli.errors import CorruptSession
from omniagent_cli.json_format import dump, load
from omniagent_cli.stores.backend import HeaderRow, MessageRow, header_values

FORMAT = "2"
"""Version of the format, stored in ``meta``. The first write with a newer omniagent raises it, which stops older ones.

1. The first format.
2. The last fact of a header is ``modified_at``; headers of format 1 lack it and are read as they are.
"""

_FACTS_1 = 14
"""Number of facts of a header in format 1."""

KINDS = "vah"
"""Kinds of sessions, each with lists of its own: visible, archived, hidden."""

LISTS = ("updated", "created", "messages", "id", "expires")
"""Lists of a kind, in the order in which `scripts` expects their keys."""

LOOKS = ("e", "g", "k", "h", "v", "p")
"""Fields that are read from a header's hash: change number, removal number, number of records, and the header."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of a store's keys."""

    prefix: str

    @property
    def store(self) -> str:
        """Return the prefix of all store-wide keys."""
        return f"{self.prefix}{{store}}:"

    @property
    def meta(self) -> str:
        """Return the key of the values of the store as a whole."""
        return f"{self.store}meta"

    def index(self, kinds: str) -> list[str]:
        """Return the keys of the store as a whole and of the lists of some kinds, as a commit declares them."""
        lists = (f"{kind}:{name}" for kind in kinds for name in LISTS)
        return [f"{self.store}{name}" for name in ("meta", "ids", "entries", *lists)]

    def session(self, uid: str) -> list[str]:
        """Return the keys of a session: header, messages, and attachments and summaries."""
        return [self.header(uid), self.rows(uid), self.records(uid)]

    def header(self, uid: str) -> str:
        """Return the key of a session's header."""
        return f"{self.prefix}{{{uid}}}:h"

    def rows(self, uid: str) -> str:
        """Return the key of a session's messages."""
        return f"{self.prefix}{{{uid}}}:m"

    def records(self, uid: str) -> str:
        """Return the key of a session's attachments and summaries."""
        return f"{self.prefix}{{{uid}}}:r"

    def pattern(self) -> str:
        """Return the SCAN pattern of all keys of this store, with its prefix escaped."""
        plain = "".join(f"\\{char}" if char in "*?[]^-\\" else char for char in self.prefix)
        return f"{plain}{{*"

    def uid_of(self, key: bytes) -> str:
        """Return the uid in the hash tag of a key."""
        return key[len(self.prefix.encode()) + 1 :].partition(b"}")[0].decode("utf-8", "replace")


class Seen(NamedTuple):
    """A header as it was read.

    Attributes:
        etag: increases with every change of the session; empty if the session does not exist.
        removals: increases when messages are removed; a reader with an older number may miss some.
        records: number of attachments and summaries.
    """

    etag: bytes
    removals: bytes
    records: int
    header: HeaderRow | None


INFO = Seen(b"", b"", 0, None)


def header_fields(header: HeaderRow) -> bytes:
    """Return the fields of a header without preview and payload."""
    return dump(list(header_values(header)[:-2]))


def read_seen(uid: str, found: Sequence[Any]) -> Seen:
    """Parse the fields `LOOKS` of a header's hash.

    Raises:
        CorruptSession: they are damaged.
    """
    etag, removals, records, fields, preview, payload = found
    if etag is None:
        return INFO
    try:
        facts: list[Any] = load(fields)
        later = [None] if len(facts) == _FACTS_1 else []
        columns: list[Any] = [*facts, *later, preview or b"", payload]
        header = HeaderRow(*columns)
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptSession(
            f"the header of the session with uid {uid} is damaged; run: omniagent store check"
        ) from error
    return Seen(etag, removals or b"0", int(records or 0), header)


def row_bytes(row: MessageRow) -> bytes:
    """Encode a message as a member of a sorted set: its columns as one line of JSON, then the payload."""
    return dump(row[:6]) + b"\n" + row.payload


def read_rows(uid: str, members: Sequence[bytes]) -> list[MessageRow]:
    """Parse members written by `row_bytes`.

    Raises:
        CorruptSession: one is damaged.
    """
    rows = []
    for member in members:
        columns, _, payload = member.partition(b"\n")
        try:
            rows.append(MessageRow._make((*load(columns), payload)))
        except (ValueError, TypeError) as error:
            raise CorruptSession(
                f"a message of the session with uid {uid} is damaged; run: omniagent store check"
            ) from error
    return rows


def kind_of(header: HeaderRow) -> str:
    """Return the index a session belongs to: visible, archived or hidden."""
    return "h" if header.hidden else "a" if header.archived else "v"


def entry(header: HeaderRow) -> bytes:
    """Return the index entry of a session, from which the script makes its members."""
    return "\n".join(
        (
            kind_of(header),
            "1" if header.pinned else "0",
            header.updated_at,
            header.created_at,
            f"{header.message_count:020d}",
            header.expires_at or "",
            header.id,
            header.agent_id,
        )
    ).encode()


def read_entry(uid: str, line: bytes) -> HeaderRow:
    """Return a partial header from an index entry, for a session whose header is missing."""
    kind, pinned, updated, created, count, expires, session_id, agent = line.decode().split("\n", 7)
    return HeaderRow(
        uid=uid,
        id=session_id,
        created_at=created,
        updated_at=updated,
        agent_id=agent,
        expires_at=expires or None,
        message_count=int(count),
        pinned=pinned == "1",
        archived=kind == "a",
        hidden=kind == "h",
    )


def member_uid(member: bytes) -> str:
    """Return the uid at the end of an index member."""
    return member.rpartition(b"\x00")[2].decode()


def record_field(kind: str, key: str) -> bytes:
    """Return the field name of an attachment or summary."""
    return f"{kind}\x00{key}".encode()


def record_keys(kind: str, fields: Sequence[bytes]) -> list[str]:
    """Return the keys of the records of a kind among the fields of a hash, sorted."""
    start = f"{kind}\x00".encode()
    return sorted(f[len(start) :].decode() for f in fields if f.startswith(start))
