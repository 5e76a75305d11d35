"""Import of one session at a time: compare, stage, then publish completely or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from omniagent_cli.errors import (
    InvalidSessionId,
    SessionConflict,
    SessionExists,
    SessionNotFound,
)
from omniagent_cli.formats.comparison import Comparison, ComparisonResult, stored_digest
from omniagent_cli.formats.merging import NOTHING_NEW, SessionMerge
from omniagent_cli.formats.report import ImportReport, Outcome
from omniagent_cli.formats.staging import Staging
from omniagent_cli.formats.types import (
    IncomingSession,
    MessageEntry,
    Omission,
    Problem,
    problem,
)
from omniagent_cli.formats.validation import MessageValidator, parse_session, remove_deep_values
from omniagent_cli.json_format import parse_time
from omniagent_cli.models import MAX_ID_BYTES, Message, Session, check_session_id
from omniagent_cli.stores import SessionStore

CONFLICTS = ("skip", "rename", "merge", "replace", "fail")
"""Rules for a session that exists with other content."""

NO_MESSAGES = "no messages"
"""Reason of a skipped session without any message to import."""

_LOCAL_KEYS = frozenset(
    {"id", "uid", "revision", "modified_at", "expires_at", "message_count", "messages"}
)
"""Header keys that are ignored when two sessions are compared."""


class SessionImporter:
    """Importer of sessions, one after another; outcomes go to the report."""

    def __init__(
        self,
        store: SessionStore,
        report: ImportReport,
        *,
        as_id: str | None,
        on_conflict: str | None,
        dry_run: bool,
    ) -> None:
        self._store = store
        self._report = report
        self._as_id = as_id
        self._as_id_used = False
        self._on_conflict = on_conflict
        self._dry_run = dry_run
        self._first_difference = ""
        self._left_out: Counter[str] = Counter()

    def import_session(self, incoming: IncomingSession) -> None:
        """Import one session and report the outcome; its entries are consumed."""
        outcome = self._try_import(incoming)
        if (
            outcome is not None
            and outcome.action == "refused"
            and (branch := self._branch_of(incoming))
        ):
            outcome = self._import_branch(branch, outcome)
        if outcome is not None:
            self._report.add(outcome)
            if outcome.reason == NO_MESSAGES:
                self._left_out["empty conversation"] += 1
            if outcome.reason != NOTHING_NEW:
                self._report.left_out.update(self._left_out)
            self._report.stopped |= outcome.action == "refused" and self._on_conflict == "fail"

    def _try_import(self, incoming: IncomingSession) -> Outcome | None:
        self._first_difference = ""
        self._left_out.clear()
        staging = Staging(self._store, dry_run=self._dry_run)
        try:
            return self._import(incoming, staging)
        finally:
            staging.discard()

    def _branch_of(self, incoming: IncomingSession) -> IncomingSession | None:
        """Return a conflicting session as a branch of its own.

        A conversation that was edited in another tool after its first import is no longer a copy of the stored one;
        both are kept, so no decision is needed.
        """
        wanted = self._on_conflict is None and self._as_id is None and self._first_difference
        return incoming.as_branch(self._first_difference) if wanted and incoming.as_branch else None

    def _import_branch(self, branch: IncomingSession, refused: Outcome) -> Outcome | None:
        if branch.header["id"] == refused.session_id:
            return refused
        outcome = self._try_import(branch)
        if outcome is None or outcome.action != "imported":
            return outcome
        reason = f"conflicts with {refused.session_id!r}; both are kept"
        return replace(outcome, action="renamed", reason=reason)

    def _import(self, incoming: IncomingSession, staging: Staging) -> Outcome | None:
        session_id = self._session_id(incoming)
        if isinstance(session_id, Problem):
            self._skip(incoming, session_id)
            return None
        draft = self._parse_session(incoming, session_id)
        if isinstance(draft, Problem):
            self._skip(incoming, draft)
            return None
        revision = None if session_id is None else self._revision(session_id)
        if session_id is None or revision is None:
            if self._is_contained_in(incoming.branch_of, incoming):
                reason = f"contained in {incoming.branch_of!r}"
                return Outcome(session_id or "", "skipped", reason=reason)
            return self._import_new(incoming, session_id, staging)
        if self._on_conflict == "skip":
            self._drain(incoming)
            return Outcome(session_id, "skipped", reason="a session with this id exists")
        if self._on_conflict == "merge":
            return self._merge_states(incoming, session_id, staging)
        if self._on_conflict is None:
            return self._merge(incoming, session_id, revision, staging)
        return self._resolve_conflict(incoming, session_id, staging)

    def _parse_session(
        self, incoming: IncomingSession, session_id: str | None
    ) -> Session | Problem:
        for key in [] if incoming.is_native else remove_deep_values(incoming.header):
            text = f"{key!r} is nested too deeply and was left out"
            self._report.add_problem(problem(incoming.location, text))
        return parse_session(incoming, session_id)

    def _session_id(self, incoming: IncomingSession) -> str | Problem | None:
        if self._as_id is not None:
            if self._as_id_used:
                return problem(incoming.location, "--as applies to a single session; skipped")
            self._as_id_used = True
            return self._as_id
        found = incoming.header.get("id")
        try:
            return None if found is None else check_session_id(found)
        except InvalidSessionId as error:
            return problem(incoming.location, f"session skipped: {error}")

    def _revision(self, session_id: str) -> int | None:
        try:
            return self._store.header(session_id).revision
        except SessionNotFound:
            return None

    def _is_contained_in(self, session_id: str, incoming: IncomingSession) -> bool:
        """Return True if a stored session contains all messages of an incoming one, which is read once more."""
        if not session_id or incoming.reread is None or self._revision(session_id) is None:
            return False
        validator, comparison = MessageValidator(), Comparison(self._store, session_id)
        for entry in incoming.reread():
            result = validator.message(entry) if isinstance(entry, MessageEntry) else None
            if result is not None and not isinstance(result, Problem):
                comparison.is_known(result[0].id or "", result[1])
            if comparison.result.first_difference:
                return False
        return True

    def _drain(self, incoming: IncomingSession) -> None:
        validator = MessageValidator(compares=False)
        for _ in self._messages(incoming, validator, None):
            pass

    def _skip(self, incoming: IncomingSession, reason: Problem) -> None:
        self._report.add_problem(reason)
        self._drain(incoming)

    def _messages(
        self, incoming: IncomingSession, validator: MessageValidator, staging: Staging | None
    ) -> Iterator[tuple[Message, bytes]]:
        """Yield valid messages, report problems, and pass other records to the staging."""
        for entry in incoming.entries:
            if isinstance(entry, Omission):
                self._left_out[entry.kind] += entry.number
            elif isinstance(entry, Problem):
                validator.skip()
                self._report.add_problem(entry)
            elif isinstance(entry, MessageEntry):
                result = validator.message(entry)
                if isinstance(result, Problem):
                    self._report.add_problem(result)
                else:
                    yield result
            else:
                record = validator.record(entry)
                if isinstance(record, Problem):
                    self._report.add_problem(record)
                elif staging is not None:
                    staging.add_record(*record)

    def _stage_all(
        self, incoming: IncomingSession, staging: Staging, *, compares: bool
    ) -> MessageValidator:
        validator = MessageValidator(compares=compares)
        for message, _ in self._messages(incoming, validator, staging):
            staging.add(message)
        return validator

    def _final_session(
        self, incoming: IncomingSession, session_id: str, validator: MessageValidator
    ) -> Session | None:
        """Return the session to publish, after its header was read completely; None if it is invalid."""
        if incoming.is_invalid:
            return None
        session = self._parse_session(incoming, session_id)
        if isinstance(session, Problem):
            self._report.add_problem(session)
            return None
        if "ttl_seconds" not in incoming.header and self._store.ttl is not None:
            session.ttl_seconds = self._store.ttl.total_seconds()
        if validator.first_at:
            session.created_at = session.created_at or parse_time(validator.first_at)
            session.updated_at = session.updated_at or parse_time(validator.last_at)
        return session

    def _import_new(
        self, incoming: IncomingSession, session_id: str | None, staging: Staging
    ) -> Outcome | None:
        """Import a session whose id is free, or is known only at its end."""
        validator = self._stage_all(incoming, staging, compares=session_id is None)
        if session_id is None:
            found = self._resolve_late_id(incoming, validator)
            if not isinstance(found, str):
                return found
            session_id = found
        if not (incoming.is_native or validator.count):
            return Outcome(session_id, "skipped", reason=NO_MESSAGES)
        session = self._final_session(incoming, session_id, validator)
        if session is None:
            return None
        try:
            staging.publish(session, auto_title=not incoming.is_native)
        except SessionExists:
            return Outcome(
                session_id,
                "refused",
                reason="created by another process during the import; import again",
            )
        return Outcome(session_id, "imported", validator.count)

    def _resolve_late_id(
        self, incoming: IncomingSession, validator: MessageValidator
    ) -> str | Outcome | None:
        """Return a free id for a session without one, or its outcome."""
        chain = validator.chain
        found = self._session_id(incoming)
        if isinstance(found, Problem):
            self._report.add_problem(found)
            return None
        if found is None and not chain.count:
            return Outcome("", "skipped", reason="no messages and no id")
        session_id = found or f"import-{chain.hex()[:16]}"
        if self._revision(session_id) is None:
            return session_id
        if stored_digest(self._store, session_id, limit=chain.count) == (chain.hex(), chain.count):
            return Outcome(session_id, "skipped", reason=NOTHING_NEW)
        reason = "a session with this id has other messages"
        return Outcome(session_id, "refused", reason=reason)

    def _merge(
        self, incoming: IncomingSession, session_id: str, revision: int, staging: Staging
    ) -> Outcome | None:
        """Append the new messages of an incoming session if it extends the stored one."""
        validator = MessageValidator()
        comparison = Comparison(self._store, session_id)
        staging.attachments = frozenset(self._store.attachments(session_id))
        for message, content_digest in self._messages(incoming, validator, staging):
            if comparison.is_known(message.id or "", content_digest):
                staging.restart()
            else:
                staging.add(message)
        if self._final_session(incoming, session_id, validator) is None:
            return None
        found = comparison.finish()
        self._first_difference = found.first_difference
        outcome = _merge_outcome(session_id, found)
        if outcome.action == "merged":
            try:
                staging.append_staged(session_id, revision)
            except SessionConflict as error:
                return Outcome(session_id, "refused", reason=str(error))
        return outcome

    def _merge_states(
        self, incoming: IncomingSession, session_id: str, staging: Staging
    ) -> Outcome | None:
        """Merge the messages and facts of an incoming session by the rules of a synchronization."""
        merging = SessionMerge(self._store, session_id, staging)
        validator = MessageValidator(compares=False)
        for message, _ in self._messages(incoming, validator, staging):
            merging.add(message)
        session = self._final_session(incoming, session_id, validator)
        return None if session is None else merging.finish(session, dry_run=self._dry_run)

    def _resolve_conflict(
        self, incoming: IncomingSession, session_id: str, staging: Staging
    ) -> Outcome | None:
        """Import a session whose id exists: under a new id, as a replacement, or not at all."""
        validator = self._stage_all(incoming, staging, compares=True)
        session = self._final_session(incoming, session_id, validator)
        if session is None:
            return None
        chain = (validator.chain.hex(), validator.chain.count)
        if self._is_identical(session, incoming, chain):
            return Outcome(session_id, "skipped", reason=NOTHING_NEW)
        if self._on_conflict == "fail":
            reason = "a session with this id has other content"
            return Outcome(session_id, "refused", reason=reason)
        if self._on_conflict == "rename":
            return self._import_renamed(incoming, session, chain, staging)
        staging.publish(session, replace=True, auto_title=not incoming.is_native)
        return Outcome(
            session_id, "replaced", chain[1], reason="previous version moved to the trash"
        )

    def _import_renamed(
        self, incoming: IncomingSession, session: Session, chain: tuple[str, int], staging: Staging
    ) -> Outcome:
        wanted, number = session.id, 2
        while self._revision(session.id) is not None:
            session.id = _numbered(wanted, number)
            number += 1
            if self._is_identical(session, incoming, chain):
                return Outcome(session.id, "skipped", reason=NOTHING_NEW)
        staging.publish(session, auto_title=not incoming.is_native)
        return Outcome(session.id, "renamed", chain[1], reason=f"{wanted!r} is another session")

    def _is_identical(
        self, session: Session, incoming: IncomingSession, chain: tuple[str, int]
    ) -> bool:
        """Return True if the stored session has the same messages and header."""
        try:
            stored = self._store.header(session.id).header_record()
            if stored_digest(self._store, session.id) != chain:
                return False
        except SessionNotFound:
            return False
        incoming_record = session.header_record()
        return all(
            stored.get(key) == incoming_record.get(key)
            for key in incoming.header
            if key not in _LOCAL_KEYS
        )


def _numbered(session_id: str, number: int) -> str:
    tail = f"-{number}"
    max_bytes = MAX_ID_BYTES - len(tail)
    return session_id.encode()[:max_bytes].decode("utf-8", "ignore") + tail


def _merge_outcome(session_id: str, found: ComparisonResult) -> Outcome:
    """Return the outcome for an existing session."""
    if not found.fits:
        what = (
            "messages with other content" if found.altered else "messages between the stored ones"
        )
        return Outcome(session_id, "refused", reason=f"{what}; choose a rule with --on-conflict")
    if not found.tail:
        return Outcome(session_id, "skipped", reason=NOTHING_NEW)
    if found.stored_after:
        reason = (
            "both have new messages after the last common one; choose a rule with --on-conflict"
        )
        return Outcome(session_id, "refused", reason=reason)
    return Outcome(session_id, "merged", found.tail)
