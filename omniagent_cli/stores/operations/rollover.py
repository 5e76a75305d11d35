"""Session rollover: rename the old session and start an empty one under its id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from omniagent_cli.errors import InvalidSessionId
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.models import check_session_id, new_session_id
from omniagent_cli.stores.backend import HeaderRow
from omniagent_cli.stores.continuation_links import CONTINUED_IN, CONTINUES, REASON, relink
from omniagent_cli.stores.facts import facts_of, restamp
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class RolledOverSession:
    """A session that is rolled over.

    Attributes:
        session_id: its new id; a number is appended if that is taken.
        reason: the reason, stored in its metadata.
    """

    session_id: str
    reason: str


RolloverPolicy = Callable[[datetime, datetime], RolledOverSession | None]
"""Function of the last message's time and the current time; returns None if the session is not to be rolled over."""


class RolloverOperations(StoreBase):
    """The operation that rolls over a session."""

    def roll_over(self, session_id: str, policy: RolloverPolicy) -> RolledOverSession | None:
        """Rename a session and start an empty one under its id, in one transaction, if the policy requires it.

        The old session keeps its messages, title, metadata and times; a running turn ends in it. The new one gets its
        metadata, state, model, agent and time to live. Each refers to the other in its metadata: `CONTINUES` and
        `CONTINUED_IN`.

        Args:
            session_id: the session, which need not exist. A session without messages is never rolled over, nor is one
                that was rolled over before, because opening it again means to continue it.
            policy: decides, by the backend's clock; of two concurrent processes only one rolls over.

        Returns:
            The old session, or None if it was not rolled over.
        """
        check_session_id(session_id)
        if self.read_unit(lambda unit: _due(unit, session_id, policy)) is None:
            return None  # the usual case needs no lock

        def work(unit: UnitOfWork) -> RolledOverSession | None:
            found = _due(unit, session_id, policy)
            if found is None:
                return None
            header, wanted = found
            old = RolledOverSession(_unused_id(unit, wanted.session_id), wanted.reason)
            _split(unit, header, old)
            unit.emit("session_rolled", session_id, moved_to=old.session_id, reason=old.reason)
            return old

        return self.write_unit(work)


def _due(
    unit: UnitOfWork, session_id: str, policy: RolloverPolicy
) -> tuple[HeaderRow, RolledOverSession] | None:
    header = unit.tx.find(session_id)
    if header is None or header.is_expired(unit.now()):
        return None
    newest = unit.newest_row(header.uid)
    old = policy(parse_time(newest.created_at), unit.now()) if newest is not None else None
    if old is None or CONTINUED_IN in (unit.data(header).get("metadata") or {}):
        return None
    return header, old


def _unused_id(unit: UnitOfWork, wanted: str) -> str:
    try:
        for number in count(1):
            session_id = check_session_id(wanted if number == 1 else f"{wanted}-{number}")
            if unit.tx.find(session_id, payload=False) is None:
                return session_id
    except InvalidSessionId:  # the id it is derived from has the maximum length
        pass
    return new_session_id(unit.now())


def _split(unit: UnitOfWork, header: HeaderRow, old: RolledOverSession) -> None:
    now, session_id = unit.now(), header.id
    data = unit.data(header)
    before = facts_of(header, data)
    metadata: dict[str, Any] = data.get("metadata") or {}
    relink(unit, metadata.get(CONTINUES), CONTINUED_IN, session_id, old.session_id)
    fresh = unit.fresh(session_id, now)
    fresh.agent_id, fresh.model = header.agent_id, header.model
    fresh.ttl_seconds = header.ttl_seconds
    kept = {**metadata, CONTINUES: old.session_id}
    unit.set_data(fresh, {"metadata": kept, "state": data.get("state") or {}})
    unit.touch(fresh, now, activity=True)
    header.id = old.session_id
    links = {CONTINUED_IN: session_id, REASON: old.reason}
    data = {**data, "metadata": {**metadata, **links}}
    restamp(before, header, data, format_time(now))
    unit.set_data(header, data)
    unit.touch(header, now, activity=False)
    unit.tx.put(header)
    unit.tx.put(fresh)
