"""The store: every operation and every rule, over hooks that move records.

The operations are written once, in this order of dependence: `core` (units of work, payloads, expiry),
`finding`, `reading`, `writing`, `saving`, `attributes`, `trash`, `undoing`, `asides`, and here what concerns whole
sessions and the store. A backend subclasses `SessionStore` and implements `_run`, `_close` and `url` with a `records.Transaction`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omniagent_cli.errors import SessionConflict, UsageError
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message, Session, check_session_id, new_session_id
from omniagent_cli.stores.backend import HIDDEN, HeaderRow, ListQuery, RowRange, Transaction
from omniagent_cli.stores.continuation_links import CONTINUED_IN, REASON
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.operations.append import place_messages
from omniagent_cli.stores.operations.rollover import Asides
from omniagent_cli.stores.operations.search import CHUNK, bounded
from omniagent_cli.stores.operations.undo import Undoing
from omniagent_cli.stores.unit_of_work import DEFAULT_SESSION_TTL, DEFAULT_TRASH_TTL, is_expired

if TYPE_CHECKING:
    from omniagent_cli.stores.encryption.cipher import Key
    from omniagent_cli.stores.handle import SessionHandle
    from omniagent_cli.stores.maintenance.check import Findings
    from omniagent_cli.stores.maintenance.rekey import Recoded

__all__ = ["DEFAULT_SESSION_TTL", "DEFAULT_TRASH_TTL", "SessionStore"]

_ITS_OWN = frozenset({"pinned", CONTINUED_IN, REASON})  # of the metadata: what a copy does not have


class SessionStore(Undoing, Asides):
    """Where sessions live. Thread-safe; what it returns is the caller's own; a context manager closes it.

    Args of every backend:
        ttl: time to live that new sessions get: a timedelta, seconds, text like ``7d``, or None for never.
        trash_ttl: how long removed text can be restored; None: not at all.
        clock: returns the current time; for tests.
    """

    def session(self, session_id: str) -> SessionHandle:
        """Return one session of this store as an object; it comes into being with its first write."""
        from omniagent_cli.stores.handle import SessionHandle

        return SessionHandle(self, check_session_id(session_id))

    def fork(self, session_id: str, new_id: str | None = None, *, at: int | None = None) -> str:
        """Copy a session, up to and including the message at a position, and return the copy's id.

        Messages keep their ids and positions; the copy's metadata says where it came from.

        Raises:
            SessionNotFound: there is no such session.
            SessionExists: `new_id` is taken.
            UsageError: no message stands at or before `at`.
        """

        def work(tx: Transaction, events: list[Event]) -> str:
            source = self._find(tx, session_id)
            now = tx.now()
            target_id = check_session_id(new_id) if new_id is not None else new_session_id(now)
            self._free(tx, target_id)
            target = self._fresh(target_id, now)
            target.ttl_seconds, target.agent_id = source.ttl_seconds, source.agent_id
            target.model = source.model
            data = self._data(source)
            origin = {"forked_from": source.id, **({} if at is None else {"forked_at": at})}
            kept = {k: v for k, v in (data.get("metadata") or {}).items() if k not in _ITS_OWN}
            last = self._copy_rows(tx, source, target, None if at is None else bounded(at))
            self._set_data(target, {**data, "metadata": {**kept, **origin}})
            self._set_preview(target, last)
            self._touch_header(target, now)
            tx.put(target)
            events.append(Event("session_created", target_id))
            return target_id

        return self._write(work)

    def _copy_rows(
        self, tx: Transaction, source: HeaderRow, target: HeaderRow, at: int | None
    ) -> Message | None:
        """Copy messages and other records to a new session and return the last message."""
        last: Message | None = None
        first = 0
        tx.put(target)
        while messages := self._to_messages(
            source, tx.rows(source.uid, RowRange(first, at, limit=CHUNK))
        ):
            rows = [self._to_row(target.uid, message) for message in messages]
            tx.insert(target.uid, rows, [self._index_text(message) for message in messages])
            target.message_count += len(messages)
            last = messages[-1]
            first = (last.position or 0) + 1
        if last is None and source.message_count:
            raise UsageError(f"{source.id!r} has no message at or before position {at}")
        target.next_position = first
        for kind in ("attachment", "summary"):
            for key, payload in tx.records(source.uid, kind):
                if kind == "summary" and int(key) >= first:
                    continue
                value = self._unseal(kind, source, (source.uid, key), payload)
                tx.put_record(target.uid, kind, key, self._seal(kind, (target.uid, key), value))
        return last

    def iter_records(self, session_id: str, kind: str) -> Iterator[tuple[str, Any]]:
        """Yield the other records of a session (``attachment``, ``summary``) by key, one at a time.

        Raises:
            SessionNotFound: there is no such session.
        """

        def keys(tx: Transaction) -> list[str]:
            header = self._find(tx, session_id, payload=False)
            return [key for key, _ in tx.records(header.uid, kind)]

        for key in self._read(keys):
            value = self._record_of(session_id, kind, key)
            if value is not None:
                yield key, value

    def _record_of(self, session_id: str, kind: str, key: str) -> Any:
        return self._read(
            lambda tx: self._record(tx, self._find(tx, session_id, payload=False), kind, key)
        )

    # Sessions brought in from elsewhere, whole or not at all. What is staged need not be on disk before it is
    # published, which is.

    def stage(self, session: Session) -> str:
        """Begin to bring in a session: a hidden one that `stage_messages` fills and `publish` shows.

        Returns:
            The uid to hand to the other two. What is never published goes after a day.
        """
        check_session_id(session.id)

        def work(tx: Transaction, events: list[Event]) -> str:
            now = tx.now()
            header = self._fresh("", now)
            header.id, header.hidden = HIDDEN + header.uid, True
            header.ttl_seconds = 86_400.0
            self._touch_header(header, now)
            self._set_data(header, {})
            tx.put(header)
            return header.uid

        return self._write(work, durable=False)

    def stage_messages(
        self, uid: str, messages: Iterable[Message], *, trusted: bool = False
    ) -> None:
        """Add messages to a staged session; those with positions keep them, which must ascend.

        Args:
            uid: what `stage` returned.
            messages: what to add.
            trusted: the messages were checked, have ids, times and positions, and are given away: they are
                stored as they are, and a turn that is absent stays absent.
        """
        given = list(messages)
        if not trusted:
            given = [Message.from_record(message.record, message.position) for message in given]
        if not given:
            return

        def work(tx: Transaction, events: list[Event]) -> None:
            header = self._staged(tx, uid)
            own = given
            if not trusted:
                own = [message.copy() for message in given]
                place_messages(own, format_time(tx.now()), header.next_position)
            self._count_in(tx, header, own)
            self._touch_header(header, tx.now())
            tx.put(header)
            tx.insert(uid, [self._to_row(uid, m) for m in own], [self._index_text(m) for m in own])

        self._write(work, durable=False)

    def _count_in(self, tx: Transaction, header: HeaderRow, messages: Sequence[Message]) -> None:
        """Bring the header of a session that is being brought in up to date with more messages."""
        header.message_count += len(messages)
        header.next_position = (messages[-1].position or 0) + 1
        self._set_preview(header, messages[-1])
        if not self._data(header).get("title"):
            self._title_from(tx, header, messages)

    def stage_record(self, uid: str, kind: str, key: str, record: Mapping[str, Any]) -> None:
        """Add another record (``attachment`` or ``summary``) to a staged session."""

        def work(tx: Transaction, events: list[Event]) -> None:
            self._staged(tx, uid)
            tx.put_record(uid, kind, key, self._seal(kind, (uid, key), dict(record)))

        self._write(work, durable=False)

    def publish(
        self,
        uid: str | None,
        session: Session,
        *,
        messages: Sequence[Message] = (),
        replace: bool = False,
        auto_title: bool = True,
    ) -> None:
        """Show a staged session under the id, times and facts of `session` (its messages are not looked at).

        Args:
            uid: what `stage` returned; None when all of it comes now, which needs no staging.
            session: the header to give it; absent times become now.
            messages: its last messages, trusted as in `stage_messages`.
            replace: put a session that holds the id in the trash first.
            auto_title: call a session without a title by its first question.

        Raises:
            SessionExists: the id is taken and `replace` is not set; the staged session stays hidden.
        """

        def work(tx: Transaction, events: list[Event]) -> None:
            header = self._fresh("", tx.now()) if uid is None else self._staged(tx, uid)
            if messages:
                self._count_in(tx, header, messages)
            holder = tx.find(session.id)
            if replace and holder is not None:
                self._trash_or_remove(tx, holder)
            else:
                self._free(tx, session.id)
            title, source = session.title, session.title_source
            if not title and auto_title:
                title = self._data(header).get("title", "")
                source = "auto" if title else source
            header.id, header.hidden = session.id, False
            header.agent_id, header.model = session.agent_id, session.model
            header.ttl_seconds = session.ttl_seconds
            now = tx.now()
            self._touch_header(header, now)
            header.created_at = format_time(session.created_at or now)
            header.updated_at = format_time(session.updated_at or now)
            data = {**session.unknown, "title": title, "title_source": source}
            self._set_data(header, {**data, "metadata": session.metadata, "state": session.state})
            tx.put(header)
            if messages:
                rows = [self._to_row(header.uid, message) for message in messages]
                tx.insert(header.uid, rows, [self._index_text(message) for message in messages])
            events.append(Event("session_created", session.id))

        self._write(work)

    def absorb(self, uid: str, session_id: str, *, revision: int) -> int:
        """Move the messages of a staged session, in one step, to the end of one that is there.

        Attachments it lacks come along; everything else of the session stays as it is.

        Args:
            uid: what `stage` returned.
            session_id: the session that goes on.
            revision: the session's revision as the caller saw it.

        Returns:
            How many messages it gained.

        Raises:
            SessionConflict: it was changed since.
        """

        def work(tx: Transaction, events: list[Event]) -> int:
            staged, header = self._staged(tx, uid), self._find(tx, session_id)
            if header.revision != revision:
                raise SessionConflict(
                    f"the session {session_id!r} was changed meanwhile; import again",
                    session_id=session_id,
                )
            self._absorb_rows(tx, staged, header, events)
            known = {key for key, _ in tx.records(header.uid, "attachment")}
            for key, payload in tx.records(uid, "attachment"):
                if key not in known:
                    value = self._unseal("attachment", staged, (uid, key), payload)
                    sealed = self._seal("attachment", (header.uid, key), value)
                    tx.put_record(header.uid, "attachment", key, sealed)
            self._touch_header(header, tx.now())
            tx.put(header)
            tx.remove(uid)
            return staged.message_count

        return self._write(work)

    def _absorb_rows(
        self, tx: Transaction, staged: HeaderRow, header: HeaderRow, events: list[Event]
    ) -> None:
        first = 0
        while messages := self._to_messages(
            staged, tx.rows(staged.uid, RowRange(first, limit=CHUNK))
        ):
            first = (messages[-1].position or 0) + 1
            for number, message in enumerate(messages):
                message.position = header.next_position + number
            rows = [self._to_row(header.uid, message) for message in messages]
            tx.insert(header.uid, rows, [self._index_text(message) for message in messages])
            header.message_count += len(messages)
            header.next_position += len(messages)
            self._set_preview(header, messages[-1])
            self._announce(header, messages, events)

    def unstage(self, uid: str) -> None:
        """Drop a staged session; what is not staged is left alone."""

        def work(tx: Transaction, events: list[Event]) -> None:
            header = tx.find_uid(uid)
            if header is not None and header.hidden and "trash" not in self._data(header):
                tx.remove(uid)

        self._write(work)

    def _staged(self, tx: Transaction, uid: str) -> HeaderRow:
        """Return the header of a staged session.

        Raises:
            UsageError: there is none, or its day is over.
        """
        header = tx.find_uid(uid)
        if header is None or not header.hidden or "trash" in self._data(header):
            raise UsageError("this staged session is gone; begin the import again")
        if is_expired(header, tx.now()):
            raise UsageError(
                "this staged session waited for more than a day; begin the import again"
            )
        return header

    def _trash_or_remove(self, tx: Transaction, header: HeaderRow) -> None:
        if self._trash_seconds is None:
            tx.remove(header.uid)
        else:
            self._hide(tx, header, "deleted", tx.now())

    def encrypt(self, key: Key, progress: Callable[[int], object] | None = None) -> Recoded:
        """Encrypt everything in the store where it is; afterwards nothing readable is left in any of its files.

        Others go on meanwhile if they have the key, else they are refused at once. What was interrupted goes on when
        this is called again. The result names backups that are still plain.

        Args:
            key: 16, 24 or 32 bytes, or a `Passphrase`. Who loses it loses the conversations.
            progress: called with the number of messages gone through since it was called last.

        Raises:
            DecryptionError: the store is encrypted, or was half, with another key.
            StoreCorrupt: damaged sessions could not be encrypted; all others are.
            StoreLocked: somebody reads what should be wiped out; repeat.
        """
        from omniagent_cli.stores.maintenance.rekey import encrypt

        self._check_open()
        return encrypt(self, key, progress)

    def rekey(self, new_key: Key, progress: Callable[[int], object] | None = None) -> Recoded:
        """Encrypt everything in an encrypted store with another key.

        This object has the old key (see `with_encryption`) and then the new one. Meanwhile holders of the new key
        read and write everything, holders of the old one alone are refused. Called again, it goes on.

        Raises:
            EncryptedStore: the store is not encrypted, or only partly.
            DecryptionError: this object does not have the store's key.
        """
        from omniagent_cli.stores.maintenance.rekey import rekey

        self._check_open()
        return rekey(self, new_key, progress)

    def check(self, *, repair: bool = False) -> Findings:
        """Look through the whole store for damage; see `stores.care`.

        Args:
            repair: mend what can be mended, after copying the store.

        Returns:
            What was found, each with `what`, `session_id` and `repaired`.
        """
        from omniagent_cli.stores.maintenance.check import check

        self._check_open()
        return check(self, repair=repair)

    def info(self) -> dict[str, Any]:
        """Return facts about the store: backend, url, sessions, trash, and what the backend adds."""
        facts = {"backend": self.backend, "url": self.url, **self.capabilities.facts()}
        facts["sessions"] = self.count(archived=None)
        facts["expired"] = self.count_expired()
        encryption = self.encryption()
        if encryption is None or self.has_key:
            facts["trash"] = len(self.trash())
        else:
            facts["trash"] = self._read(lambda tx: tx.count(ListQuery(hidden=True)))
        facts["compressed"] = self.codec.compress
        facts["encryption"] = encryption["state"] if encryption else "none"
        return facts
