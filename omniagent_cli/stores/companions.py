"""What goes with messages when they go, and comes back with them: attachments, and the summaries that stand for them.

A summary holds as long as every message it was made of is there and no other came among them: positions are
never reused, so a count tells. What removed messages took along waits with them in the trash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from omniagent_cli.canonical import dump
from omniagent_cli.models import Message
from omniagent_cli.stores.attributes import Attributes
from omniagent_cli.stores.records import HeaderRow, RowRange, Transaction


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
            (message,) = self._to_messages(header, [row])
            found = going if any(span.holds(row.position) for span in spans) else staying
            found.update(_referred(message, keys))
        for key in keys:
            if target is not None and key in going:
                value = self._record(tx, header, "attachment", key)
                self._put_sealed(tx, target, "attachment", key, value)
            if key not in staying and (purge or key in going):
                tx.remove_record(header.uid, "attachment", key)

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
