"""What goes with messages when they go, and comes back with them: attachments, and the summaries that stand for them.

A summary holds as long as every message it was made of is there and no other came among them: positions are
never reused, so a count tells. What removed messages took along waits with them in the trash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from omniagent_cli.errors import CorruptSession, SessionExists
from omniagent_cli.json_format import dump
from omniagent_cli.models import Message
from omniagent_cli.stores.backend import HeaderRow, MessageRow, RowRange, Transaction
from omniagent_cli.stores.operations.header import Attributes
from omniagent_cli.stores.operations.search import chunks


class Companions(Attributes):
    """What a store does to the other records of a session whose messages go or return."""

    def _part(
        self,
        tx: Transaction,
        header: HeaderRow,
        spans: Sequence[RowRange],
        target: HeaderRow | None,
        *,
        added: Iterable[Message] = (),
        purge: bool = False,
    ) -> None:
        """Take from a session what belongs to messages that are about to go.

        Args:
            tx: the unit of work, in which they are still there.
            header: their session.
            spans: where they stand.
            target: the hidden session that keeps them; None: nothing is kept.
            added: messages that come in the same step, and may refer to the same attachments.
            purge: attachments go also when no message referred to them at all.
        """
        self._part_summaries(tx, header, min(span.first or 0 for span in spans), target)
        keys = [key for key, _ in tx.records(header.uid, "attachment")]
        if not keys:
            return
        going: set[str] = set()
        staying = {key for message in added for key in _referred(message, keys)}
        for row in tx.rows(header.uid):
            found = going if any(span.holds(row.position) for span in spans) else staying
            found.update(self._referred_by(header, row, keys))
        for key in keys:
            if target is not None and key in going:
                value = self._record(tx, header, "attachment", key)
                self._put_sealed(tx, target, "attachment", key, value)
            if key not in staying and (purge or key in going):
                tx.remove_record(header.uid, "attachment", key)

    def _referred_by(self, header: HeaderRow, row: MessageRow, keys: list[str]) -> list[str]:
        """Return which attachments a stored message names; one that cannot be read may name any."""
        try:
            (message,) = self._to_messages(header, [row])
        except CorruptSession:
            return keys
        return _referred(message, keys)

    def _part_summaries(
        self, tx: Transaction, header: HeaderRow, first: int, target: HeaderRow | None
    ) -> None:
        for key, payload in list(tx.records(header.uid, "summary")):
            if int(key) < first:
                continue
            if target is not None:
                value = self._unseal("summary", header, (header.uid, key), payload)
                kept = {"messages": _count(tx, header.uid, int(key)), "summary": value}
                self._put_sealed(tx, target, "summary", key, kept)
            tx.remove_record(header.uid, "summary", key)

    def _move(self, tx: Transaction, header: HeaderRow, target: HeaderRow, span: RowRange) -> None:
        """Give messages to another session; encrypted ones are bound to theirs and written anew."""
        if not self._secret:
            tx.move_rows(header.uid, target.uid, span)
            return
        for chunk in chunks(tx.rows(header.uid, span)):
            messages = self._to_messages(header, chunk)
            rows = [self._to_row(target.uid, message) for message in messages]
            tx.insert(target.uid, rows, [self._index_text(message) for message in messages])
        tx.delete_rows(header.uid, span)

    def _put_back(self, tx: Transaction, header: HeaderRow, origin: HeaderRow) -> None:
        """Return messages to the session they came from, at their old positions."""
        taken = {row.position for row in tx.rows(header.uid)} & {
            row.position for row in tx.rows(origin.uid)
        }
        if taken:
            raise SessionExists(
                f"{origin.id!r} has other messages where these stood; restore them as another session with --as",
                session_id=origin.id,
            )
        newest = next(iter(tx.rows(origin.uid, RowRange(newest=True, limit=1))), None)
        newest_back = next(iter(tx.rows(header.uid, RowRange(newest=True, limit=1))), None)
        if newest_back is not None and (newest is None or newest_back.position > newest.position):
            self._set_preview(origin, self._to_messages(header, [newest_back])[0])
        origin.message_count += header.message_count
        self._rejoin(tx, header, origin)
        self._move(tx, header, origin, RowRange())
        self._touch_header(origin, tx.now())
        tx.put(origin)
        tx.remove(header.uid)

    def _rejoin(self, tx: Transaction, header: HeaderRow, origin: HeaderRow) -> None:
        """Give a session back what its returning messages took along; summaries made without them go."""
        returning = next(iter(tx.rows(header.uid, RowRange(limit=1))), None)
        for key, _ in list(tx.records(origin.uid, "summary")):
            if returning is not None and int(key) >= returning.position:
                tx.remove_record(origin.uid, "summary", key)
        for key, value in self._valid_summaries(tx, header, origin):
            self._put_sealed(tx, origin, "summary", key, value)
        known = {key for key, _ in tx.records(origin.uid, "attachment")}
        for key, payload in tx.records(header.uid, "attachment"):
            if key not in known:
                value = self._unseal("attachment", header, (header.uid, key), payload)
                self._put_sealed(tx, origin, "attachment", key, value)

    def _stand_alone(self, tx: Transaction, header: HeaderRow) -> None:
        """Make summaries that were kept with removed messages those of the session the messages become."""
        valid = self._valid_summaries(tx, header, header)
        for key, _ in list(tx.records(header.uid, "summary")):
            tx.remove_record(header.uid, "summary", key)
        for key, value in valid:
            self._put_sealed(tx, header, "summary", key, value)

    def _valid_summaries(
        self, tx: Transaction, header: HeaderRow, target: HeaderRow
    ) -> list[tuple[str, Any]]:
        """Return summaries kept with removed messages whose messages are all there once the two are one."""
        found = []
        for key, payload in list(tx.records(header.uid, "summary")):
            kept = self._unseal("summary", header, (header.uid, key), payload)
            there = sum(_count(tx, uid, int(key)) for uid in {header.uid, target.uid})
            if "summary" in kept and kept.get("messages") == there:
                found.append((key, kept["summary"]))
        return found

    def _put_sealed(
        self, tx: Transaction, header: HeaderRow, kind: str, key: str, value: Any
    ) -> None:
        tx.put_record(header.uid, kind, key, self._seal(kind, (header.uid, key), value))


def _count(tx: Transaction, uid: str, up_to: int) -> int:
    return sum(1 for _ in tx.rows(uid, RowRange(last=up_to)))


def _referred(message: Message, keys: Iterable[str]) -> list[str]:
    """Return which attachments a message names, in whatever part of it."""
    data = dump(message.record)
    return [key for key in keys if key.encode() in data]
