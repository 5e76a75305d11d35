"""Record operations: attachments and summaries of a session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omniagent_cli.errors import SessionConflict, UsageError
from omniagent_cli.models import check_sha256
from omniagent_cli.stores.attachments_and_summaries import count_up_to
from omniagent_cli.stores.backend import HeaderRow
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork
from omniagent_cli.text.sanitize import is_storable


class RecordOperations(StoreBase):
    """Operations on the attachments and summaries of a session."""

    def attachments(self, session_id: str) -> list[str]:
        """Return the SHA-256 (hex) of each attachment of a session."""
        return self.read_unit(
            lambda unit: unit.record_keys(unit.find(session_id).uid, "attachment")
        )

    def attachment(self, session_id: str, sha256: str) -> Any:
        """Return one attachment's record: ``name``, ``media_type``, ``size`` and ``data`` (base64), or None."""

        def work(unit: UnitOfWork) -> Any:
            header = unit.find(session_id, payload=False)
            return unit.record(header, "attachment", sha256) if is_storable(sha256) else None

        return self.read_unit(work)

    def last_summary(self, session_id: str) -> Any:
        """Return the newest summary record: ``up_to`` (position), ``text``, ``model``, ``created_at``, or None."""

        def work(unit: UnitOfWork) -> Any:
            header = unit.find(session_id, payload=False)
            keys = unit.record_keys(header.uid, "summary")
            return unit.record(header, "summary", max(keys)) if keys else None

        return self.read_unit(work)

    def iter_records(self, session_id: str, kind: str) -> Iterator[tuple[str, Any]]:
        """Yield the attachments or summaries of a session by key, one at a time.

        Raises:
            SessionNotFound: the session does not exist.
        """

        def keys_of(unit: UnitOfWork) -> list[str]:
            return unit.record_keys(unit.find(session_id, payload=False).uid, kind)

        for key in self.read_unit(keys_of):
            value = self._record(session_id, kind, key)
            if value is not None:
                yield key, value

    def _record(self, session_id: str, kind: str, key: str) -> Any:
        return self.read_unit(
            lambda unit: unit.record(unit.find(session_id, payload=False), kind, key)
        )

    def put_attachment(self, session_id: str, sha256: str, record: Mapping[str, Any]) -> None:
        """Store an attachment with a session, once however often it is used; see `attachment` for the record.

        Raises:
            InvalidRecord: `sha256` is not 64 lower-case hexadecimal digits.
        """
        check_sha256(sha256)

        def work(unit: UnitOfWork) -> None:
            header = unit.open_for_writing(session_id).header
            _put(unit, header, "attachment", sha256, record)

        self.write_unit(work)

    def put_summary(
        self,
        session_id: str,
        up_to: int,
        record: Mapping[str, Any],
        *,
        uid: str | None = None,
        messages: int | None = None,
    ) -> None:
        """Store a summary that replaces the messages up to a position in requests; no message is removed.

        Args:
            session_id: the session.
            up_to: the position of the last summarized message.
            record: ``text``, ``model``, ``created_at`` and further facts.
            uid: the session it was made of; nothing is stored in any other.
            messages: the number of messages up to that position when it was made.

        Raises:
            UsageError: the position is out of range.
            SessionConflict: the messages it was made of have changed.
        """
        if not 0 <= up_to < 10**12:
            raise UsageError(f"invalid position {up_to} of a summary")
        is_new = uid is None and messages is None

        def work(unit: UnitOfWork) -> None:
            if is_new:
                header = unit.open_for_writing(session_id).header
            else:
                header = unit.find(session_id)
                count = count_up_to(unit.tx, header.uid, up_to)
                if uid not in (None, header.uid) or messages not in (None, count):
                    raise SessionConflict(
                        f"messages of the session {session_id!r} were removed or restored by another program; try again",
                        session_id=session_id,
                    )
            _put(unit, header, "summary", f"{up_to:012d}", {**record, "up_to": up_to})

        self.write_unit(work)


def _put(
    unit: UnitOfWork, header: HeaderRow, kind: str, key: str, record: Mapping[str, Any]
) -> None:
    unit.touch(header, unit.now(), activity=False)
    unit.tx.put(header)
    unit.put_record(header.uid, kind, key, record)
