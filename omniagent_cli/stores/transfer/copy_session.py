"""How a migration copies one session: read in portions, staged, read back, compared, and only then shown."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from omniagent_cli.errors import SessionConflict, SessionExists, StoreCorrupt, StoreError
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message, new_uid
from omniagent_cli.stores.backend import HIDDEN, HeaderRow, ListQuery, RowRange, Transaction
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.operations.search import CHUNK
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.stores.unit_of_work import is_expired

PORTION_BYTES = 1 << 20
"""Stored bytes of messages read at a time, or a little more."""

STAGE_SECONDS = 86_400.0
"""How long a copy that nobody finished is kept, as for every staged session."""

_KINDS = ("attachment", "summary")
_COLUMNS = ("created_at", "updated_at", "agent_id", "model", "ttl_seconds", "expires_at")

Facts = dict[str, Any]


class ChangedError(Exception):
    """A session of the source was changed while it was read."""


class Stage:
    """A session on its way into the target, hidden until it is whole."""

    def __init__(self, target: SessionStore, header: HeaderRow) -> None:
        self._target = target
        self._source_header = header
        self._token = new_uid()
        self.uid = self._free_uid(header.uid)
        target._write(self._begin, durable=False)

    def _free_uid(self, uid: str) -> str:
        known = self._target._read(lambda tx: tx.find_uid(uid))
        if known is None:
            return uid
        if is_unfinished(self._target, known):
            self._target.unstage(uid)  # of a run that ended early
            return uid
        return new_uid()

    def _begin(self, tx: Transaction, events: list[Event]) -> None:
        header = HeaderRow.fresh(HIDDEN + self.uid, format_time(tx.now()))
        header.uid, header.hidden, header.ttl_seconds = self.uid, True, STAGE_SECONDS
        self._target._set_data(header, {"migration": self._token})
        self._target._touch_header(header, tx.now())
        tx.put(header)

    def _mine(self, tx: Transaction) -> HeaderRow:
        """Return the header, unless another run took the session over.

        Raises:
            SessionConflict: it did.
        """
        header = tx.find_uid(self.uid)
        if header is None or self._target._data(header).get("migration") != self._token:
            session_id = self._source_header.id.removeprefix(HIDDEN)
            raise SessionConflict(
                f"another migration copies the session {session_id!r} too; let one of them end",
                session_id=session_id,
            )
        return header

    def add_messages(self, messages: Sequence[Message]) -> None:
        """Add messages as they are, at their positions."""
        target = self._target

        def work(tx: Transaction, events: list[Event]) -> None:
            header = self._mine(tx)
            header.message_count += len(messages)
            header.next_position = (messages[-1].position or 0) + 1
            target._touch_header(header, tx.now())
            tx.put(header)
            rows = [target._to_row(self.uid, message) for message in messages]
            tx.insert(self.uid, rows, [target._index_text(message) for message in messages])

        target._write(work, durable=False)

    def add_record(self, kind: str, key: str, value: Any) -> None:
        """Add an attachment or a summary."""

        def work(tx: Transaction, events: list[Event]) -> None:
            self._mine(tx)
            tx.put_record(self.uid, kind, key, self._target._seal(kind, (self.uid, key), value))

        self._target._write(work, durable=False)

    def verify(self, wanted: Digest) -> None:
        """Read everything back.

        Raises:
            StoreCorrupt: it is not what was written.
        """
        header = self._target._read(self._mine)
        found = Digest()
        for portion in portions(self._target, header):
            found.add_messages(portion)
        for record in records(self._target, header):
            found.add_record(*record)
        if found != wanted or header.message_count != wanted.messages:
            raise StoreCorrupt(
                f"{self._target.url} gave back something else than was written for the session "
                f"{self._source_header.id.removeprefix(HIDDEN)!r}; run 'omniagent store check' on it"
            )

    def show(self, facts: Facts, preview: str, replaces: HeaderRow | None) -> None:
        """Give the session its name and facts, which makes it visible (or an entry of the trash)."""
        target, source = self._target, self._source_header

        def work(tx: Transaction, events: list[Event]) -> None:
            header = self._mine(tx)
            if not source.hidden:
                self._make_room(tx, replaces)
                header.id, header.hidden = source.id, False
                events.append(Event("session_created", source.id))
            for name in _COLUMNS:
                setattr(header, name, getattr(source, name))
            header.revision += 1
            header.next_position = max(header.next_position, source.next_position)
            target._set_data(header, facts["data"])
            header.preview = target._seal("preview", (self.uid,), preview) if preview else b""
            tx.put(header)

        target._write(work)

    def _make_room(self, tx: Transaction, replaces: HeaderRow | None) -> None:
        holder = tx.find(self._source_header.id)
        if holder is None:
            return
        if is_expired(holder, tx.now()):
            tx.remove(holder.uid)
        elif replaces is not None and (holder.uid, holder.revision) == (
            replaces.uid,
            replaces.revision,
        ):
            self._target._trash_or_remove(tx, holder)
        else:
            raise SessionExists(
                f"the session {holder.id!r} of {self._target.url} was made or changed meanwhile; migrate again",
                session_id=holder.id,
            )

    def drop(self) -> None:
        """Forget what was not shown; a store that fails now removes it a day later."""

        def work(tx: Transaction, events: list[Event]) -> None:
            tx.remove(self._mine(tx).uid)

        with contextlib.suppress(StoreError):
            self._target._write(work)


def is_unfinished(store: SessionStore, header: HeaderRow) -> bool:
    """Tell whether a session is the rest of a migration that ended early."""
    return header.hidden and "migration" in store._data(header)


def facts_of(store: SessionStore, header: HeaderRow) -> Facts:
    """Return what two equal sessions have in common beside their messages and other records."""
    facts = {name: getattr(header, name) for name in (*_COLUMNS, "next_position")}
    return {**facts, "data": store._data(header)}


def expect_still(store: SessionStore, header: HeaderRow) -> None:
    """Make sure a session was not changed while it was read.

    Raises:
        ChangedError: it was, or it is gone.
    """
    now = store._read(lambda tx: tx.find_uid(header.uid, payload=False))
    if now is None or (now.id, now.revision) != (header.id, header.revision):
        raise ChangedError


def walk(store: SessionStore, *, hidden: bool) -> Iterator[HeaderRow]:
    """Yield the headers of a store that have not expired, by id, a page at a time."""
    query = ListQuery(hidden=hidden, sort="id", limit=CHUNK)
    while True:
        page = store._read(lambda tx: tx.headers(replace(query, now=format_time(tx.now()))))  # noqa: B023  # called at once
        yield from page
        if len(page) < CHUNK:
            return
        query = replace(query, after=query.cursor(page[-1]))


def portions(store: SessionStore, header: HeaderRow) -> Iterator[list[Message]]:
    """Yield the messages a session had when its header was read, so many at a time that memory stays bounded."""
    first, last = 0, header.next_position - 1

    def work(tx: Transaction) -> list[Message]:
        rows, size = [], 0
        for row in tx.rows(header.uid, RowRange(first, last, limit=CHUNK)):
            rows.append(row)
            size += len(row.payload)
            if size >= PORTION_BYTES:
                break
        return store._to_messages(header, rows)

    while portion := store._read(work):
        yield portion
        first = (portion[-1].position or 0) + 1


def records(store: SessionStore, header: HeaderRow) -> Iterator[tuple[str, str, Any]]:
    """Yield the other records of a session, one in memory at a time."""
    for kind in _KINDS:
        keys = store._read(lambda tx: [key for key, _ in tx.records(header.uid, kind)])  # noqa: B023  # called at once
        for key in keys:
            value = store._read(lambda tx: store._record(tx, header, kind, key))  # noqa: B023  # called at once
            yield kind, key, value


class Digest:
    """SHA-256 over canonical records in order."""

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.messages = 0

    def add_messages(self, messages: Sequence[Message]) -> None:
        """Take in the next messages with their positions."""
        self.messages += len(messages)
        for message in messages:
            self._add([message.position, message.record])

    def add_record(self, kind: str, key: str, value: Any) -> None:
        """Take in another record."""
        self._add([kind, key, value])

    def _add(self, value: Any) -> None:
        # Sorted, because two sessions are equal whichever order their keys were written in.
        self._hash.update(json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii"))
        self._hash.update(b"\n")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and self._hash.digest() == other._hash.digest()
