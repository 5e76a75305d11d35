"""Reading: sessions, slices of messages, listings. Nothing here creates or changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from omniagent_cli.errors import CorruptSession, KeyNotFound, SessionNotFound, UsageError
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message, Session, SessionSummary
from omniagent_cli.stores.backend import (
    SORTS,
    Cursor,
    HeaderRow,
    ListQuery,
    RowRange,
    Transaction,
)
from omniagent_cli.stores.operations.search import CHUNK, Finding, bounded
from omniagent_cli.stores.unit_of_work import is_expired
from omniagent_cli.text.sanitize import is_storable

Damaged = list[CorruptSession]
"""Why sessions that a listing leaves out cannot be read."""


class SessionPage(list[SessionSummary]):
    """Summaries in order.

    Attributes:
        next_cursor: hand it to `list` for the next page; None when this was the last.
    """

    next_cursor: Cursor | None = None


class Reading(Finding):
    """The operations of a store that only read."""

    def get(self, session_id: str) -> Session:
        """Return a whole session with its messages.

        Raises:
            SessionNotFound: there is none; SessionExpired when it is known that there was one.
        """

        def work(tx: Transaction) -> Session:
            header = self._find(tx, session_id)
            return self._to_session(header, self._to_messages(header, tx.rows(header.uid)))

        return self._read(work)

    def header(self, session_id: str) -> Session:
        """Return a session without reading its messages: `messages` is empty.

        Raises:
            SessionNotFound: there is none.
        """
        return self._read(lambda tx: self._to_session(self._find(tx, session_id), []))

    def summary(self, session_id: str) -> SessionSummary:
        """Return what a listing shows of one session.

        Raises:
            SessionNotFound: there is none.
            EncryptedStore: its title is encrypted and there is no key; a listing leaves it out.
        """

        def work(tx: Transaction) -> SessionSummary:
            header = self._find(tx, session_id)
            self._data(header)
            return self._to_summary(header)

        return self._read(work)

    def exists(self, session_id: str) -> bool:
        """Tell whether there is a session with this id."""
        try:
            self._read(lambda tx: self._find(tx, session_id, payload=False))
        except SessionNotFound:
            return False
        return True

    def id_of(self, uid: str) -> str | None:
        """Return the id by which a session goes now, which may have been renamed; None when it is gone."""

        def work(tx: Transaction) -> str | None:
            header = tx.find_uid(uid, payload=False)
            gone = header is None or header.hidden or is_expired(header, tx.now())
            return None if header is None or gone else header.id

        return self._read(work)

    def count_messages(self, session_id: str) -> int:
        """Return how many messages a session has, without reading them."""
        return self._read(lambda tx: self._find(tx, session_id, payload=False).message_count)

    def messages(
        self,
        session_id: str,
        *,
        last: int | None = None,
        before: int | None = None,
        after: int | None = None,
    ) -> list[Message]:
        """Return messages, oldest first, reading no more than asked for.

        Args:
            session_id: the session.
            last: at most that many of the newest; 0 gives none.
            before: only messages with a position below this.
            after: only messages with a position above this.

        Raises:
            SessionNotFound: there is none.
            UsageError: `last` is negative.
        """
        if last is not None and last < 0:
            raise UsageError(
                f"cannot read the last {last} messages; the number must not be negative"
            )
        last = None if last is None else bounded(last)
        first = None if after is None else bounded(after + 1)
        end = None if before is None else bounded(before - 1)

        def work(tx: Transaction) -> list[Message]:
            header = self._find(tx, session_id, payload=False)
            if last is None:
                return self._to_messages(header, tx.rows(header.uid, RowRange(first, end)))
            if last == 0:
                return []
            newest = self._to_messages(
                header, tx.rows(header.uid, RowRange(first, end, newest=True, limit=last))
            )
            newest.reverse()
            return newest

        return self._read(work)

    def iter_messages(self, session_id: str) -> Iterator[Message]:
        """Yield the messages of a session, oldest first, in bounded memory.

        What is added meanwhile may be included; what was there at the start is.

        Raises:
            SessionNotFound: there is none, or it went meanwhile.
        """
        position = -1
        while chunk := self._chunk_after(session_id, position):
            yield from chunk
            position = chunk[-1].position or 0
            if len(chunk) < CHUNK:
                return

    def _chunk_after(self, session_id: str, position: int) -> list[Message]:
        def work(tx: Transaction) -> list[Message]:
            header = self._find(tx, session_id, payload=False)
            return self._to_messages(
                header, tx.rows(header.uid, RowRange(first=position + 1, limit=CHUNK))
            )

        return self._read(work)

    def get_metadata(self, session_id: str, key: str) -> Any:
        """Return one metadata value, which may be None (null).

        Raises:
            KeyNotFound: the session has no such key.
            SessionNotFound: there is no such session.
        """
        return self._value(session_id, "metadata", key)

    def get_state(self, session_id: str, key: str) -> Any:
        """Return one state value, which may be None (null).

        Raises:
            KeyNotFound: the session has no such key.
            SessionNotFound: there is no such session.
        """
        return self._value(session_id, "state", key)

    def _value(self, session_id: str, section: str, key: str) -> Any:
        values = self._read(lambda tx: self._data(self._find(tx, session_id))).get(section) or {}
        if key not in values:
            raise KeyNotFound(
                f"the session {session_id!r} has no {section} {key!r}",
                session_id=session_id,
                key=key,
            )
        return values[key]

    def attachments(self, session_id: str) -> list[str]:
        """Return the SHA-256 (hex) of each attachment of a session."""
        return self._read(
            lambda tx: [key for key, _ in tx.records(self._find(tx, session_id).uid, "attachment")]
        )

    def attachment(self, session_id: str, sha256: str) -> Any:
        """Return one attachment's record: ``name``, ``media_type``, ``size`` and ``data`` (base64), or None."""

        def work(tx: Transaction) -> Any:
            header = self._find(tx, session_id, payload=False)
            return self._record(tx, header, "attachment", sha256) if is_storable(sha256) else None

        return self._read(work)

    def last_summary(self, session_id: str) -> Any:
        """Return the newest summary record: ``up_to`` (position), ``text``, ``model``, ``created_at``, or None."""

        def work(tx: Transaction) -> Any:
            header = self._find(tx, session_id, payload=False)
            keys = [key for key, _ in tx.records(header.uid, "summary")]
            return self._record(tx, header, "summary", max(keys)) if keys else None

        return self._read(work)

    def _record(self, tx: Transaction, header: HeaderRow, kind: str, key: str) -> Any:
        payload = tx.record(header.uid, kind, key)
        return None if payload is None else self._unseal(kind, header, (header.uid, key), payload)

    def count(
        self,
        *,
        agent_id: str | None = None,
        archived: bool | None = False,
        prefix: str = "",
    ) -> int:
        """Count sessions without reading them; `archived` None counts both kinds."""
        if not is_storable(prefix + (agent_id or "")):
            return 0

        def work(tx: Transaction) -> int:
            now = format_time(tx.now())
            return tx.count(ListQuery(agent_id=agent_id, archived=archived, prefix=prefix, now=now))

        return self._read(work)

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
        damaged: Damaged | None = None,
    ) -> SessionPage:
        """Return summaries without reading messages, pinned sessions first.

        Args:
            limit: at most that many; None for all.
            cursor: `next_cursor` of the page before.
            sort: ``updated`` (last activity, newest first), ``created``, ``messages`` or ``id``.
            agent_id: only sessions of this agent.
            metadata: only sessions that have all these values.
            tags: only sessions that have all these tags.
            prefix: only ids that begin so.
            since: only sessions active at or after this.
            until: only sessions active before this.
            archived: whether archived sessions are listed alone; None lists both kinds.
            damaged: gets the errors of sessions that cannot be read, which are then left out.

        Raises:
            UsageError: an unknown sort, or a negative limit.
            CorruptSession: one cannot be read, and `damaged` is None.
        """
        if sort not in SORTS:
            raise UsageError(f"cannot sort by {sort!r}; choose one of {', '.join(SORTS)}")
        if limit is not None and limit < 0:
            raise UsageError(f"cannot list {limit} sessions; the number must not be negative")
        if not is_storable(prefix + (agent_id or "")):
            return SessionPage()  # nothing can be called so
        wanted = {**(metadata or {})}

        def work(tx: Transaction) -> SessionPage:
            query = ListQuery(
                sort=sort,
                limit=CHUNK if limit is None or wanted or tags else bounded(limit + 1),
                after=cursor,
                archived=archived,
                prefix=prefix,
                agent_id=agent_id,
                updated_from=format_time(since) if since else None,
                updated_before=format_time(until) if until else None,
                now=format_time(tx.now()),
            )
            if damaged is not None:
                damaged.clear()  # a unit of work may be run again
            return self._page(tx, query, limit, wanted, tags, damaged)

        return self._read(work)

    def _page(
        self,
        tx: Transaction,
        query: ListQuery,
        limit: int | None,
        metadata: dict[str, Any],
        tags: Sequence[str],
        damaged: Damaged | None,
    ) -> SessionPage:
        page = SessionPage()
        after = query.after
        last: HeaderRow | None = None
        while limit != 0:
            headers = tx.headers(replace(query, after=after))
            for header in headers:
                try:
                    if metadata or tags:
                        self._data(header)  # without the key nobody can tell
                    summary = self._to_summary(header)
                except CorruptSession as error:
                    if damaged is None:
                        raise
                    damaged.append(error)
                    continue
                if not _has(summary, metadata, tags):
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


def _has(summary: SessionSummary, metadata: dict[str, Any], tags: Sequence[str]) -> bool:
    missing = object()
    return all(
        summary.metadata.get(key, missing) == value for key, value in metadata.items()
    ) and set(tags) <= set(summary.tags)
