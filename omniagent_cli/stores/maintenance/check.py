"""Check and repair of a whole store: the damage that every backend can have.

A repair never discards anything. The store is copied first; unreadable bytes stay with their message or session, as text
as far as possible; rows without a session become a session of their own.
"""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from dataclasses import replace

from omniagent_cli.errors import CorruptSession, EncryptedStore, InvalidRecord, StoreCorrupt
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import Message
from omniagent_cli.stores.backend import HeaderRow, ListQuery, MessageRow, Problem
from omniagent_cli.stores.journal import JOURNAL_KINDS, REMOVAL
from omniagent_cli.stores.rows import set_flags
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork


class CheckReport(list[Problem]):
    """The problems found by one check.

    Attributes:
        copied_to: where the store was copied before the repair.
    """

    copied_to: str | None = None


def check(store: StoreBase, *, repair: bool = False) -> CheckReport:
    """Check a whole store for damage, hidden sessions included.

    Args:
        store: the store.
        repair: repair what can be repaired, after copying the store.

    Raises:
        StoreUnavailable: the store cannot be used at all.
    """
    report = _examine(store, repair=False)
    if not repair or not report:
        return report
    copy = store.copy_before_repair()
    repaired = _examine(store, repair=True)
    repaired.copied_to = copy
    return repaired


def _examine(store: StoreBase, *, repair: bool) -> CheckReport:
    report = CheckReport()
    try:
        report += store.check_backend(repair=repair)
        for header in store.iter_headers(ListQuery(hidden=None, sort="id")):
            report += _SessionCheck(store, header.uid, repair=repair).problems()
    except CorruptSession as error:
        report.append(Problem(str(error), error.session_id))
    except StoreCorrupt as error:
        if not report:
            what = str(error)
            if repair:
                what, _, _ = what.partition("; run:")
                what += "; it cannot be repaired here, restore a backup"
            report.append(Problem(what))
    return report


class _SessionCheck:
    """The check of one session, in one unit of work."""

    def __init__(self, store: StoreBase, uid: str, *, repair: bool) -> None:
        self._store = store
        self._uid = uid
        # In an encrypted store, damage and a wrong key look the same.
        self._repair = repair and not store.has_key
        self._problems: list[Problem] = []
        self._name: str | None = None

    def problems(self) -> list[Problem]:
        """Return the problems, repaired if requested."""
        try:
            if self._repair:
                self._store.write_unit(self._examine)
            else:
                self._store.read_unit(self._examine)
        except EncryptedStore:
            return []  # nothing more can be checked without the key
        except CorruptSession as error:
            self._problems.append(Problem(str(error), error.session_id))
        return self._problems

    def _report(self, what: str) -> None:
        self._problems.append(Problem(what, self._name, repaired=self._repair))

    def _examine(self, unit: UnitOfWork) -> None:
        self._problems = []
        header = unit.tx.find_uid(self._uid)
        if header is None:
            return
        before = replace(header)
        self._name = None if header.hidden else header.id
        self._check_times(unit, header)
        self._check_data(unit, header)
        self._check_rows(unit, header)
        self._check_records(unit, header)
        if self._repair and header != before:
            header.mark_changed(format_time(unit.now()), activity=False)
            unit.tx.put(header)

    def _check_times(self, unit: UnitOfWork, header: HeaderRow) -> None:
        for key in ("created_at", "updated_at", "modified_at", "expires_at"):
            text = getattr(header, key)
            if text is None or _is_time(text):
                continue
            self._report(f"invalid {key}: {text!r}")
            optional = key in ("modified_at", "expires_at")
            setattr(header, key, None if optional else format_time(unit.now()))

    def _check_data(self, unit: UnitOfWork, header: HeaderRow) -> None:
        try:
            data = unit.data(header)
        except EncryptedStore:
            raise
        except CorruptSession:
            damaged = header.payload or b""
            self._report("its title, metadata and state cannot be read")
            metadata = {"damaged": b64encode(damaged).decode()}
            data = {"title": "(damaged)", "title_source": "user", "metadata": metadata}
            if header.hidden:
                trash = {"id": f"damaged-{header.uid}", "uid": header.uid, "kind": "deleted"}
                data["trash"] = {**trash, "at": header.updated_at}
            unit.set_data(header, data)
            return
        if "trash" in data:
            self._name = data["trash"].get("id")
        flags = header.pinned, header.archived
        set_flags(header, data)
        if flags != (header.pinned, header.archived):
            self._report("its pinned or archived flag does not match its metadata")

    def _check_rows(self, unit: UnitOfWork, header: HeaderRow) -> None:
        count, position, last = 0, -1, None
        for row in unit.tx.rows(header.uid):
            if row.position <= position:
                self._report(f"the message at position {row.position} is out of order")
            count, position = count + 1, row.position
            last = self._check_row(unit, header, row)
        if count != header.message_count:
            self._report(f"it has {count} messages but records {header.message_count}")
            header.message_count = count
        if position >= header.next_position:
            self._report(f"its next position {header.next_position} is not after {position}")
            header.next_position = position + 1
        if not header.hidden:
            self._check_preview(unit, header, last)

    def _check_row(self, unit: UnitOfWork, header: HeaderRow, row: MessageRow) -> Message:
        try:
            (message,) = unit.to_messages(header, [row])
            parse_time(row.created_at)
            if isinstance(message.content, str | list):
                return message
        except (CorruptSession, EncryptedStore, InvalidRecord):
            pass  # it is damaged rather than encrypted, because its header could be read
        self._report(f"the message at position {row.position} cannot be read")
        time = row.created_at if _is_time(row.created_at) else format_time(unit.now())
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
            (text,) = unit.index_texts([message])
            unit.tx.replace(header.uid, unit.to_row(header.uid, message), text)
        return message

    def _check_preview(self, unit: UnitOfWork, header: HeaderRow, last: Message | None) -> None:
        shown = None
        with suppress(CorruptSession):
            shown = unit.preview(header)
        right = replace(header)
        unit.set_preview(right, last)
        if shown is None or shown != unit.preview(right):
            self._report("its preview differs from its last message")
            header.preview = right.preview

    def _check_records(self, unit: UnitOfWork, header: HeaderRow) -> None:
        for kind in ("attachment", "summary", REMOVAL, *JOURNAL_KINDS):
            for key, payload in list(unit.tx.records(header.uid, kind)):
                try:
                    unit.open_record(header, kind, key, payload)
                except (CorruptSession, EncryptedStore):
                    self._report(f"its {kind} {key} cannot be read")
                    if self._repair:
                        value = {"damaged": b64encode(payload).decode()}
                        unit.put_record(header.uid, kind, key, value)


def _is_time(text: str) -> bool:
    try:
        return format_time(parse_time(text)) == text
    except InvalidRecord:
        return False
