"""Migration: everything one store holds, copied into another, whatever the two are and are wrapped in.

A session is copied into a hidden one a portion at a time, read back and compared with what was read from the
source, and only then shown. So a migration that ends early leaves whole sessions and nothing else to be seen, and
running it again passes over what is there already.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from omniagent_cli.errors import CorruptSession, SessionExists, SessionNotFound, UsageError
from omniagent_cli.models import check_session_id
from omniagent_cli.stores.backend import HIDDEN, HeaderRow, Transaction
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.stores.transfer.copy_session import (
    ChangedError,
    Digest,
    Facts,
    Stage,
    expect_still,
    facts_of,
    is_unfinished,
    portions,
    records,
    walk,
)
from omniagent_cli.stores.unit_of_work import is_expired

EXISTING = ("refuse", "replace", "skip")
"""What can become of a session of the target that has the id and another content."""

_ATTEMPTS = 5

Progress = Callable[["MigrationReport"], object]


class Refused(NamedTuple):
    """A session that was not copied, and why."""

    session_id: str
    reason: str


@dataclass(slots=True)
class MigrationReport:
    """What a migration did, or in a dry run would do.

    Attributes:
        total: messages it has to go through.
        seen: those it has gone through, whatever became of them.
        copied: sessions that came into being in the target.
        replaced: sessions that took the place of another; that is in the target's trash.
        equal: sessions that were there already, the same in everything.
        skipped: sessions that were there, differ, and were left as they are.
        trash: entries of the trash that were copied.
        messages: messages copied, those of the trash included.
        refused: sessions that were not copied.
    """

    total: int = 0
    seen: int = 0
    copied: int = 0
    replaced: int = 0
    equal: int = 0
    skipped: int = 0
    trash: int = 0
    messages: int = 0
    refused: list[Refused] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was refused."""
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
    """Copy everything, or some sessions, into another store; the source is only read.

    What is copied: messages with ids, positions, turns, statuses, times and unknown keys; titles, metadata, state,
    model, agent, times, time to live and the moment it is over; attachments, summaries; and the trash, so that what
    could be restored still can. A session keeps its uid where the target has no other session with it. What has
    expired is not copied. Each session is compared by count and SHA-256 after it was copied, before it is shown.

    Interrupted at any point, it leaves whole sessions; run again, it passes over those that are equal.

    Args:
        source: where to read.
        target: where to write.
        ids: the sessions to copy, with what the trash holds of them; None copies all.
        on_existing: what to do when the target has a session with the id that differs: ``refuse`` leaves it and
            reports it, ``skip`` leaves it, ``replace`` puts it in the target's trash first.
        include_trash: copy what can be restored too, unless the target keeps no trash.
        dry_run: only report what would be done.
        progress: called with the report as it grows.

    Raises:
        UsageError: both are the same store, or `on_existing` is none of the three.
        SessionNotFound: the source has no such session; nothing was copied.
        StoreCorrupt: the target did not give back what was written; that session is not shown.
    """
    if on_existing not in EXISTING:
        raise UsageError(f"on_existing is one of {', '.join(EXISTING)}, not {on_existing!r}")
    if source is target or (source.url == target.url and source.backend != "memory"):
        raise UsageError(f"{source.url} cannot be migrated into itself; name another store")
    wanted = None if ids is None else list(dict.fromkeys(map(check_session_id, ids)))
    for session_id in wanted or ():
        source.summary(session_id)
    migration = _Migration(source, target, on_existing=on_existing, dry_run=dry_run)
    migration.progress = progress
    return migration.run(wanted, include_trash=include_trash and target._trash_seconds is not None)


class _Migration:
    """One run of `migrate`."""

    def __init__(
        self, source: SessionStore, target: SessionStore, *, on_existing: str, dry_run: bool
    ) -> None:
        self._source = source
        self._target = target
        self._on_existing = on_existing
        self._dry_run = dry_run
        self._renamed: dict[str, str] = {}  # uids of the source that are others in the target
        self.progress: Progress | None = None
        self.report = MigrationReport()

    def run(self, ids: Sequence[str] | None, *, include_trash: bool) -> MigrationReport:
        """Go through the sessions, then through the trash."""
        self.report.total = sum(header.message_count for header in self._visible(ids))
        if include_trash:
            self.report.total += sum(h.message_count for h in walk(self._source, hidden=True))
        for header in self._visible(ids):
            self._take(header, self._session)
        if include_trash:
            for header in walk(self._source, hidden=True):
                self._take(header, lambda found: self._trash(found, ids))
        return self.report

    def _visible(self, ids: Sequence[str] | None) -> Iterator[HeaderRow]:
        if ids is None:
            yield from walk(self._source, hidden=False)
            return
        for session_id in ids:
            with contextlib.suppress(SessionNotFound):  # it was there when this began
                yield self._source._read(lambda tx: self._source._find(tx, session_id))  # noqa: B023  # called at once

    def _take(self, header: HeaderRow, work: Callable[[HeaderRow], None]) -> None:
        """Deal with one session of the source; what is wrong with it is not the end of the migration."""
        seen = self.report.seen
        try:
            self._until_still(header, work)
        except (CorruptSession, SessionExists) as error:
            self._refuse(header, str(error))
        self.report.seen = seen + header.message_count
        self._tell()

    def _until_still(self, header: HeaderRow, work: Callable[[HeaderRow], None]) -> None:
        """Begin again with a session that somebody writes to meanwhile."""
        current: HeaderRow | None = header
        seen = self.report.seen
        for _ in range(_ATTEMPTS):
            if current is None or current.hidden != header.hidden:
                return  # it went meanwhile
            self.report.seen = seen
            try:
                work(current)
                return
            except ChangedError:
                uid = current.uid
                current = self._source._read(lambda tx: tx.find_uid(uid))  # noqa: B023  # called at once
        self._refuse(header, "it is being written to; migrate it again when that is over")

    def _refuse(self, header: HeaderRow, reason: str) -> None:
        self.report.refused.append(Refused(header.id.removeprefix(HIDDEN), reason))

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.report)

    # What becomes of one.

    def _session(self, header: HeaderRow) -> None:
        facts = facts_of(self._source, header)
        there = self._there(header.id)
        if there is None:
            uid = self._copy(header, facts, replaces=None)
            self.report.copied += 1
        elif self._is_equal(header, facts, there):
            uid = there.uid
            self.report.equal += 1
        elif self._on_existing == "replace":
            uid = self._copy(header, facts, replaces=there)
            self.report.replaced += 1
        elif self._on_existing == "skip":
            uid = there.uid
            self.report.skipped += 1
        else:
            self._refuse(header, f"{self._target.url} has a different session with this id")
            return
        if uid != header.uid:
            self._renamed[header.uid] = uid

    def _there(self, session_id: str) -> HeaderRow | None:
        """Return the target's session with an id, unless it has expired."""

        def work(tx: Transaction) -> HeaderRow | None:
            header = tx.find(session_id)
            return None if header is None or is_expired(header, tx.now()) else header

        return self._target._read(work)

    def _trash(self, header: HeaderRow, ids: Sequence[str] | None) -> None:
        """Copy an entry of the trash that the target does not know, in whatever state."""
        facts = facts_of(self._source, header)
        trash = facts["data"].get("trash")
        if trash is None or (ids is not None and trash["id"] not in ids):
            return
        known = self._target._read(lambda tx: tx.find_uid(header.uid))
        if known is not None and not is_unfinished(self._target, known):
            return
        if trash["uid"] in self._renamed:
            trash["uid"] = self._renamed[trash["uid"]]
        self._copy(header, facts, replaces=None)
        self.report.trash += 1

    def _is_equal(self, header: HeaderRow, facts: Facts, there: HeaderRow) -> bool:
        """Compare a session with the target's; most that differ do so before a message was read."""
        if facts != facts_of(self._target, there) or header.message_count != there.message_count:
            return False
        ours, theirs = Digest(), Digest()
        for portion in portions(self._source, header):
            ours.add_messages(portion)
            self.report.seen += len(portion)
            self._tell()
        for portion in portions(self._target, there):
            theirs.add_messages(portion)
        for store, found, digest in (
            (self._source, header, ours),
            (self._target, there, theirs),
        ):
            for record in records(store, found):
                digest.add_record(*record)
        expect_still(self._source, header)
        return ours == theirs

    # Copying.

    def _copy(self, header: HeaderRow, facts: Facts, *, replaces: HeaderRow | None) -> str:
        """Copy one session and return its uid in the target."""
        if self._dry_run:
            self.report.messages += header.message_count
            return header.uid
        stage = Stage(self._target, header)
        try:
            digest = Digest()
            for portion in portions(self._source, header):
                digest.add_messages(portion)
                stage.add_messages(portion)
                self.report.seen += len(portion)
                self._tell()
            for record in records(self._source, header):
                digest.add_record(*record)
                stage.add_record(*record)
            expect_still(self._source, header)
            stage.verify(digest)
            stage.show(facts, self._source._preview(header), replaces)
        except BaseException:
            stage.drop()
            raise
        self.report.messages += header.message_count
        return stage.uid
