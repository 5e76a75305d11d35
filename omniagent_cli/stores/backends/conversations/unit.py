"""One unit of work on conversations: a transaction of the map, with texts sent to and fetched from the API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from typing import Any, NamedTuple

from omniagent_cli.errors import CorruptSession, StoreError
from omniagent_cli.json_format import dump, load
from omniagent_cli.stores.backend import (
    EVERYTHING,
    HIDDEN,
    HeaderRow,
    IndexQuery,
    ListQuery,
    MessageRow,
    RowRange,
    Transaction,
)
from omniagent_cli.stores.backends.conversations.api import ConversationsApi
from omniagent_cli.stores.backends.conversations.items import Item, join, split

GONE = "conversations gone"
"""Meta key of the map: conversations and items that are still to be deleted at OpenAI."""

_KIND, _KEY = "conversation", "id"

Gone = list[tuple[str, str | None]]


def read_gone(tx: Transaction) -> Gone:
    """Return the conversations and items that are still to be deleted."""
    found = tx.meta(GONE)
    return [(conversation, item) for conversation, item in load(found)] if found else []


class _Pending(NamedTuple):
    """A message whose items have not been sent yet."""

    uid: str
    row: MessageRow
    kept: dict[str, Any]
    items: list[Item]


class ConversationsUnit(Transaction):
    """A transaction of the map that completes its messages with fetched items.

    Attributes:
        gone: conversations and items removed from the map by this unit of work.
    """

    keeps_tombstones = False

    def __init__(self, tx: Transaction, api: ConversationsApi) -> None:
        self._tx = tx
        self._api = api
        self._pending: list[_Pending] = []
        self._sent: Gone = []
        self._renamed: dict[str, str] = {}
        self.gone: Gone = []

    def rows(self, uid: str, span: RowRange = EVERYTHING) -> Iterable[MessageRow]:
        local = [(row, load(row.payload)) for row in self._tx.rows(uid, span)]
        wanted = [item for _, kept in local for item in kept["items"]]
        found: dict[str, Item] = {}
        if wanted:
            after = None if span.newest else self._last_before(uid, span)
            conversation = self._conversation(uid)
            found = self._api.find(conversation, wanted, after=after, newest=span.newest)
        for row, kept in local:
            try:
                body = join(kept, [found[item] for item in kept["items"]])
            except (ValueError, KeyError, IndexError) as error:
                raise CorruptSession(
                    f"the message at position {row.position} differs from the one at OpenAI"
                ) from error
            yield row._replace(payload=dump(body))

    def _last_before(self, uid: str, span: RowRange) -> str | None:
        """Return the item before those of a range of messages."""
        if not span.first:
            return None
        before = self._tx.rows(uid, RowRange(last=span.first - 1, newest=True, limit=1))
        items = [item for row in before for item in load(row.payload)["items"]]
        return items[-1] if items else None

    def insert(self, uid: str, rows: Sequence[MessageRow], texts: Sequence[str | None]) -> None:
        local = [self._with_holes(uid, row) for row in rows]
        self._tx.insert(uid, local, [None] * len(local))

    def _with_holes(self, uid: str, row: MessageRow) -> MessageRow:
        kept, items = split(row.role, row.id, load(row.payload))
        if items:
            self._pending.append(_Pending(uid, row, kept, items))
        return _local(row, kept, items, [])

    def replace(self, uid: str, row: MessageRow, text: str | None) -> None:
        (before,) = self._tx.rows(uid, RowRange(row.position, row.position))
        known = load(before.payload)
        kept, items = split(row.role, row.id, load(row.payload))
        if known["sha256"] == _digest(items):
            self._tx.replace(uid, _local(row, kept, items, known["items"]), None)
            return
        self._forget(uid, [before])
        self._tx.replace(uid, self._with_holes(uid, row), None)

    def delete_rows(self, uid: str, span: RowRange) -> None:
        self._forget(uid, self._tx.rows(uid, span))
        self._tx.delete_rows(uid, span)

    def remove(self, uid: str) -> None:
        conversation = self._known(uid)
        if conversation is not None:
            self._forget(uid, self._tx.rows(uid))
            self.gone.append((conversation, None))
        self._tx.remove(uid)

    def _forget(self, uid: str, rows: Iterable[MessageRow]) -> None:
        for row in rows:
            self.gone += [(self._conversation(uid), item) for item in load(row.payload)["items"]]

    def put(self, header: HeaderRow) -> None:
        known = self._tx.find_uid(header.uid, payload=False)
        if known is not None and known.id != header.id:
            self._renamed[header.uid] = header.id
        self._tx.put(header)

    def adopt(
        self,
        uid: str,
        conversation: str,
        rows: Sequence[MessageRow],
        ids: Sequence[Sequence[str]],
    ) -> None:
        """Add messages whose items are already at OpenAI."""
        self._tx.put_record(uid, _KIND, _KEY, dump(conversation))
        local = []
        for row, items_ids in zip(rows, ids, strict=True):
            kept, items = split(row.role, row.id, load(row.payload))
            local.append(_local(row, kept, items, items_ids))
        self._tx.insert(uid, local, [None] * len(local))

    # Sending

    def send(self) -> None:
        """Send new items, and record what is to be deleted once the map is committed."""
        for uid, group in groupby(self._pending, key=lambda pending: pending.uid):
            self._add(uid, list(group))
        for uid, new_id in self._renamed.items():
            conversation = self._known(uid)
            if conversation is not None:
                self._api.describe(conversation, _metadata(uid, new_id))
        if self.gone:
            self._tx.put_meta(GONE, dump([*read_gone(self._tx), *self.gone]))

    def _add(self, uid: str, group: Sequence[_Pending]) -> None:
        conversation = self._conversation(uid)
        ids = self._api.add(conversation, [item for pending in group for item in pending.items])
        self._sent += [(conversation, item) for item in ids]
        for pending in group:
            own, ids = ids[: len(pending.items)], ids[len(pending.items) :]
            self._tx.replace(uid, _local(pending.row, pending.kept, pending.items, own), None)

    def revert(self) -> None:
        """Delete the sent items again, as far as possible, because the map was not committed."""
        with contextlib.suppress(StoreError):
            for conversation, item in self._sent:
                self._api.delete(conversation, item)
        self._sent = []

    def _conversation(self, uid: str) -> str:
        """Return the conversation of a session; the first message creates it."""
        known = self._known(uid)
        if known is not None:
            return known
        header = self._tx.find_uid(uid, payload=False)
        conversation = self._api.create(_metadata(uid, "" if header is None else header.id))
        self._sent.append((conversation, None))
        self._tx.put_record(uid, _KIND, _KEY, dump(conversation))
        return conversation

    def _known(self, uid: str) -> str | None:
        found = self._tx.record(uid, _KIND, _KEY)
        return None if found is None else str(load(found))

    # Delegated to the map

    def now(self) -> datetime:
        return self._tx.now()

    def find(self, session_id: str, *, payload: bool = True) -> HeaderRow | None:
        return self._tx.find(session_id, payload=payload)

    def find_uid(self, uid: str, *, payload: bool = True) -> HeaderRow | None:
        return self._tx.find_uid(uid, payload=payload)

    def headers(self, query: ListQuery) -> list[HeaderRow]:
        return self._tx.headers(query)

    def count(self, query: ListQuery) -> int:
        return self._tx.count(query)

    def candidates(self, query: IndexQuery) -> Iterator[tuple[HeaderRow, MessageRow]] | None:
        return None

    def records(self, uid: str, kind: str) -> Iterable[tuple[str, bytes]]:
        return self._tx.records(uid, kind)

    def record(self, uid: str, kind: str, key: str) -> bytes | None:
        return self._tx.record(uid, kind, key)

    def put_record(self, uid: str, kind: str, key: str, payload: bytes) -> None:
        self._tx.put_record(uid, kind, key, payload)

    def remove_record(self, uid: str, kind: str, key: str) -> None:
        self._tx.remove_record(uid, kind, key)

    def meta(self, key: str) -> bytes | None:
        return self._tx.meta(key)

    def put_meta(self, key: str, value: bytes) -> None:
        self._tx.put_meta(key, value)

    def encryption(self) -> bytes | None:
        return self._tx.encryption()


def _local(
    row: MessageRow, kept: dict[str, Any], items: Sequence[Item], ids: Sequence[str]
) -> MessageRow:
    return row._replace(payload=dump({**kept, "items": list(ids), "sha256": _digest(items)}))


def _digest(items: Sequence[Item]) -> str:
    return sha256(dump(list(items))).hexdigest()


def _metadata(uid: str, session_id: str) -> dict[str, str]:
    return {"session_id": "" if session_id.startswith(HIDDEN) else session_id, "uid": uid}
