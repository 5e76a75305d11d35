"""Looking for damage and mending it: what every backend can be asked, and what each adds by itself.

Nothing is dropped by a repair. The store is copied first; bytes that cannot be read stay with their message
or session, readable as far as they go; rows that belong to nobody become a session of their own.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from omniagent_cli.errors import CorruptSession, EncryptedStore, InvalidRecord, StoreCorrupt
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import Message
from omniagent_cli.stores.backend import HeaderRow, ListQuery, MessageRow, Transaction
from omniagent_cli.stores.operations.search import CHUNK

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a store that is not as it should be.

    Attributes:
        what: a sentence.
        session_id: the session concerned, by its visible or former id; None: the store as a whole.
        repaired: it was mended.
    """

    what: str
    session_id: str | None = None
    repaired: bool = False


class Findings(list[Problem]):
    """The problems of one check.

    Attributes:
        copied_to: where the store was copied before it was mended.
    """

    copied_to: str | None = None


def check(store: SessionStore, *, repair: bool = False) -> Findings:
    """Look through a whole store for damage, hidden sessions included.

    Args:
        store: the store.
        repair: mend what can be mended, after copying the store.

    Raises:
        StoreUnavailable: the store cannot be used at all.
    """
    found = _look(store, repair=False)
    if not repair or not found:
        return found
    copy = store._keep_copy()  # noqa: SLF001  # care is part of the store
    mended = _look(store, repair=True)
    mended.copied_to = copy
    return mended


def _look(store: SessionStore, *, repair: bool) -> Findings:
    found = Findings()
    try:
        found += store._check_backend(repair=repair)  # noqa: SLF001
        for uid in _uids(store):
            found += _Session(store, uid, repair=repair).problems()
    except CorruptSession as error:
        found.append(Problem(str(error), error.session_id))
    except StoreCorrupt as error:
        if not found:
            what = str(error)
            if repair:
                what, _, _ = what.partition("; run:")
                what += "; it cannot be mended here, put a backup in its place"
            found.append(Problem(what))
    return found


def _uids(store: SessionStore) -> Iterator[str]:
    query = ListQuery(hidden=None, sort="id", limit=CHUNK)
    while page := store._read(lambda tx: tx.headers(query)):  # noqa: B023, SLF001  # called at once
        yield from [header.uid for header in page]
        if len(page) < CHUNK:
            return
        query = replace(query, after=query.cursor(page[-1]))


class _Session:
    """The check of one session, in one unit of work."""

    def __init__(self, store: SessionStore, uid: str, *, repair: bool) -> None:
        self._store = store
        self._uid = uid
        self._repair = repair and not store._secret  # noqa: SLF001  # without a key nothing can be told apart
        self._found: list[Problem] = []
        self._name: str | None = None

    def problems(self) -> list[Problem]:
        """Return what is wrong, mended when that was asked for."""
        try:
            if self._repair:
                self._store._write(lambda tx, _: self._examine(tx))  # noqa: SLF001
            else:
                self._store._read(self._examine)  # noqa: SLF001
        except EncryptedStore:
            return []  # whole, as far as can be seen without the key
        except CorruptSession as error:
            self._found.append(Problem(str(error), error.session_id))
        return self._found

    def _tell(self, what: str) -> None:
        self._found.append(Problem(what, self._name, repaired=self._repair))

    def _examine(self, tx: Transaction) -> None:
        self._found = []
        header = tx.find_uid(self._uid)
        if header is None:
            return
        before = replace(header)
        self._name = None if header.hidden else header.id
        self._check_times(tx, header)
        self._check_data(header)
        self._check_rows(tx, header)
        self._check_records(tx, header)
        if self._repair and header != before:
            header.revision += 1
            tx.put(header)

    def _check_times(self, tx: Transaction, header: HeaderRow) -> None:
        for key in ("created_at", "updated_at", "expires_at"):
            text = getattr(header, key)
            if text is None or _is_time(text):
                continue
            self._tell(f"its {key} is no time: {text!r}")
            setattr(header, key, None if key == "expires_at" else format_time(tx.now()))

    def _check_data(self, header: HeaderRow) -> None:
        store = self._store
        try:
            data = store._data(header)  # noqa: SLF001
        except EncryptedStore:
            raise
        except CorruptSession:
            damaged = header.payload or b""
            self._tell("its title, metadata and state cannot be read")
            metadata = {"damaged": b64encode(damaged).decode()}
            data = {"title": "(damaged)", "title_source": "user", "metadata": metadata}
            if header.hidden:
                trash = {"id": f"damaged-{header.uid}", "uid": header.uid, "kind": "deleted"}
                data["trash"] = {**trash, "at": header.updated_at}
            store._set_data(header, data)  # noqa: SLF001
            return
        if "trash" in data:
            self._name = data["trash"].get("id")
        flags = header.pinned, header.archived
        payload = header.payload
        store._set_data(header, data)  # noqa: SLF001
        header.payload = payload
        if flags != (header.pinned, header.archived):
            self._tell("the list shows it pinned or archived, or not, against its metadata")

    def _check_rows(self, tx: Transaction, header: HeaderRow) -> None:
        count, place, last = 0, -1, None
        for row in tx.rows(header.uid):
            if row.position <= place:
                self._tell(f"the message at position {row.position} is out of order")
            count, place = count + 1, row.position
            last = self._check_row(tx, header, row)
        if count != header.message_count:
            self._tell(f"it has {count} messages and says {header.message_count}")
            header.message_count = count
        if place >= header.next_position:
            self._tell(f"its next message would stand at {header.next_position}, before {place}")
            header.next_position = place + 1
        if not header.hidden:
            self._check_preview(header, last)

    def _check_row(self, tx: Transaction, header: HeaderRow, row: MessageRow) -> Message:
        store = self._store
        try:
            (message,) = store._to_messages(header, [row])  # noqa: SLF001
            parse_time(row.created_at)
            if isinstance(message.content, str | list):
                return message
        except (CorruptSession, EncryptedStore, InvalidRecord):
            pass  # encrypted it is not: its header was read
        self._tell(f"the message at position {row.position} cannot be read")
        time = row.created_at if _is_time(row.created_at) else format_time(tx.now())
        record = {
            "id": row.id,
            "role": row.role,
            "created_at": time,
            "content": row.payload.decode("utf-8", "replace"),
            "status": "failed",
            "extra": {"damaged": b64encode(row.payload).decode()},
        }
        if row.turn_id is not None:
            record["turn_id"] = row.turn_id
        message = Message.trusted(record, row.position)
        if self._repair:
            text = store._index_text(message)  # noqa: SLF001
            tx.replace(header.uid, store._to_row(header.uid, message), text)  # noqa: SLF001
        return message

    def _check_preview(self, header: HeaderRow, last: Message | None) -> None:
        shown = None
        with suppress(CorruptSession):
            shown = self._store._preview(header)  # noqa: SLF001
        right = replace(header)
        self._store._set_preview(right, last)  # noqa: SLF001
        if shown is None or shown != self._store._preview(right):  # noqa: SLF001
            self._tell("the list shows another last message than it has")
            header.preview = right.preview

    def _check_records(self, tx: Transaction, header: HeaderRow) -> None:
        for kind in ("attachment", "summary"):
            for key, payload in list(tx.records(header.uid, kind)):
                try:
                    self._store._unseal(kind, header, (header.uid, key), payload)  # noqa: SLF001
                except (CorruptSession, EncryptedStore):
                    self._tell(f"its {kind} {key} cannot be read")
                    if self._repair:
                        value = {"damaged": b64encode(payload).decode()}
                        sealed = self._store._seal(kind, (header.uid, key), value)  # noqa: SLF001
                        tx.put_record(header.uid, kind, key, sealed)


def _is_time(text: str) -> bool:
    try:
        return format_time(parse_time(text)) == text
    except InvalidRecord:
        return False
