"""Read operations: sessions, ranges of messages, listings. They create and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from omniagent_cli.errors import CorruptSession, KeyNotFound, SessionNotFound, UsageError
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message, Session, SessionSummary
from omniagent_cli.stores.backend import (
    CHUNK,
    SORTS,
    Cursor,
    HeaderRow,
    ListQuery,
    RowRange,
    clamp,
)
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork
from omniagent_cli.text.sanitize import is_storable

Damaged = list[CorruptSession]
"""Errors of the sessions that a listing omits because they cannot be read."""


class SessionPage(list[SessionSummary]):
    """Summaries in order.

    Attributes:
        next_cursor: `cursor` argument for the next page of `list`; None after the last page.
    """

    next_cursor: Cursor | None = None


class ReadOperations(StoreBase):
    """Operations that only read."""

    def get(self, session_id: str) -> Session:
        """Return a whole session with its messages.

        Raises:
            SessionNotFound: the session does not exist; SessionExpired if it is known to have expired.
        """

        def work(unit: UnitOfWork) -> Session:
            header = unit.find(session_id)
            return unit.to_session(header, unit.messages(header))

        return self.read_unit(work)

    def header(self, session_id: str) -> Session:
        """Return a session without reading its messages: `messages` is empty.

        Raises:
            SessionNotFound: the session does not exist.
        """
        return self.read_unit(lambda unit: unit.to_session(unit.find(session_id), []))

    def summary(self, session_id: str) -> SessionSummary:
        """Return the summary of one session, as `list` returns it.

        Raises:
            SessionNotFound: the session does not exist.
            EncryptedStore: its title is encrypted and there is no key; `list` omits the title instead.
        """

        def work(unit: UnitOfWork) -> SessionSummary:
            header = unit.find(session_id)
            unit.data(header)
            return unit.to_summary(header)

        return self.read_unit(work)

    def exists(self, session_id: str) -> bool:
        """Return True if the session exists."""
        try:
            self.read_unit(lambda unit: unit.find(session_id, payload=False))
        except SessionNotFound:
            return False
        return True

    def current_id(self, uid: str) -> str | None:
        """Return the current id of a session, which may have been renamed; None if it no longer exists."""

        def work(unit: UnitOfWork) -> str | None:
            header = unit.tx.find_uid(uid, payload=False)
            gone = header is None or header.hidden or header.is_expired(unit.now())
            return None if header is None or gone else header.id

        return self.read_unit(work)

    def count_messages(self, session_id: str) -> int:
        """Return the number of messages of a session, without reading them."""
        return self.read_unit(lambda unit: unit.find(session_id, payload=False).message_count)

    def messages(
        self,
        session_id: str,
        *,
        last: int | None = None,
        before: int | None = None,
        after: int | None = None,
    ) -> list[Message]:
        """Return messages, oldest first; no others are read.

        Args:
            session_id: the session.
            last: maximum number of messages, counted from the newest; 0 returns none.
            before: only messages with a position below this.
            after: only messages with a position above this.

        Raises:
            SessionNotFound: the session does not exist.
            UsageError: `last` is negative.
        """
        if last is not None and last < 0:
            raise UsageError(
                f"cannot read the last {last} messages; the number must not be negative"
            )
        last = None if last is None else clamp(last)
        first = None if after is None else clamp(after + 1)
        end = None if before is None else clamp(before - 1)

        def work(unit: UnitOfWork) -> list[Message]:
            header = unit.find(session_id, payload=False)
            if last is None:
                return unit.messages(header, RowRange(first, end))
            if last == 0:
                return []
            newest = unit.messages(header, RowRange(first, end, newest=True, limit=last))
            newest.reverse()
            return newest

        return self.read_unit(work)

    def iter_messages(self, session_id: str) -> Iterator[Message]:
        """Yield the messages of a session, oldest first, in bounded memory.

        Messages appended during the iteration may be included.

        Raises:
            SessionNotFound: the session does not exist, or was removed during the iteration.
        """
        position = -1
        while chunk := self._chunk_after(session_id, position):
            yield from chunk
            position = chunk[-1].position or 0
            if len(chunk) < CHUNK:
                return

    def _chunk_after(self, session_id: str, position: int) -> list[Message]:
        def work(unit: UnitOfWork) -> list[Message]:
            header = unit.find(session_id, payload=False)
            return unit.messages(header, RowRange(first=position + 1, limit=CHUNK))

        return self.read_unit(work)

    def get_metadata(self, session_id: str, key: str) -> Any:
        """Return one metadata value, which may be None (null).

        Raises:
            KeyNotFound: the session has no such key.
            SessionNotFound: the session does not exist.
        """
        return self._value(session_id, "metadata", key)

    def get_state(self, session_id: str, key: str) -> Any:
        """Return one state value, which may be None (null).

        Raises:
            KeyNotFound: the session has no such key.
            SessionNotFound: the session does not exist.
        """
        return self._value(session_id, "state", key)

    def _value(self, session_id: str, section: str, key: str) -> Any:
        data = self.read_unit(lambda unit: unit.data(unit.find(session_id)))
        values = data.get(section) or {}
        if key not in values:
            raise KeyNotFound(
                f"the session {session_id!r} has no {section} {key!r}",
                session_id=session_id,
                key=key,
            )
        return values[key]

    def count(
        self,
        *,
        agent_id: str | None = None,
        archived: bool | None = False,
        prefix: str = "",
    ) -> int:
        """Return the number of sessions without reading them; `archived` None counts both kinds."""
        if not is_storable(prefix + (agent_id or "")):
            return 0

        def work(unit: UnitOfWork) -> int:
            now = format_time(unit.now())
            query = ListQuery(agent_id=agent_id, archived=archived, prefix=prefix, now=now)
            return unit.tx.count(query)

        return self.read_unit(work)

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: Cursor | None = None,
        sort: str = "updated",
        agent_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        prefix: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        archived: bool | None = False,
        cwd: str | None = None,
        ids: Sequence[str] | None = None,
        damaged: Damaged | None = None,
    ) -> SessionPage:
        """Return summaries without reading messages, pinned sessions first.

        Args:
            limit: maximum number of sessions; None for all.
            cursor: `next_cursor` of the previous page.
            sort: ``updated`` (last activity, newest first), ``created``, ``messages`` or ``id``.
            agent_id: only sessions of this agent.
            metadata: only sessions that have all these values.
            tags: only sessions that have all these tags.
            prefix: only ids with this prefix.
            since: only sessions active at or after this time.
            until: only sessions active before this time.
            archived: True lists only archived sessions, False only others, None both.
            cwd: only sessions that began in this directory, see `Session.origin`.
            ids: only these sessions; no others are read.
            damaged: receives the errors of unreadable sessions, which are then omitted.

        Raises:
            UsageError: an unknown sort, or a negative limit.
            CorruptSession: a session cannot be read, and `damaged` is None.
        """
        if sort not in SORTS:
            raise UsageError(f"cannot sort by {sort!r}; choose one of {', '.join(SORTS)}")
        if limit is not None and limit < 0:
            raise UsageError(f"cannot list {limit} sessions; the number must not be negative")
        if not is_storable(prefix + (agent_id or "")):
            return SessionPage()  # no id or agent can contain this
        wanted = PayloadFilter({**(metadata or {})}, frozenset(tags), cwd)

        def work(unit: UnitOfWork) -> SessionPage:
            query = ListQuery(
                sort=sort,
                limit=CHUNK if limit is None or wanted else clamp(limit + 1),
                after=cursor,
                archived=archived,
                prefix=prefix,
                agent_id=agent_id,
                updated_from=format_time(since) if since else None,
                updated_before=format_time(until) if until else None,
                now=format_time(unit.now()),
            )
            if damaged is not None:
                damaged.clear()  # a unit of work may be run again
            if ids is None:
                return _page(unit, unit.tx.headers, query, limit, wanted, damaged)
            named = [header for one in ids if (header := unit.tx.find(one)) is not None]
            return _page(unit, lambda query: query.select(named), query, limit, wanted, damaged)

        return self.read_unit(work)


@dataclass(frozen=True, slots=True)
class PayloadFilter:
    """Filters on the payload of a header, which no backend has an index for."""

    metadata: dict[str, Any]
    tags: frozenset[str]
    cwd: str | None

    def __bool__(self) -> bool:
        return bool(self.metadata or self.tags or self.cwd is not None)

    def matches(self, summary: SessionSummary) -> bool:
        """Return True if a session passes the filter."""
        missing = object()
        return (
            all(summary.metadata.get(k, missing) == value for k, value in self.metadata.items())
            and self.tags <= set(summary.tags)
            and (self.cwd is None or summary.origin.get("cwd") == self.cwd)
        )


def _page(
    unit: UnitOfWork,
    fetch: Callable[[ListQuery], Sequence[HeaderRow]],
    query: ListQuery,
    limit: int | None,
    wanted: PayloadFilter,
    damaged: Damaged | None,
) -> SessionPage:
    page = SessionPage()
    after = query.after
    last: HeaderRow | None = None
    while limit != 0:
        headers = fetch(replace(query, after=after))
        for header in headers:
            try:
                if wanted:
                    unit.data(header)  # raises if there is no key
                summary = unit.to_summary(header)
            except CorruptSession as error:
                if damaged is None:
                    raise
                damaged.append(error)
                continue
            if not wanted.matches(summary):
                continue
            if limit is not None and len(page) == limit:
                page.next_cursor = None if last is None else query.cursor(last)
                return page
            page.append(summary)
            last = header
        if len(headers) < query.limit:
            break
        after = query.cursor(headers[-1])
    return page
