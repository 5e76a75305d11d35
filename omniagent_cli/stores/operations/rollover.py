"""Setting a conversation aside: it becomes a session of its own, and its id begins empty. Nothing is erased."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from omniagent_cli.errors import InvalidSessionId
from omniagent_cli.json_format import parse_time
from omniagent_cli.models import check_session_id, new_session_id
from omniagent_cli.stores.backend import HeaderRow, RowRange, Transaction
from omniagent_cli.stores.continuation_links import CONTINUED_IN, CONTINUES, REASON, Links
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.unit_of_work import is_expired


@dataclass(frozen=True, slots=True)
class Aside:
    """A conversation to be set aside.

    Attributes:
        session_id: what it is to be called; a number is added when that is taken.
        reason: why, as its metadata tell.
    """

    session_id: str
    reason: str


Due = Callable[[datetime, datetime], Aside | None]
"""Given the time of the last message and the present time, says whether the session is to be set aside."""


class Asides(Links):
    """The operation of a store by which a session begins anew under its id."""

    def set_aside(self, session_id: str, due: Due) -> Aside | None:
        """Give a session another id, and let its own begin empty, in one step, when it is due.

        What is set aside stays the same session, with its messages, title, metadata and times; a turn that runs in it
        ends in it. The new one has its metadata, state, model, agent and time to live. Each names the other in its
        metadata: `CONTINUES` and `CONTINUED_IN`.

        Args:
            session_id: the session; there may be none. One without messages is never due, nor is one that was set
                aside: whoever opens that again wants to go on from what was said in it.
            due: decides, by the time of the backend; two processes at once set aside once.

        Returns:
            What became of it; None when it was not due.
        """
        check_session_id(session_id)
        if self._read(lambda tx: self._due(tx, session_id, due)) is None:
            return None  # nearly always: nobody has to wait for a lock to learn that

        def work(tx: Transaction, events: list[Event]) -> Aside | None:
            found = self._due(tx, session_id, due)
            if found is None:
                return None
            header, wanted = found
            aside = Aside(self._untaken(tx, wanted.session_id), wanted.reason)
            self._split(tx, header, aside)
            events.append(
                Event(
                    "session_rolled",
                    session_id,
                    {"aside": aside.session_id, "reason": aside.reason},
                )
            )
            return aside

        return self._write(work)

    def _due(self, tx: Transaction, session_id: str, due: Due) -> tuple[HeaderRow, Aside] | None:
        header = tx.find(session_id)
        if header is None or is_expired(header, tx.now()):
            return None
        newest = next(iter(tx.rows(header.uid, RowRange(newest=True, limit=1))), None)
        aside = due(parse_time(newest.created_at), tx.now()) if newest is not None else None
        if aside is None or CONTINUED_IN in (self._data(header).get("metadata") or {}):
            return None
        return header, aside

    def _untaken(self, tx: Transaction, wanted: str) -> str:
        try:
            for number in count(1):
                session_id = check_session_id(wanted if number == 1 else f"{wanted}-{number}")
                if tx.find(session_id, payload=False) is None:
                    return session_id
        except InvalidSessionId:  # the id it is made from fills the room there is
            pass
        return new_session_id(tx.now())

    def _split(self, tx: Transaction, header: HeaderRow, aside: Aside) -> None:
        now, session_id = tx.now(), header.id
        data = self._data(header)
        metadata: dict[str, Any] = data.get("metadata") or {}
        self._relink(tx, metadata.get(CONTINUES), CONTINUED_IN, session_id, aside.session_id)
        fresh = self._fresh(session_id, now)
        fresh.agent_id, fresh.model, fresh.ttl_seconds = (
            header.agent_id,
            header.model,
            header.ttl_seconds,
        )
        kept = {**metadata, CONTINUES: aside.session_id}
        self._set_data(fresh, {"metadata": kept, "state": data.get("state") or {}})
        self._touch_header(fresh, now)
        header.id = aside.session_id
        links = {CONTINUED_IN: session_id, REASON: aside.reason}
        self._set_data(header, {**data, "metadata": {**metadata, **links}})
        self._touch_header(header, now, updated=False)
        tx.put(header)
        tx.put(fresh)
