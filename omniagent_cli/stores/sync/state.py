"""The state of a session and the rules that merge two of them; pure functions over values.

`merge` is a join: commutative, associative and idempotent, so stores reach the same state whatever the order in which
they are synchronized. What a state means (which messages are there and in which order, which facts hold) is derived
from it by the functions below `settle`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, NamedTuple

from omniagent_cli.json_format import dump
from omniagent_cli.stores.facts import BEGUN, DELETED, later

_SURVIVING = ("id", "ttl", DELETED)
"""Facts that a deletion does not remove."""


class Fact(NamedTuple):
    """A fact and the stamp of its last change; "" if it was never changed after the session began.

    Attributes:
        value: the value in a tuple; an empty tuple if the fact was removed.
    """

    stamp: str
    value: tuple[Any, ...]

    @property
    def rank(self) -> tuple[str, bytes]:
        """The key by which the greater of two facts wins."""
        return self.stamp, dump(list(self.value)) if self.value else b""


class Revision(NamedTuple):
    """A version of a message; the greater of two wins.

    Attributes:
        revised_at: stamp of the last edit; "" if there was none.
        complete: it is not interrupted.
        size: length of the record in canonical JSON, because an interrupted answer only grows.
        digest: digest of the record, hexadecimal.
    """

    revised_at: str
    complete: bool
    size: int
    digest: str


class Order(NamedTuple):
    """The logical time at which a message was written: never before one that its writer had seen.

    Attributes:
        time: its ``created_at``, or that of the latest message before it if that is later.
        number: counts messages with the same time; 0 for a message with its own.
    """

    time: str
    number: int = 0


class MessageState(NamedTuple):
    """A message of a session, without its content.

    Attributes:
        turn: id of the turn it belongs to; its own id if it belongs to none.
    """

    revision: Revision
    order: Order
    turn: str


@dataclass(frozen=True, slots=True)
class SessionState:
    """The state of one session in one store.

    Attributes:
        facts: by name, as in `stores.facts`.
        messages: by id.
        removed: stamps of removed messages by id, those that were restored included.
        restored: stamps of the restoration of removed messages by id.
        attachments: SHA-256 of each attachment.
        uids: uids of the session in all stores.
        created_at, updated_at, changed_at: times of the session; "" if unknown.
    """

    facts: Mapping[str, Fact] = field(default_factory=dict)
    messages: Mapping[str, MessageState] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    restored: Mapping[str, str] = field(default_factory=dict)
    attachments: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()
    created_at: str = ""
    updated_at: str = ""
    changed_at: str = ""
    _ordered: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def is_removed(self, message_id: str) -> bool:
        """Return True if a message was removed and not restored; a removal wins over everything at its time."""
        stamp = self.removed.get(message_id)
        return stamp is not None and self.restored.get(message_id, "") <= stamp


EMPTY = SessionState()


def merge(one: SessionState, other: SessionState) -> SessionState:
    """Return the join of two states of a session, which may contain removed messages; see `settle`."""
    facts = dict(one.facts)
    for name, fact in other.facts.items():
        facts[name] = max(facts.get(name, fact), fact, key=lambda own: own.rank)
    return SessionState(
        facts=facts,
        messages=_join_messages(one.messages, other.messages),
        removed=_latest(one.removed, other.removed),
        restored=_latest(one.restored, other.restored),
        attachments=one.attachments | other.attachments,
        uids=one.uids | other.uids,
        created_at=min(filter(None, (one.created_at, other.created_at)), default=""),
        updated_at=max(one.updated_at, other.updated_at),
        changed_at=max(one.changed_at, other.changed_at),
    )


def settle(state: SessionState) -> SessionState:
    """Return a state as a store keeps it: without removed messages, and without the facts that a deletion removed.

    What exists after a deletion was begun, and has its facts, since that deletion.
    """
    if any(map(state.is_removed, state.removed)):
        kept = {key: known for key, known in state.messages.items() if not state.is_removed(key)}
        state = replace(state, messages=kept)
    deleted = deleted_at(state)
    if not deleted:
        return state
    facts = {
        name: fact
        for name, fact in state.facts.items()
        if fact.stamp > deleted or name in _SURVIVING
    }
    state = replace(state, facts=facts)
    if exists(state):
        since = later(deleted, deleted)
        facts = {
            name: fact._replace(stamp=since) if deleted > fact.stamp else fact
            for name, fact in facts.items()
        }
        facts.setdefault(BEGUN, Fact(since, (True,)))
    return replace(state, facts=facts)


def _join_messages(
    one: Mapping[str, MessageState], other: Mapping[str, MessageState]
) -> dict[str, MessageState]:
    messages = dict(one)
    for key, message in other.items():
        known = messages.get(key, message)
        if known != message:
            message = MessageState(*_best(known, message))  # noqa: PLW2901  # the joined one
        messages[key] = message
    return messages


def _best(one: MessageState, other: MessageState) -> tuple[Revision, Order, str]:
    revision, turn = max((one.revision, one.turn), (other.revision, other.turn))
    return revision, min(one.order, other.order), turn


def _latest(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    stamps = dict(one)
    for key, stamp in other.items():
        stamps[key] = max(stamp, stamps.get(key, ""))
    return stamps


def deleted_at(state: SessionState) -> str:
    """Return the stamp of the session's deletion; "" if it was never deleted."""
    return state.facts[DELETED].stamp if DELETED in state.facts else ""


def exists(state: SessionState) -> bool:
    """Return True if a settled state is a session: never deleted, begun again, or written to independently."""
    deleted = deleted_at(state)
    begun = state.facts[BEGUN].stamp if BEGUN in state.facts else ""
    return bool(state.messages) or begun > deleted or (not deleted and bool(state.facts))


def session_id_of(state: SessionState) -> str:
    """Return the visible id; "" if the state has none."""
    fact = state.facts.get("id")
    return fact.value[0] if fact is not None and fact.value else ""


def ordered(state: SessionState) -> list[str]:
    """Return the ids of the messages: whole turns in the order of their first message, ties by id."""
    if state._ordered or not state.messages:  # noqa: SLF001  # computed before
        return state._ordered  # noqa: SLF001
    first: dict[str, tuple[Order, str]] = {}
    for key, message in state.messages.items():
        place = (message.order, key)
        if place < first.setdefault(message.turn, place):
            first[message.turn] = place
    places = [
        (first[message.turn], message.turn, message.order, key)
        for key, message in state.messages.items()
    ]
    state._ordered.extend(place[-1] for place in sorted(places))  # noqa: SLF001
    return state._ordered  # noqa: SLF001


def digest(state: SessionState) -> str:
    """Return a digest that two stores have in common exactly if their states are equal."""
    value = [
        [[name, fact.stamp, *fact.value] for name, fact in sorted(state.facts.items())],
        [
            [key, *message.revision, *message.order, message.turn]
            for key, message in sorted(state.messages.items())
        ],
        sorted(state.removed.items()),
        sorted(state.restored.items()),
        sorted(state.attachments),
        sorted(state.uids),
        [state.created_at, state.updated_at, state.changed_at],
    ]
    return blake2b(dump(value), digest_size=8).hexdigest()


def lacking(merged: SessionState, own: SessionState) -> list[str]:
    """Return the ids of the messages, in order, whose content a store with the state `own` needs."""
    return [
        key
        for key in ordered(merged)
        if key not in own.messages or own.messages[key].revision != merged.messages[key].revision
    ]
