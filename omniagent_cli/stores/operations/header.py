"""What a session is called and knows: id, title, model, time to live, metadata, state, tags, other records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from omniagent_cli.durations import ttl_seconds
from omniagent_cli.errors import InvalidRecord, SessionConflict, SessionExists, UsageError
from omniagent_cli.json_format import dump, format_time
from omniagent_cli.models import check_session_id
from omniagent_cli.stores.backend import HeaderRow, ListQuery, RowRange, Transaction
from omniagent_cli.stores.continuation_links import CONTINUED_IN, CONTINUES, Links
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.operations.save import Saving
from omniagent_cli.stores.operations.search import CHUNK
from omniagent_cli.stores.unit_of_work import is_expired

T = TypeVar("T")


class _Unchanged(Exception):
    """Ends a unit of work in which there turned out to be nothing to do."""


class Attributes(Saving, Links):
    """The operations of a store that change a session's header."""

    def rename(self, session_id: str, new_id: str) -> None:
        """Give a session another id; its uid, messages and times stay, and those that continue it follow.

        Raises:
            SessionExists: the new id is taken.
        """
        check_session_id(new_id)

        def change(
            tx: Transaction, header: HeaderRow, data: dict[str, Any], events: list[Event]
        ) -> None:
            self._free(tx, new_id)
            header.id = new_id
            links = data.get("metadata") or {}
            self._relink(tx, links.get(CONTINUES), CONTINUED_IN, session_id, new_id)
            self._relink(tx, links.get(CONTINUED_IN), CONTINUES, session_id, new_id)

        if new_id == session_id:
            self._read(lambda tx: self._find(tx, session_id, payload=False))
        else:
            self._edit(session_id, change)

    def _free(self, tx: Transaction, session_id: str) -> None:
        """Make sure an id can be given to a session; an expired one that holds it is removed."""
        holder = tx.find(session_id, payload=False)
        if holder is None:
            return
        if not is_expired(holder, tx.now()):
            raise SessionExists(
                f"there is already a session {session_id!r}; choose another id, or rename or delete that one",
                session_id=session_id,
            )
        tx.remove(holder.uid)

    def set_title(self, session_id: str, title: str, *, source: str = "user") -> None:
        """Name a session. A title whose source is not ``user`` never replaces one that a person gave."""

        def change(
            tx: Transaction, header: HeaderRow, data: dict[str, Any], events: list[Event]
        ) -> None:
            if source == "user" or data.get("title_source") != "user":
                data["title"], data["title_source"] = title, source

        self._edit(session_id, change)

    def set_model(self, session_id: str, model: str) -> None:
        """Pin the model that answers in a session; empty unpins."""

        def change(
            tx: Transaction, header: HeaderRow, data: dict[str, Any], events: list[Event]
        ) -> None:
            header.model = model

        self._edit(session_id, change)

    def touch(self, session_id: str) -> None:
        """Start the session's time to live again, changing nothing else.

        Raises:
            SessionNotFound: there is none.
        """
        self._edit(session_id, _no_change, updated=False)

    def set_ttl(self, session_id: str, ttl: timedelta | float | str | None) -> None:
        """Change how long after its last activity a session expires; None or zero: never."""
        seconds = ttl_seconds(ttl)

        def change(
            tx: Transaction, header: HeaderRow, data: dict[str, Any], events: list[Event]
        ) -> None:
            header.ttl_seconds = seconds

        self._edit(session_id, change, updated=False)

    def purge_expired(self) -> int:
        """Remove for good what has expired, from the backend's files too, and return how many visible sessions went."""

        def work(tx: Transaction, events: list[Event]) -> tuple[int, int]:
            query = ListQuery(hidden=None, expired_by=format_time(tx.now()), limit=CHUNK)
            expired = tx.headers(query)
            for header in expired:
                tx.remove(header.uid)
                if not header.hidden:
                    events.append(Event("session_expired", header.id))
            return len(expired), len(events)

        visible, removed, gone = 0, 0, CHUNK
        while gone == CHUNK:
            gone, seen = self._write(work)
            visible += seen
            removed += gone
        if removed:
            self._scrub()
        return visible

    def count_expired(self) -> int:
        """Count the visible sessions that have expired and were not removed yet."""

        def work(tx: Transaction) -> int:
            return tx.count(ListQuery(expired_by=format_time(tx.now())))

        return self._read(work)

    def set_metadata(self, session_id: str, key: str, value: Any) -> None:
        """Set one metadata value (any JSON value); makes the session when there is none."""
        self._set_value(session_id, "metadata", key, value)

    def set_state(self, session_id: str, key: str, value: Any) -> None:
        """Set one state value (any JSON value); makes the session when there is none."""
        self._set_value(session_id, "state", key, value)

    def delete_metadata(self, session_id: str, key: str) -> bool:
        """Remove one metadata value and tell whether there was one."""
        return self._delete_value(session_id, "metadata", key)

    def delete_state(self, session_id: str, key: str) -> bool:
        """Remove one state value and tell whether there was one."""
        return self._delete_value(session_id, "state", key)

    def tag(
        self, session_id: str, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> list[str]:
        """Add and remove tags in one step and return what the session has now, sorted."""
        added, removed = set(add), set(remove)
        if any(not isinstance(tag, str) or not tag.strip() for tag in added | removed):
            raise InvalidRecord("a tag is text that is not blank")

        def change(
            tx: Transaction, header: HeaderRow, data: dict[str, Any], events: list[Event]
        ) -> list[str]:
            metadata = data.setdefault("metadata", {})
            listed = metadata.get("tags")
            known = {t for t in listed if isinstance(t, str)} if isinstance(listed, list) else set()
            tags = sorted(known - removed | added)
            metadata["tags"] = tags
            if not tags:
                del metadata["tags"]
            events.append(
                Event(
                    "metadata_changed",
                    header.id,
                    {"key": "tags", "value": tags, "deleted": not tags},
                )
            )
            return tags

        return self._edit(session_id, change)

    def _set_value(self, session_id: str, section: str, key: str, value: Any) -> None:
        if not isinstance(key, str) or not key.strip():
            raise InvalidRecord(f"a {section} key is text that is not blank")
        dump({key: value})

        def change(
            tx: Transaction, header: HeaderRow, data: dict[str, Any], events: list[Event]
        ) -> None:
            data.setdefault(section, {})[key] = value
            if section == "metadata":
                events.append(
                    Event(
                        "metadata_changed",
                        header.id,
                        {"key": key, "value": value, "deleted": False},
                    )
                )

        self._edit(session_id, change, create=True)

    def _delete_value(self, session_id: str, section: str, key: str) -> bool:
        def change(
            tx: Transaction, header: HeaderRow, data: dict[str, Any], events: list[Event]
        ) -> bool:
            values = data.get(section) or {}
            if key not in values:
                raise _Unchanged
            del values[key]
            if section == "metadata":
                events.append(
                    Event(
                        "metadata_changed", header.id, {"key": key, "value": None, "deleted": True}
                    )
                )
            return True

        try:
            return self._edit(session_id, change)
        except _Unchanged:
            return False

    def put_attachment(self, session_id: str, sha256: str, record: Mapping[str, Any]) -> None:
        """Keep an attachment with a session, once however often it is used; see `attachment` for the record.

        Raises:
            InvalidRecord: `sha256` is not 64 lower-case hexadecimal digits.
        """
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise InvalidRecord("an attachment is named by its SHA-256 in hexadecimal digits")
        self._put_record(session_id, "attachment", sha256, record)

    def put_summary(
        self,
        session_id: str,
        up_to: int,
        record: Mapping[str, Any],
        *,
        uid: str | None = None,
        messages: int | None = None,
    ) -> None:
        """Keep what stands for the messages up to and including a position when sending; nothing is removed.

        Args:
            session_id: the session.
            up_to: the position of the last message it stands for.
            record: ``text``, ``model``, ``created_at`` and what else is known of it.
            uid: the session it was made of; with it, nothing is stored in another, or in none.
            messages: how many messages stood there up to that position when it was made.

        Raises:
            UsageError: no message can stand at that position.
            SessionConflict: the messages it was made of are not those that stand there now.
        """
        if not 0 <= up_to < 10**12:
            raise UsageError(f"a summary cannot stand for the messages up to position {up_to}")

        def still(tx: Transaction, header: HeaderRow) -> None:
            there = sum(1 for _ in tx.rows(header.uid, RowRange(last=up_to)))
            if uid not in (None, header.uid) or messages not in (None, there):
                raise SessionConflict(
                    f"messages of the session {session_id!r} were removed or brought back meanwhile; do it again",
                    session_id=session_id,
                )

        value = {**record, "up_to": up_to}
        make = uid is None and messages is None
        check = None if make else still
        self._put_record(session_id, "summary", f"{up_to:012d}", value, create=make, check=check)

    def _put_record(
        self,
        session_id: str,
        kind: str,
        key: str,
        record: Mapping[str, Any],
        *,
        create: bool = True,
        check: Callable[[Transaction, HeaderRow], None] | None = None,
    ) -> None:
        def change(
            tx: Transaction, header: HeaderRow, data: dict[str, Any], events: list[Event]
        ) -> None:
            if check is not None:
                check(tx, header)
            tx.put_record(header.uid, kind, key, self._seal(kind, (header.uid, key), dict(record)))

        self._edit(session_id, change, create=create)

    def _edit(
        self,
        session_id: str,
        change: Callable[[Transaction, HeaderRow, dict[str, Any], list[Event]], T],
        *,
        create: bool = False,
        updated: bool = True,
    ) -> T:
        """Change the header of one session in one step."""

        def work(tx: Transaction, events: list[Event]) -> T:
            if create:
                header = self._target(tx, check_session_id(session_id), None, events).header
                if header.payload is None:
                    header = tx.find_uid(header.uid) or header
            else:
                header = self._find(tx, session_id)
            data = self._data(header)
            result = change(tx, header, data, events)
            self._set_data(header, data)
            self._touch_header(header, tx.now(), updated=updated)
            tx.put(header)
            return result

        return self._write(work)


def _no_change(
    tx: Transaction, header: HeaderRow, data: dict[str, Any], events: list[Event]
) -> None:
    """Leave everything; what `touch` edits is the header itself."""
