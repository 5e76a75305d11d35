"""The fork operation: copy a session within its store."""

from __future__ import annotations

import re

from omniagent_cli.errors import UsageError
from omniagent_cli.models import Message, check_session_id, new_session_id
from omniagent_cli.stores.backend import CHUNK, HeaderRow, RowRange, clamp
from omniagent_cli.stores.continuation_links import CONTINUED_IN, REASON
from omniagent_cli.stores.facts import STAMPS, UIDS
from omniagent_cli.stores.fork_links import FORKED_AT, FORKED_FROM, FORKED_UID
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.unit_of_work import UnitOfWork

_FORK = re.compile(r" \(fork(?: (\d{1,6}))?\)\Z")
_NOT_COPIED = frozenset({"pinned", CONTINUED_IN, REASON})
"""Metadata that the copy does not get."""


class ForkOperations(StoreBase):
    """The operation that copies a session."""

    def fork(self, session_id: str, new_id: str | None = None, *, at: int | None = None) -> str:
        """Copy a session, up to and including the message at a position, and return the copy's id.

        Messages keep their ids and positions. The copy's metadata names the session and the position it was copied up
        to, its `Session.origin` the session's uid, which a rename does not change, and its title says that it is a fork.

        Raises:
            SessionNotFound: the session does not exist.
            SessionExists: `new_id` is taken.
            UsageError: the session has no message at or before `at`.
        """

        def work(unit: UnitOfWork) -> str:
            source = unit.find(session_id)
            now = unit.now()
            target_id = check_session_id(new_id) if new_id is not None else new_session_id(now)
            unit.ensure_unused(target_id)
            target = unit.fresh(target_id, now)
            target.ttl_seconds, target.agent_id = source.ttl_seconds, source.agent_id
            target.model = source.model
            data = {k: v for k, v in unit.data(source).items() if k not in (STAMPS, UIDS)}
            kept = {k: v for k, v in (data.get("metadata") or {}).items() if k not in _NOT_COPIED}
            last = _copy_content(unit, source, target, None if at is None else clamp(at))
            link = {} if last is None else {FORKED_AT: last.position}
            unit.set_data(
                target,
                {
                    **data,
                    "title": _fork_title(data.get("title", "")),
                    "metadata": {**kept, FORKED_FROM: source.id, **link},
                    "origin": {**data.get("origin", {}), FORKED_UID: source.uid},
                },
            )
            unit.set_preview(target, last)
            unit.touch(target, now, activity=True)
            unit.tx.put(target)
            unit.emit("session_created", target_id)
            return target_id

        return self.write_unit(work)


def _fork_title(title: str) -> str:
    """Return the title of a fork: "Trip" becomes "Trip (fork)", then "Trip (fork 2)"; no title stays none."""
    if not title:
        return ""
    found = _FORK.search(title)
    number = f" {int(found[1] or 1) + 1}" if found else ""
    return f"{_FORK.sub('', title)} (fork{number})"


def _copy_content(
    unit: UnitOfWork, source: HeaderRow, target: HeaderRow, at: int | None
) -> Message | None:
    """Copy messages, attachments and summaries to a new session and return the last message."""
    last: Message | None = None
    first = 0
    unit.tx.put(target)
    while messages := unit.messages(source, RowRange(first, at, limit=CHUNK)):
        unit.insert(target.uid, messages)
        target.message_count += len(messages)
        last = messages[-1]
        first = (last.position or 0) + 1
    if last is None and source.message_count:
        raise UsageError(f"{source.id!r} has no message at or before position {at}")
    target.next_position = first
    for key, payload in unit.tx.records(source.uid, "summary"):
        if int(key) < first:
            summary = unit.open_record(source, "summary", key, payload)
            unit.put_record(target.uid, "summary", key, summary)
    unit.copy_missing_attachments(source, target.uid)
    return last
