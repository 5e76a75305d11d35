"""The rule ``merge`` of an import: an incoming session is merged with the stored one as another store's would be."""

from __future__ import annotations

from collections.abc import Mapping

from omniagent_cli.formats.report import Outcome
from omniagent_cli.formats.staging import Staging
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message, Session
from omniagent_cli.stores import SessionStore
from omniagent_cli.stores.backend import HeaderRow
from omniagent_cli.stores.facts import STAMPS
from omniagent_cli.stores.sync.applying import apply_state
from omniagent_cli.stores.sync.loading import (
    ChangedError,
    MessageReader,
    load_facts,
    revision_of,
)
from omniagent_cli.stores.sync.peer import load_one
from omniagent_cli.stores.sync.state import Fact, SessionState, lacking, merge, settle

NOTHING_NEW = "nothing new"
"""Reason of a skipped session that is stored completely."""

_ONLY_STAMPED = frozenset({"id", "ttl", "model", "agent"})
"""Facts that a file without stamps does not change."""


class SessionMerge:
    """The merge of one incoming session with a stored one.

    Args:
        store: the store.
        session_id: the session, which exists.
        staging: receives the messages that the stored session lacks.
    """

    def __init__(self, store: SessionStore, session_id: str, staging: Staging) -> None:
        self._store = store
        self._own = load_one(store, session_id)
        self._staging = staging
        self._reader = MessageReader()
        staging.attachments = self._own.state.attachments

    def add(self, message: Message) -> None:
        """Add the next incoming message."""
        known = self._own.state.messages.get(message.id or "")
        if known is None or known.revision < revision_of(message.record):
            self._staging.add(message)
        self._reader.add(message)

    def finish(self, session: Session, *, dry_run: bool) -> Outcome:
        """Merge the facts and the messages that were added, in the transactions of a synchronization."""
        own = self._own.state
        incoming = self._incoming(session)
        merged = settle(merge(own, incoming))
        if merged == own:
            return Outcome(session.id, "skipped", reason=NOTHING_NEW)
        if not dry_run:
            try:
                items = self._staging.items()
                apply_state(self._store, [self._own], merged, items, {})
            except ChangedError:
                reason = f"the session {session.id!r} was changed during the import; import again"
                return Outcome(session.id, "refused", reason=reason)
        return Outcome(session.id, "merged", len(lacking(merged, own)))

    def _incoming(self, session: Session) -> SessionState:
        own = self._own.state
        removed: dict[str, str] = {}
        restored: dict[str, str] = {}
        for gone, back in self._staging.removals:
            removed |= gone
            restored |= back
        return SessionState(
            facts=self._facts(session),
            messages=self._reader.messages,
            removed=removed,
            restored=restored,
            attachments=frozenset(self._staging.added_attachments),
            uids=own.uids,
            created_at=format_time(session.created_at) if session.created_at else "",
            updated_at=max(self._reader.created.values(), default=""),
            changed_at=max(self._reader.created.values(), default=""),
        )

    def _facts(self, session: Session) -> dict[str, Fact]:
        """Return the incoming facts; those without a stamp have that of the conversation's last activity."""
        own = self._own.state.facts
        header = HeaderRow("", session.id, "", "")
        header.agent_id, header.model = session.agent_id, session.model
        header.ttl_seconds = session.ttl_seconds
        data = {
            **session.unknown,
            "title": session.title,
            "title_source": session.title_source,
            "metadata": session.metadata,
            "state": session.state,
            STAMPS: session.stamps,
        }
        moment = format_time(session.updated_at) if session.updated_at else ""
        facts = {}
        for name, fact in load_facts(header, data).items():
            if fact.stamp:
                facts[name] = fact
            elif name not in _ONLY_STAMPED and not _is_own_title(name, own):
                same = name in own and own[name].value == fact.value
                facts[name] = own[name] if same else fact._replace(stamp=moment)
        return facts


def _is_own_title(name: str, own: Mapping[str, Fact]) -> bool:
    """Return True for the title of a session that its user set here."""
    fact = own.get(name)
    return name == "title" and fact is not None and bool(fact.value) and fact.value[0][1] == "user"
