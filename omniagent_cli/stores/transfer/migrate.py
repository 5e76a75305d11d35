"""Migration: copy all sessions of one store into another, whatever their backends and codecs.

A session is copied into a hidden one in portions, read back, compared with the source, and only then shown. An
interrupted migration leaves only complete sessions visible, and another run skips those.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

from omniagent_cli.errors import CorruptSession, SessionExists, SessionNotFound, UsageError
from omniagent_cli.models import check_session_id
from omniagent_cli.stores.backend import HIDDEN, HeaderRow
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.stores.sync.applying import apply_state
from omniagent_cli.stores.sync.loading import ChangedError as SyncChangedError
from omniagent_cli.stores.sync.loading import read_attachments, read_content
from omniagent_cli.stores.sync.peer import load_one
from omniagent_cli.stores.sync.state import lacking, merge, settle
from omniagent_cli.stores.transfer.copy_session import (
    ChangedError,
    Digest,
    Facts,
    StagedCopy,
    expect_unchanged,
    facts_of,
    is_unfinished,
    live_headers,
    portions,
    records,
)
from omniagent_cli.stores.unit_of_work import UnitOfWork

EXISTING = ("refuse", "replace", "skip", "merge")
"""Choices for a session of the target that has the same id and other content."""

_ATTEMPTS = 5

Progress = Callable[["MigrationReport"], object]


class RefusedSession(NamedTuple):
    """A session that was not copied, and the reason."""

    session_id: str
    reason: str


@dataclass(slots=True)
class MigrationReport:
    """The result of a migration, or of a dry run.

    Attributes:
        total: number of messages to process.
        seen: number of messages processed.
        copied: sessions created in the target.
        replaced: sessions that replaced another, which is in the target's trash.
        merged: sessions that were merged with another one of the target.
        equal: sessions that the target already had, unchanged.
        skipped: sessions of the target that differ and were kept.
        trash: copied trash entries.
        messages: copied messages, those of the trash included.
        refused: sessions that were not copied.
    """

    total: int = 0
    seen: int = 0
    copied: int = 0
    replaced: int = 0
    merged: int = 0
    equal: int = 0
    skipped: int = 0
    trash: int = 0
    messages: int = 0
    refused: list[RefusedSession] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if no session was refused."""
        return not self.refused


def migrate(
    source: SessionStore,
    target: SessionStore,
    ids: Iterable[str] | None = None,
    *,
    on_existing: str = "refuse",
    include_trash: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> MigrationReport:
    """Copy all or some sessions into another store; the source is only read.

    Copied are messages with ids, positions, turns, statuses, times and unknown keys; titles, metadata, state, model,
    agent, times, time to live and expiry; attachments and summaries; and the trash. A session keeps its uid unless
    another session of the target has it. Expired sessions are not copied. Each copy is compared by count and SHA-256
    before it is shown.

    An interrupted migration leaves only complete sessions; another run skips the equal ones.

    Args:
        source: the store to read.
        target: the store to write.
        ids: the sessions to copy, with their trash entries; None copies all.
        on_existing: for a session of the target that has the same id and differs: ``refuse`` keeps and reports it,
            ``skip`` keeps it, ``replace`` moves it to the target's trash first.
        include_trash: copy the trash too, unless the target has none.
        dry_run: only report what would be done.
        progress: called with the report as it grows.

    Raises:
        UsageError: both are the same store, or `on_existing` is invalid.
        SessionNotFound: the source has no such session; nothing was copied.
        StoreCorrupt: the target returned other data than was written; that session is not shown.
    """
    if on_existing not in EXISTING:
        raise UsageError(
            f"invalid on_existing {on_existing!r}; choose one of {', '.join(EXISTING)}"
        )
    if source is target or (source.url == target.url and source.backend != "memory"):
        raise UsageError(f"{source.url} cannot be migrated into itself; choose another store")
    wanted = None if ids is None else list(dict.fromkeys(map(check_session_id, ids)))
    for session_id in wanted or ():
        source.summary(session_id)
    migration = _Migration(source, target, on_existing=on_existing, dry_run=dry_run)
    migration.progress = progress
    return migration.run(wanted, include_trash=include_trash and target.trash_ttl is not None)


class _Migration:
    """One run of `migrate`."""

    def __init__(
        self, source: SessionStore, target: SessionStore, *, on_existing: str, dry_run: bool
    ) -> None:
        self._source = source
        self._target = target
        self._on_existing = on_existing
        self._dry_run = dry_run
        self._renamed: dict[
            str, str
        ] = {}  # uid in the source -> uid in the target, where they differ
        self.progress: Progress | None = None
        self.report = MigrationReport()

    def run(self, ids: Sequence[str] | None, *, include_trash: bool) -> MigrationReport:
        """Migrate the sessions, then the trash."""
        self.report.total = sum(header.message_count for header in self._visible(ids))
        if include_trash:
            self.report.total += sum(
                h.message_count for h in live_headers(self._source, hidden=True)
            )
        for header in self._visible(ids):
            self._take(header, self._session)
        if include_trash:
            for header in live_headers(self._source, hidden=True):
                self._take(header, lambda found: self._trash(found, ids))
        return self.report

    def _visible(self, ids: Sequence[str] | None) -> Iterator[HeaderRow]:
        if ids is None:
            yield from live_headers(self._source, hidden=False)
            return
        for session_id in ids:
            with contextlib.suppress(SessionNotFound):  # removed by another program
                yield self._source.read_unit(lambda unit: unit.find(session_id))  # noqa: B023  # run immediately

    def _take(self, header: HeaderRow, work: Callable[[HeaderRow], None]) -> None:
        """Process one session; its errors do not end the migration."""
        seen = self.report.seen
        try:
            self._until_unchanged(header, work)
        except (CorruptSession, SessionExists) as error:
            self._refuse(header, str(error))
        self.report.seen = seen + header.message_count
        self._notify()

    def _until_unchanged(self, header: HeaderRow, work: Callable[[HeaderRow], None]) -> None:
        """Process one session; repeat it if the session is changed at the same time."""
        current: HeaderRow | None = header
        seen = self.report.seen
        for _ in range(_ATTEMPTS):
            if current is None or current.hidden != header.hidden:
                return  # removed by another program
            self.report.seen = seen
            try:
                work(current)
                return
            except ChangedError:
                uid = current.uid
                current = self._source.read_unit(lambda unit: unit.tx.find_uid(uid))  # noqa: B023  # run immediately
        self._refuse(header, "it is being written to; migrate it again later")

    def _refuse(self, header: HeaderRow, reason: str) -> None:
        self.report.refused.append(RefusedSession(header.id.removeprefix(HIDDEN), reason))

    def _notify(self) -> None:
        if self.progress is not None:
            self.progress(self.report)

    def _session(self, header: HeaderRow) -> None:
        facts = facts_of(self._source, header)
        existing = self._existing(header.id)
        if existing is None:
            uid = self._copy(header, facts, replaces=None)
            self.report.copied += 1
        elif self._is_equal(header, facts, existing):
            uid = existing.uid
            self.report.equal += 1
        elif self._on_existing == "replace":
            uid = self._copy(header, facts, replaces=existing)
            self.report.replaced += 1
        elif self._on_existing == "merge":
            uid = existing.uid
            self._merge(header, existing)
        elif self._on_existing == "skip":
            uid = existing.uid
            self.report.skipped += 1
        else:
            self._refuse(header, f"{self._target.url} has a different session with this id")
            return
        if uid != header.uid:
            self._renamed[header.uid] = uid

    def _merge(self, header: HeaderRow, existing: HeaderRow) -> None:
        """Merge a session with the target's by the rules of a synchronization."""
        theirs = load_one(self._source, header.id)
        ours = load_one(self._target, existing.id)
        merged = settle(merge(ours.state, replace(theirs.state, uids=ours.state.uids)))
        if merged != ours.state:
            wanted = lacking(merged, ours.state)
            self.report.messages += len(wanted)
            if not self._dry_run:
                missing = sorted(theirs.state.attachments - ours.state.attachments)
                attachments = read_attachments(self._source, theirs, missing)
                messages = read_content(self._source, theirs, wanted)
                try:
                    apply_state(self._target, [ours], merged, chain(attachments, messages), {})
                except SyncChangedError as error:
                    raise ChangedError from error
        self.report.merged += 1

    def _existing(self, session_id: str) -> HeaderRow | None:
        """Return the target's session with an id, or None if it does not exist or has expired."""

        def work(unit: UnitOfWork) -> HeaderRow | None:
            header = unit.tx.find(session_id)
            return None if header is None or header.is_expired(unit.now()) else header

        return self._target.read_unit(work)

    def _trash(self, header: HeaderRow, ids: Sequence[str] | None) -> None:
        """Copy a trash entry that the target does not have yet."""
        facts = facts_of(self._source, header)
        trash = facts["data"].get("trash")
        if trash is None or (ids is not None and trash["id"] not in ids):
            return
        known = self._target.read_unit(lambda unit: unit.tx.find_uid(header.uid))
        if known is not None and not is_unfinished(self._target, known):
            return
        if trash["uid"] in self._renamed:
            trash["uid"] = self._renamed[trash["uid"]]
        self._copy(header, facts, replaces=None)
        self.report.trash += 1

    def _is_equal(self, header: HeaderRow, facts: Facts, existing: HeaderRow) -> bool:
        """Return True if the target's session is equal; most differences show before any message is read."""
        if (
            facts != facts_of(self._target, existing)
            or header.message_count != existing.message_count
        ):
            return False
        ours, theirs = Digest(), Digest()
        for portion in portions(self._source, header):
            ours.add_messages(portion)
            self.report.seen += len(portion)
            self._notify()
        for portion in portions(self._target, existing):
            theirs.add_messages(portion)
        for store, found, digest in (
            (self._source, header, ours),
            (self._target, existing, theirs),
        ):
            for record in records(store, found):
                digest.add_record(*record)
        expect_unchanged(self._source, header)
        return ours == theirs

    def _copy(self, header: HeaderRow, facts: Facts, *, replaces: HeaderRow | None) -> str:
        """Copy one session and return its uid in the target."""
        if self._dry_run:
            self.report.messages += header.message_count
            return header.uid
        copy = StagedCopy(self._target, header)
        try:
            digest = Digest()
            for portion in portions(self._source, header):
                digest.add_messages(portion)
                copy.add_messages(portion)
                self.report.seen += len(portion)
                self._notify()
            for record in records(self._source, header):
                digest.add_record(*record)
                copy.add_record(*record)
            expect_unchanged(self._source, header)
            copy.verify(digest)
            preview = self._source.row_codec.preview(header)
            copy.publish(facts, preview, replaces)
        except BaseException:
            copy.discard()
            raise
        self.report.messages += header.message_count
        return copy.uid
