"""The changes of a unit of work, committed by one script, or on a cluster in an order that loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from omniagent_cli.errors import CorruptSession, OmniAgentError
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.stores.backend import HeaderRow, MessageRow
from omniagent_cli.stores.backends.redis.rows import (
    ABSENT,
    FORMAT,
    Seen,
    entry,
    header_fields,
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

    seen: Seen = ABSENT
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
            self.sessions[uid] = Change(self.guards.get(uid, ABSENT))
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
        self._send([uid], [*ahead, ("spill", [uid], (_SPILLED_MS,))], finish=False)
        self.steps = [step for step in self.steps if step[:2] != ("rows", [uid])]
        self.spilled[uid] = 1

    def discard(self) -> None:
        """Remove messages that were sent ahead for an abandoned unit of work."""
        for uid in self.spilled:
            self._unmake(uid)

    def commit(self, now: datetime, *, sweep: bool) -> None:
        """Commit all changes.

        Raises:
            ChangedError: another writer changed what this unit of work read; nothing was done.
        """
        if not self.sessions and not self.steps:
            return
        if self.connection.cluster:
            self._commit_apart(now)
            return
        uids = [*self.sessions, *(uid for uid in self.guards if uid not in self.sessions)]
        tail = self._entries(self.sessions)
        if sweep and any(change.is_new for change in self.sessions.values()):
            tail.append(("sweep", [], (format_time(now - REMEMBERED),)))
        self._send(uids, self._of(uids, now), claims=self._claims(), tail=tail, store=True)

    def rewrite(self, now: datetime) -> None:
        """Rewrite headers and their index entries, whatever exists now; for a repair."""
        for uid in self.sessions:
            self._send([uid], self._of([uid], now))
            tail: list[Step] = [("entry", [], (uid, b"")), *self._entries([uid])]
            self._send([], [], tail=tail, store=True)

    def _commit_apart(self, now: datetime) -> None:
        """Commit on a cluster, where only keys with the same tag change in one step.

        New sessions come first, then the ids and index entries of new or renamed ones, then existing sessions, of which those
        that lose messages are last, then the index again. After an interruption messages exist twice or are not in the index
        until `check` repairs it; none is lost.
        """
        self._fetch_moved()
        read = [uid for uid in self.guards if uid not in self.sessions]
        new = [uid for uid, change in self.sessions.items() if change.is_new]
        old = [uid for uid in self.sessions if uid not in new]
        old.sort(key=lambda uid: (self.sessions[uid].removed, self.sessions[uid].removals))
        claims = self._claims()
        claimed = [
            uid for uid, change in self.sessions.items() if change.header and self._claims_id(uid)
        ]
        undo: list[Callable[[], None]] = []
        try:
            for uid in read:
                self._send([uid], [], finish=False)
            for uid in new:
                undo.append(lambda uid=uid: self._unmake(uid))  # type: ignore[misc]  # bound now
                self._send([uid], self._of([uid], now))
            if claimed:
                undo += [lambda uid=uid: self._unclaim(uid) for uid in claimed]  # type: ignore[misc]
                self._send([], [], claims=claims, tail=self._entries(claimed), store=True)
            for uid in old:
                self._send([uid], self._of([uid], now))
                undo.clear()  # the change is partly committed; the rest follows, now or by `check`
        except (ChangedError, OmniAgentError):
            for step in reversed(undo):
                step()
            raise
        rest = [uid for uid in self.sessions if uid not in claimed]
        meta = [step for step in self.steps if step[0] == "meta"]
        if rest or meta:
            self._send([], meta, tail=self._entries(rest), store=True)

    def _unmake(self, uid: str) -> None:
        key = self.connection.keys.header(uid)
        rows, records = self.connection.keys.rows(uid), self.connection.keys.records(uid)
        self.connection.ask(lambda client: client.unlink(key, rows, records))

    def _unclaim(self, uid: str) -> None:
        before = self.sessions[uid].seen.header
        line = b"" if before is None else entry(before)
        known = self.connection.ask(
            lambda client: client.hget(f"{self.connection.keys.store}entries", uid)
        )
        after = self.sessions[uid].header
        if after is not None and known == entry(after):
            self._send([], [], tail=[("entry", [], (uid, line))], store=True)

    def _fetch_moved(self) -> None:
        """Turn moves of messages between tags into additions and removals."""
        steps: list[Step] = []
        for step in self.steps:
            name, uids, rest = step
            if name != "move":
                steps.append(step)
                continue
            key = self.connection.keys.rows(uids[0])
            members = self.connection.ask(methodcaller("zrangebyscore", key, *rest))
            steps += [("members", [uids[1]], members), ("cut", [uids[0]], rest)]
        self.steps = steps

    # Parts of a call

    def _of(self, uids: Iterable[str], now: datetime) -> list[Step]:
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

    def _claims_id(self, uid: str) -> bool:
        change = self.sessions[uid]
        before = change.seen.header
        return change.header is not None and (
            before is None or not change.seen.etag or before.id != change.header.id
        )

    def _claims(self) -> list[tuple[str, str]]:
        """Return the ids that sessions get, each with its current owner."""
        return [
            (change.header.id, self.ids.get(change.header.id, ""))
            for uid, change in self.sessions.items()
            if change.header is not None and not change.removed and self._claims_id(uid)
        ]

    def _entries(self, uids: Iterable[str]) -> list[Step]:
        steps: list[Step] = []
        for uid in uids:
            change = self.sessions[uid]
            if change.removed:
                steps.append(("entry", [], (uid, b"")))
            elif change.header is not None:
                steps.append(("entry", [], (uid, entry(change.header))))
        return steps

    def _send(
        self,
        uids: Sequence[str],
        steps: Iterable[Step],
        *,
        claims: Sequence[tuple[str, str]] = (),
        tail: Iterable[Step] = (),
        store: bool = False,
        finish: bool = True,
    ) -> None:
        keys = [self.connection.keys.store] if store else []
        keys += [self.connection.keys.header(uid) for uid in uids]
        numbers = {uid: number for number, uid in enumerate(uids, 1)}
        arguments: list[Any] = [self.token, FORMAT, int(store), len(uids)]
        for uid, number in numbers.items():
            change = self.sessions.get(uid)
            seen = change.seen if change is not None else self.guards[uid]
            needs_rows = finish and change is not None and change.needs_rows
            arguments += [number, seen.etag, int(needs_rows)]
        arguments.append(len(claims))
        for claim in claims:
            arguments += claim
        metas = {} if self.connection.cluster or not store else self.metas
        arguments.append(len(metas))
        for name, value in metas.items():
            arguments += [name, value]
        for name, of, rest in (*steps, *tail):
            if name == "rows":
                arguments += ["rows", numbers[of[0]], len(rest)]
                for row in rest:
                    arguments += [row.position, row_bytes(row)]
            elif name == "members":
                arguments += ["rows", numbers[of[0]], len(rest)]
                for member in rest:
                    arguments += [_position(member), member]
            else:
                arguments += [name, *(numbers[uid] for uid in of), *rest]
        self._read_answer(uids, self.connection.commit(COMMIT, keys, arguments))

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


def _position(member: bytes) -> bytes:
    """Return the position at the start of a stored message."""
    return member[1 : member.index(b",")]
