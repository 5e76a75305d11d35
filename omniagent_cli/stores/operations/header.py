"""Header operations: id, title, model, time to live, metadata, state and tags of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from omniagent_cli.durations import ttl_seconds
from omniagent_cli.errors import InvalidRecord
from omniagent_cli.json_format import dump, format_time
from omniagent_cli.models import check_session_id
from omniagent_cli.stores.backend import HeaderRow
from omniagent_cli.stores.continuation_links import CONTINUED_IN, CONTINUES, relink
from omniagent_cli.stores.facts import facts_of, restamp
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork

T = TypeVar("T")
_Data = dict[str, Any]


class _UnchangedError(Exception):
    """Ends a unit of work that has nothing to change."""


class HeaderOperations(StoreBase):
    """Operations that change a session's header."""

    def rename(self, session_id: str, new_id: str) -> None:
        """Change a session's id; uid, messages and times stay, and links from other sessions are updated.

        Raises:
            SessionExists: the new id is taken.
        """
        check_session_id(new_id)

        def change(unit: UnitOfWork, header: HeaderRow, data: _Data) -> None:
            unit.ensure_unused(new_id)
            header.id = new_id
            links = data.get("metadata") or {}
            relink(unit, links.get(CONTINUES), CONTINUED_IN, session_id, new_id)
            relink(unit, links.get(CONTINUED_IN), CONTINUES, session_id, new_id)

        if new_id == session_id:
            self.read_unit(lambda unit: unit.find(session_id, payload=False))
        else:
            self._edit(session_id, change)

    def set_title(self, session_id: str, title: str, *, source: str = "user") -> None:
        """Set a session's title. Only source ``user`` replaces a title that the user gave."""

        def change(unit: UnitOfWork, header: HeaderRow, data: _Data) -> None:
            if source == "user" or data.get("title_source") != "user":
                data["title"], data["title_source"] = title, source

        self._edit(session_id, change)

    def set_model(self, session_id: str, model: str) -> None:
        """Pin the model of a session; an empty text unpins it."""

        def change(unit: UnitOfWork, header: HeaderRow, data: _Data) -> None:
            header.model = model

        self._edit(session_id, change)

    def touch(self, session_id: str) -> None:
        """Restart the session's time to live; of its facts only `modified_at` changes.

        Raises:
            SessionNotFound: the session does not exist.
        """
        self._edit(session_id, lambda _unit, _header, _data: None)

    def set_ttl(self, session_id: str, ttl: timedelta | float | str | None) -> None:
        """Set how long after its last activity a session expires; None or zero: never."""
        seconds = ttl_seconds(ttl)

        def change(unit: UnitOfWork, header: HeaderRow, data: _Data) -> None:
            header.ttl_seconds = seconds

        self._edit(session_id, change)

    def set_metadata(self, session_id: str, key: str, value: Any) -> None:
        """Set one metadata value (any JSON value); create the session if it does not exist."""
        self._set_value(session_id, "metadata", key, value)

    def set_state(self, session_id: str, key: str, value: Any) -> None:
        """Set one state value (any JSON value); create the session if it does not exist."""
        self._set_value(session_id, "state", key, value)

    def delete_metadata(self, session_id: str, key: str) -> bool:
        """Remove one metadata value and return True if it existed."""
        return self._delete_value(session_id, "metadata", key)

    def delete_state(self, session_id: str, key: str) -> bool:
        """Remove one state value and return True if it existed."""
        return self._delete_value(session_id, "state", key)

    def tag(
        self, session_id: str, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> list[str]:
        """Add and remove tags in one step and return the session's tags, sorted."""
        added, removed = set(add), set(remove)
        if any(not isinstance(tag, str) or not tag.strip() for tag in added | removed):
            raise InvalidRecord("a tag must not be blank")

        def change(unit: UnitOfWork, header: HeaderRow, data: _Data) -> list[str]:
            metadata = data.setdefault("metadata", {})
            listed = metadata.get("tags")
            known = {t for t in listed if isinstance(t, str)} if isinstance(listed, list) else set()
            tags = sorted(known - removed | added)
            metadata["tags"] = tags
            if not tags:
                del metadata["tags"]
            unit.emit("metadata_changed", header.id, key="tags", value=tags, deleted=not tags)
            return tags

        return self._edit(session_id, change)

    def _set_value(self, session_id: str, section: str, key: str, value: Any) -> None:
        if not isinstance(key, str) or not key.strip():
            raise InvalidRecord(f"a {section} key must not be blank")
        dump({key: value})

        def change(unit: UnitOfWork, header: HeaderRow, data: _Data) -> None:
            data.setdefault(section, {})[key] = value
            if section == "metadata":
                unit.emit("metadata_changed", header.id, key=key, value=value, deleted=False)

        self._edit(session_id, change, create=True)

    def _delete_value(self, session_id: str, section: str, key: str) -> bool:
        def change(unit: UnitOfWork, header: HeaderRow, data: _Data) -> bool:
            values = data.get(section) or {}
            if key not in values:
                raise _UnchangedError
            del values[key]
            if section == "metadata":
                unit.emit("metadata_changed", header.id, key=key, value=None, deleted=True)
            return True

        try:
            return self._edit(session_id, change)
        except _UnchangedError:
            return False

    def _edit(
        self,
        session_id: str,
        change: Callable[[UnitOfWork, HeaderRow, _Data], T],
        *,
        create: bool = False,
    ) -> T:
        """Change the header of one session in one step, which is not activity."""

        def work(unit: UnitOfWork) -> T:
            if create:
                header = unit.open_for_writing(check_session_id(session_id), payload=True).header
            else:
                header = unit.find(session_id)
            data = unit.data(header)
            before = facts_of(header, data)
            result = change(unit, header, data)
            restamp(before, header, data, format_time(unit.now()))
            unit.set_data(header, data)
            unit.touch(header, unit.now(), activity=False)
            unit.tx.put(header)
            return result

        return self.write_unit(work)


def set_values(
    unit: UnitOfWork, header: HeaderRow, section: str, values: Mapping[str, Any]
) -> None:
    """Set metadata or state values in a header that was read with its payload; the caller stores it."""
    data = unit.data(header)
    before = facts_of(header, data)
    data.setdefault(section, {}).update(values)
    restamp(before, header, data, format_time(unit.now()))
    unit.set_data(header, data)
