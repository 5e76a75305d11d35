"""The changes of a unit of work, committed by one script, or on a cluster in an order that loses nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from omniagent_cli.errors import CorruptSession
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.stores.backend import HeaderRow, MessageRow
from omniagent_cli.stores.backends.redis.delivery import deliver, unknown_outcome
from omniagent_cli.stores.backends.redis.rows import (
    FORMAT,
    INFO,
    KINDS,
    Seen,
    entry,
    header_fields,
    kind_of,
    row_bytes,
)
from omniagent_cli.stores.backends.redis.scripts import COMMIT

if TYPE_CHECKING:
    from omniagent_cli.stores.backends.redis.connection import Connection

GRACE_MS = 60_000
"""Time by which the keys of a session outlive it, so that no unit of work loses half of what it reads."""

REMEMBERED = timedelta(days=1)
"""Time after which an expired and removed session is no longer distinguished from an unknown one."""

SPILL = 1000
"""Number of messages of a new session that are sent ahead of its header, invisible until then."""

_SPILLED_MS = 3_600_000

Step = tuple[Any, ...]
"""Name of a change in the script, the uids of its sessions, and its other arguments."""

Entry = tuple[str, bytes]
"""Uid and index entry of a session; an empty entry removes it."""


class ChangedError(Exception):
    """Another writer changed a session: the unit of work must run again.

    Attributes:
        uid: the changed session, if known.
        found: its current header, as the script returned it.
    """

    def __init__(self, uid: str | None = None, found: Sequence[Any] | None = None) -> None:
        super().__init__(uid)
        self.uid = uid
        self.found = found


@dataclass(slots=True)
class Change:
    """The changes of one session."""

    seen: Seen = INFO
    header: HeaderRow | None = None
    touched: bool = False
    removals: bool = False
    grows: bool = False
    removed: bool = False

    @property
    def is_new(self) -> bool:
        """Return True if the session is new."""
        return self.seen.etag == b"" and not self.removed

    @property
    def needs_rows(self) -> bool:
        """Return True if messages are added to existing ones, which must still exist."""
        known = self.seen.header
        return self.grows and known is not None and known.message_count > 0


@dataclass(slots=True)
class Changes:
    """The changes of one unit of work.

    Attributes:
        token: identifies the operation, so that the server recognizes a commit it has already done.
        ids: uids of the ids that were looked up; '' for an unknown id.
        guards: sessions that were read and must be unchanged.
        metas: values of the store that were read and must be unchanged; not checked on a cluster.
    """

    connection: Connection
    token: str
    sessions: dict[str, Change] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    guards: dict[str, Seen] = field(default_factory=dict)
    metas: dict[str, bytes] = field(default_factory=dict)
    spilled: dict[str, int] = field(default_factory=dict)

    def of(self, uid: str) -> Change:
        """Return the change of a session, to add to it."""
        if uid not in self.sessions:
            self.sessions[uid] = Change(self.guards.get(uid, INFO))
        self.sessions[uid].touched = True
        return self.sessions[uid]

    def put(self, header: HeaderRow) -> None:
        """Write a header; without a payload the previous one stays."""
        change = self.of(header.uid)
        own = replace(header)
        if own.payload is None and change.header is not None:
            own.payload = change.header.payload
        change.header = own

    def insert(self, uid: str, rows: Sequence[MessageRow]) -> None:
        """Add messages."""
        change = self.of(uid)
        change.grows = True
        self.steps.append(("rows", [uid], rows))
        if change.is_new:
            self.spilled[uid] = self.spilled.get(uid, 0) + len(rows)
            if self.spilled[uid] >= SPILL and len(rows) < self.spilled[uid]:
                self._spill(uid)

    def _spill(self, uid: str) -> None:
        ahead = [step for step in self.steps if step[:2] == ("rows", [uid])]
        self.send([uid], [*ahead, ("spill", [uid], (_SPILLED_MS,))], finish=False)
        self.steps = [step for step in self.steps if step[:2] != ("rows", [uid])]
        self.spilled[uid] = 1

    def discard(self) -> None:
        """Remove messages that were sent ahead for an abandoned unit of work."""
        for uid in self.spilled:
            self.unmake(uid)

    def unmake(self, uid: str) -> None:
        """Remove every key of a session that is not in the index yet."""
        self.connection.ask(lambda client: client.unlink(*self.connection.keys.session(uid)))

    def commit(self, now: datetime, *, sweep: bool) -> None:
        """Commit all changes.

        Raises:
            ChangedError: another writer changed what this unit of work read; nothing was done.
        """
        if not self.sessions and not self.steps:
            return
        uids = [*self.sessions, *(uid for uid in self.guards if uid not in self.sessions)]
        sweeps = sweep and any(change.is_new for change in self.sessions.values())
        before = format_time(now - REMEMBERED) if sweeps else ""
        entries = self.entries(self.sessions)
        self.send(
            uids, self.steps_of(uids, now), claims=self.claims(), entries=entries, sweep=before
        )

    def rewrite(self, now: datetime) -> None:
        """Rewrite headers and their index entries, whatever exists now; for a repair."""
        for uid in self.sessions:
            self.send([uid], self.steps_of([uid], now))
            self.send([], [], entries=[(uid, b"")], kinds=KINDS)
            self.send([], [], entries=self.entries([uid]), kinds=KINDS)

    # Parts of a call

    def steps_of(self, uids: Iterable[str], now: datetime) -> list[Step]:
        """Return the steps for some sessions: messages and records, then headers, then removals."""
        chosen = set(uids)
        steps = [
            step
            for step in self.steps
            if chosen.issuperset(step[1]) and (step[1] or not self.connection.cluster)
        ]
        for uid in chosen & self.sessions.keys():
            change = self.sessions[uid]
            if change.removed:
                steps.append(("remove", [uid], ()))
                continue
            if change.header is not None:
                steps.append(("header", [uid], _header_arguments(change.header)))
            ending = (1 if change.removals else 0, _ttl(change.header, now))
            steps.append(("finish", [uid], ending))
        return steps

    def claims_id(self, uid: str) -> bool:
        """Return True if a session gets an id that it did not have."""
        change = self.sessions[uid]
        before = change.seen.header
        return change.header is not None and (
            before is None or not change.seen.etag or before.id != change.header.id
        )

    def claims(self) -> list[tuple[str, str]]:
        """Return the ids that sessions get, each with its current owner."""
        return [
            (change.header.id, self.ids.get(change.header.id, ""))
            for uid, change in self.sessions.items()
            if change.header is not None and not change.removed and self.claims_id(uid)
        ]

    def entries(self, uids: Iterable[str]) -> list[Entry]:
        """Return the new index entries of some sessions."""
        entries = []
        for uid in uids:
            change = self.sessions[uid]
            if change.removed:
                entries.append((uid, b""))
            elif change.header is not None:
                entries.append((uid, entry(change.header)))
        return entries

    def _kinds(self, entries: Iterable[Entry]) -> str:
        """Return the kinds of the lists that some entries leave and join, as far as this process knows."""
        changes = [self.sessions[uid] for uid, _ in entries]
        headers = [header for change in changes for header in (change.seen.header, change.header)]
        kinds = {kind_of(header) for header in headers if header is not None}
        return "".join(kind for kind in KINDS if kind in kinds)

    def send(
        self,
        uids: Sequence[str],
        steps: Sequence[Step],
        *,
        claims: Sequence[tuple[str, str]] = (),
        entries: Sequence[Entry] | None = None,
        kinds: str | None = None,
        sweep: str = "",
        finish: bool = True,
    ) -> None:
        """Run the commit script.

        Args:
            uids: the sessions whose keys it gets.
            steps: the changes, in order.
            claims: ids that sessions get, each with its current owner.
            entries: changes of the index, after all others; None leaves the keys of the store alone.
            kinds: kinds of the lists whose keys it gets; None for those that the entries need.
            sweep: remove some index entries of sessions that expired before this time.
            finish: messages that are added to existing ones need those to be there.
        """
        store = entries is not None
        if store and kinds is None:
            kinds = KINDS if sweep else self._kinds(entries or ())
        keys = self.connection.keys.index(kinds or "") if store else []
        for uid in uids:
            keys += self.connection.keys.session(uid)
        numbers = {uid: number for number, uid in enumerate(uids, 1)}
        changes = [self.sessions.get(uid) for uid in uids]
        arguments: list[Any] = [self.token, FORMAT, kinds if store else "-", int(self._frees())]
        arguments.append(len(uids))
        for uid, change in zip(uids, changes, strict=True):
            seen = change.seen if change is not None else self.guards[uid]
            arguments += [seen.etag, int(finish and change is not None and change.needs_rows)]
        metas = {} if self.connection.cluster or not store else self.metas
        for pairs in (claims, metas.items(), entries or ()):
            arguments.append(len(pairs))
            for pair in pairs:
                arguments += pair
        arguments.append(sweep)
        for name, of, rest in steps:
            if name in ("rows", "members"):
                arguments += ["rows", numbers[of[0]], len(rest)]
                for row in rest:
                    arguments += _position_and_bytes(row)
            else:
                arguments += [name, *(numbers[uid] for uid in of), *rest]
        answer, repeated = deliver(self.connection, COMMIT, keys, arguments)
        if answer[0] == b"kinds":
            self.send(uids, steps, claims=claims, entries=entries, kinds=KINDS, sweep=sweep)
        elif not repeated or answer[0] in (b"done", b"newer") or not self._is_stored(steps):
            self._read_answer(uids, answer)

    def _frees(self) -> bool:
        """Return True if the changes remove more than they add, so that a full server should run them too."""
        changes = self.sessions.values()
        return any(
            change.removed
            or change.removals
            or (change.header is not None and change.header.hidden)
            for change in changes
        ) and not any(change.grows for change in changes)

    def _is_stored(self, steps: Iterable[Step]) -> bool:
        """Return True if a commit without a response stored its messages, although others have written since.

        Raises:
            StoreUnreachable: it adds no message by which to recognize it.
        """
        added = [(uids[0], rows[-1]) for name, uids, rows in steps if name == "rows"]
        if not added:
            raise unknown_outcome(self.connection, "other programs have written since")
        uid, row = added[-1]
        key = self.connection.keys.rows(uid)
        score = self.connection.ask(lambda client: client.zscore(key, row_bytes(row)))
        return score is not None

    def _read_answer(self, uids: Sequence[str], answer: Sequence[Any]) -> None:
        word, seconds, microseconds, what = answer[:4]
        self.connection.heard(seconds, microseconds)
        if word == b"done":
            return
        if word == b"newer":
            raise self.connection.newer(what)
        if word == b"lost":
            raise lost(self.sessions[uids[int(what) - 1]].seen.header)
        if word == b"changed":
            raise ChangedError(uids[int(what) - 1], answer[4])
        if word == b"meta":
            self.connection.mark = None
        raise ChangedError


def lost(header: HeaderRow | None) -> CorruptSession:
    """Return the error for a session of which only the header exists."""
    session_id = header.id if header else None
    return CorruptSession(
        f"the session {session_id!r} is damaged: its messages are gone from the server, which may have evicted"
        " them (maxmemory-policy); restore them from a backup of the server, or delete the session",
        session_id=session_id,
    )


def lost_header(header: HeaderRow) -> CorruptSession:
    """Return the error for a session that is in the index and has no header."""
    return CorruptSession(
        f"the session {header.id!r} is damaged: its header is missing on the server, which may have evicted it"
        " (maxmemory-policy); restore it from a backup of the server, or run: omniagent store check --repair",
        session_id=header.id,
    )


def _header_arguments(header: HeaderRow) -> tuple[Any, ...]:
    with_payload = header.payload is not None
    return (header_fields(header), header.preview, int(with_payload), header.payload or b"")


def _ttl(header: HeaderRow | None, now: datetime) -> str:
    if header is None:
        return "same"
    if header.expires_at is None:
        return ""
    rest = parse_time(header.expires_at) - now
    return str(max(int(rest.total_seconds() * 1000), 0) + GRACE_MS)


def _position_and_bytes(row: MessageRow | bytes) -> tuple[Any, bytes]:
    """Return the position and the stored form of a message, which begins with the position."""
    if isinstance(row, bytes):
        return row[1 : row.index(b",")], row
    return row.position, row_bytes(row)
