"""Copy of one session between stores: read in portions, staged, read back, compared, and only then shown."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from omniagent_cli.errors import SessionConflict, SessionExists, StoreCorrupt, StoreError
from omniagent_cli.models import Message, new_uid
from omniagent_cli.stores.backend import CHUNK, HIDDEN, HeaderRow, ListQuery, RowRange
from omniagent_cli.stores.journal import REMOVAL
from omniagent_cli.stores.operations.stage import STAGE_SECONDS
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.stores.unit_of_work import UnitOfWork

PORTION_BYTES = 1 << 20
"""Stored bytes of messages read at a time, or a little more."""

_KINDS = ("attachment", "summary", REMOVAL)
_COLUMNS = ("created_at", "updated_at", "agent_id", "model", "ttl_seconds", "expires_at")

Facts = dict[str, Any]


class ChangedError(Exception):
    """A session of the source was changed while it was read."""


class StagedCopy:
    """A session that is being copied into the target, hidden until it is complete."""

    def __init__(self, target: SessionStore, header: HeaderRow) -> None:
        self._target = target
        self._source_header = header
        self._token = new_uid()
        self.uid = self._unused_uid(header.uid)
        target.write_unit(self._begin, durable=False)

    def _unused_uid(self, uid: str) -> str:
        known = self._target.read_unit(lambda unit: unit.tx.find_uid(uid))
        if known is None:
            return uid
        if is_unfinished(self._target, known):
            self._target.discard_staged(uid)  # of an interrupted run
            return uid
        return new_uid()

    def _begin(self, unit: UnitOfWork) -> None:
        header = unit.fresh_hidden(unit.now())
        header.id, header.uid, header.ttl_seconds = HIDDEN + self.uid, self.uid, STAGE_SECONDS
        unit.set_data(header, {"migration": self._token})
        unit.touch(header, unit.now(), activity=True)
        unit.tx.put(header)

    def _own_header(self, unit: UnitOfWork) -> HeaderRow:
        """Return the header.

        Raises:
            SessionConflict: another migration took the session over.
        """
        header = unit.tx.find_uid(self.uid)
        if header is None or unit.data(header).get("migration") != self._token:
            session_id = self._source_header.id.removeprefix(HIDDEN)
            raise SessionConflict(
                f"another migration is copying the session {session_id!r}; wait until it has finished",
                session_id=session_id,
            )
        return header

    def add_messages(self, messages: Sequence[Message]) -> None:
        """Add messages unchanged, at their positions."""
        texts = self._target.index_texts(messages)

        def work(unit: UnitOfWork) -> None:
            header = self._own_header(unit)
            header.message_count += len(messages)
            header.next_position = (messages[-1].position or 0) + 1
            unit.touch(header, unit.now(), activity=True)
            unit.tx.put(header)
            unit.insert(self.uid, messages, texts)

        self._target.write_unit(work, durable=False)

    def add_record(self, kind: str, key: str, value: Any) -> None:
        """Add an attachment or a summary."""

        def work(unit: UnitOfWork) -> None:
            self._own_header(unit)
            unit.put_record(self.uid, kind, key, value)

        self._target.write_unit(work, durable=False)

    def verify(self, wanted: Digest) -> None:
        """Read the whole copy back and compare it.

        Raises:
            StoreCorrupt: it differs from what was written.
        """
        header = self._target.read_unit(self._own_header)
        found = Digest()
        for portion in portions(self._target, header):
            found.add_messages(portion)
        for record in records(self._target, header):
            found.add_record(*record)
        if found != wanted or header.message_count != wanted.messages:
            raise StoreCorrupt(
                f"{self._target.url} returned other data than was written for the session "
                f"{self._source_header.id.removeprefix(HIDDEN)!r}; run 'omniagent store check' on it"
            )

    def publish(self, facts: Facts, preview: str, replaces: HeaderRow | None) -> None:
        """Give the session its id and facts, which makes it visible (or an entry of the trash)."""
        source = self._source_header

        def work(unit: UnitOfWork) -> None:
            header = self._own_header(unit)
            if not source.hidden:
                self._make_room(unit, replaces)
                header.id, header.hidden = source.id, False
                unit.emit("session_created", source.id)
            for name in (*_COLUMNS, "modified_at"):
                setattr(header, name, getattr(source, name))
            header.revision += 1
            header.next_position = max(header.next_position, source.next_position)
            unit.set_data(header, facts["data"])
            unit.set_preview_text(header, preview)
            unit.tx.put(header)

        self._target.write_unit(work)

    def _make_room(self, unit: UnitOfWork, replaces: HeaderRow | None) -> None:
        holder = unit.tx.find(self._source_header.id)
        if holder is None:
            return
        if holder.is_expired(unit.now()):
            unit.tx.remove(holder.uid)
        elif replaces is not None and (holder.uid, holder.revision) == (
            replaces.uid,
            replaces.revision,
        ):
            unit.move_to_trash(holder)
        else:
            raise SessionExists(
                f"the session {holder.id!r} of {self._target.url} was created or changed by another program; migrate again",
                session_id=holder.id,
            )

    def discard(self) -> None:
        """Remove the copy; if the store fails now, it expires after a day."""

        def work(unit: UnitOfWork) -> None:
            unit.tx.remove(self._own_header(unit).uid)

        with contextlib.suppress(StoreError):
            self._target.write_unit(work)


def is_unfinished(store: SessionStore, header: HeaderRow) -> bool:
    """Return True if a session is a partial copy of an interrupted migration."""
    return header.hidden and "migration" in store.row_codec.data(header)


def facts_of(store: SessionStore, header: HeaderRow) -> Facts:
    """Return the fields that equal sessions share besides messages, attachments and summaries."""
    facts = {name: getattr(header, name) for name in (*_COLUMNS, "next_position")}
    return {**facts, "data": store.row_codec.data(header)}


def expect_unchanged(store: SessionStore, header: HeaderRow) -> None:
    """Check that a session was not changed while it was read.

    Raises:
        ChangedError: it was changed or removed.
    """
    now = store.read_unit(lambda unit: unit.tx.find_uid(header.uid, payload=False))
    if now is None or (now.id, now.revision) != (header.id, header.revision):
        raise ChangedError


def live_headers(store: SessionStore, *, hidden: bool) -> Iterator[HeaderRow]:
    """Yield the headers of a store that have not expired, by id."""
    now = store.read_unit(lambda unit: unit.now())
    for header in store.iter_headers(ListQuery(hidden=hidden, sort="id")):
        if not header.is_expired(now):
            yield header


def portions(store: SessionStore, header: HeaderRow) -> Iterator[list[Message]]:
    """Yield the messages a session had when its header was read, in portions of bounded size."""
    first, last = 0, header.next_position - 1

    def work(unit: UnitOfWork) -> list[Message]:
        rows, size = [], 0
        for row in unit.tx.rows(header.uid, RowRange(first, last, limit=CHUNK)):
            rows.append(row)
            size += len(row.payload)
            if size >= PORTION_BYTES:
                break
        return unit.to_messages(header, rows)

    while portion := store.read_unit(work):
        yield portion
        first = (portion[-1].position or 0) + 1


def records(store: SessionStore, header: HeaderRow) -> Iterator[tuple[str, str, Any]]:
    """Yield the attachments and summaries of a session as kind, key and value, one in memory at a time."""
    for kind in _KINDS:
        for key in store.read_unit(lambda unit: unit.record_keys(header.uid, kind)):  # noqa: B023  # run immediately
            value = store.read_unit(lambda unit: unit.record(header, kind, key))  # noqa: B023
            yield kind, key, value


class Digest:
    """SHA-256 over canonical records in order."""

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.messages = 0

    def add_messages(self, messages: Sequence[Message]) -> None:
        """Add messages with their positions."""
        self.messages += len(messages)
        for message in messages:
            self._add([message.position, message.record])

    def add_record(self, kind: str, key: str, value: Any) -> None:
        """Add an attachment or summary."""
        self._add([kind, key, value])

    def _add(self, value: Any) -> None:
        # Sorted keys, because sessions are equal whatever the order of the keys.
        self._hash.update(json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii"))
        self._hash.update(b"\n")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and self._hash.digest() == other._hash.digest()
