"""Commit of a unit of work on a cluster, where only keys with the same tag change in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from operator import methodcaller

from omniagent_cli.errors import OmniAgentError, StoreUnavailable
from omniagent_cli.stores.backends.redis.commit import ChangedError, Changes, Step
from omniagent_cli.stores.backends.redis.delivery import unknown_outcome
from omniagent_cli.stores.backends.redis.errors import UnknownOutcomeError
from omniagent_cli.stores.backends.redis.rows import KINDS, entry


def commit_apart(changes: Changes, now: datetime) -> None:
    """Commit all changes in an order that loses nothing.

    New sessions come first, then the ids and index entries of new or renamed ones, then existing sessions, of which those
    that lose messages are last, then the index again. After an interruption messages exist twice or are not in the index
    until `check` repairs it; none is lost.

    Raises:
        ChangedError: another writer changed what this unit of work read; nothing was done.
    """
    _fetch_moved(changes)
    sessions = changes.sessions
    new = [uid for uid, change in sessions.items() if change.is_new]
    old = [uid for uid in sessions if uid not in new]
    old.sort(key=lambda uid: (sessions[uid].removed, sessions[uid].removals))
    claims = changes.claims()
    claimed = [uid for uid, change in sessions.items() if change.header and changes.claims_id(uid)]
    undo: list[Callable[[], None]] = []
    try:
        for uid in (uid for uid in changes.guards if uid not in sessions):
            changes.send([uid], [], finish=False)
        for uid in new:
            undo.append(partial(changes.unmake, uid))
            changes.send([uid], changes.steps_of([uid], now))
        if claimed:
            undo += [partial(_unclaim, changes, uid) for uid in claimed]
            changes.send([], [], claims=claims, entries=changes.entries(claimed))
        for uid in old:
            changes.send([uid], changes.steps_of([uid], now))
            undo.clear()  # the change is partly committed; the rest follows, now or by `check`
    except UnknownOutcomeError:
        raise  # what would be undone may be all that is left of moved messages
    except (ChangedError, OmniAgentError) as error:
        _undo(changes, undo, error)
        raise
    rest = [uid for uid in sessions if uid not in claimed]
    meta = [step for step in changes.steps if step[0] == "meta"]
    if rest or meta:
        _follow(changes, rest, meta)


def _undo(changes: Changes, undo: Sequence[Callable[[], None]], cause: Exception) -> None:
    try:
        for step in reversed(undo):
            step()
    except StoreUnavailable as error:
        raise unknown_outcome(changes.connection, str(error)) from cause


def _follow(changes: Changes, uids: Sequence[str], meta: Sequence[Step]) -> None:
    """Bring the index up to date after the sessions were changed."""
    try:
        changes.send([], meta, entries=changes.entries(uids))
    except StoreUnavailable as error:
        if meta or any(changes.sessions[uid].removed for uid in uids):
            raise
        # The change is stored and readable. Only the order of lists is outdated, until the next change or a repair.
        import logging

        logging.getLogger("omniagent.stores").warning(
            "the session index of %s is outdated: %s; run: omniagent store check --repair",
            changes.connection.url,
            error,
        )


def _unclaim(changes: Changes, uid: str) -> None:
    before, after = changes.sessions[uid].seen.header, changes.sessions[uid].header
    line = b"" if before is None else entry(before)
    key = f"{changes.connection.keys.store}entries"
    known = changes.connection.ask(lambda client: client.hget(key, uid))
    if after is not None and known == entry(after):
        changes.send([], [], entries=[(uid, line)], kinds=KINDS)


def _fetch_moved(changes: Changes) -> None:
    """Turn moves of messages between tags into additions and removals."""
    steps: list[Step] = []
    for step in changes.steps:
        name, uids, rest = step
        if name != "move":
            steps.append(step)
            continue
        key = changes.connection.keys.rows(uids[0])
        members = changes.connection.ask(methodcaller("zrangebyscore", key, *rest))
        steps += [("members", [uids[1]], members), ("cut", [uids[0]], rest)]
    changes.steps = steps
