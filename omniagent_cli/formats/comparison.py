"""Whether an incoming session is known, older, goes on where ours ends, or contradicts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from omniagent_cli.json_format import dump
from omniagent_cli.models import Message
from omniagent_cli.stores import SessionStore

_SAID = ("role", "content", "tool_calls", "tool_call_id", "name")


def digest(record: dict[str, Any]) -> bytes:
    """Return what two messages have in common if they say the same: not their ids, times or costs."""
    return blake2b(dump([record.get(key) for key in _SAID]), digest_size=16).digest()


def listed_ids(*ids: str | int) -> bytes:
    """Return ids and numbers as `dump` writes a list of them; what needs no escapes is only put together."""
    if all(isinstance(one, int) or (one.isascii() and one.isalnum()) for one in ids):
        listed = [f"{one}" if isinstance(one, int) else f'"{one}"' for one in ids]
        return f"[{','.join(listed)}]".encode()
    return dump(list(ids))


class Chain:
    """A digest over messages in order, so that two sessions compare without being held."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self.count = 0

    def add(self, message_id: str, said: bytes) -> None:
        """Take in the next message."""
        self._hash.update(listed_ids(message_id, said.hex()))
        self.count += 1

    def hex(self) -> str:
        """Return the digest so far."""
        return self._hash.hexdigest()


def chain_of(store: SessionStore, session_id: str, *, limit: int | None = None) -> tuple[str, int]:
    """Return the digest of a stored session's first `limit` messages, and how many those were."""
    chain = Chain()
    for message in store.iter_messages(session_id):
        if chain.count == limit:
            break
        chain.add(message.id or "", digest(message.record))
    return chain.hex(), chain.count


@dataclass(slots=True)
class Findings:
    """What comparing brought to light.

    Attributes:
        known: incoming messages that we have.
        altered: incoming messages whose id we have with other words.
        missing: incoming messages that we lack, although later ones are known.
        leading: those of `missing` that stand before every known one.
        tail: incoming messages that we lack, after the last known one.
        ours_after: whether we have messages after the last known one.
        trimmed: whether the beginning of our session was removed.
        first_other: the id of the first incoming message that is not here, or says other words.
    """

    known: int = 0
    altered: int = 0
    missing: int = 0
    leading: int = 0
    tail: int = 0
    ours_after: bool = False
    trimmed: bool = False
    first_other: str = ""

    @property
    def fits(self) -> bool:
        """Whether everything that both have agrees."""
        lacking = self.missing - (self.leading if self.trimmed else 0)
        return not self.altered and not lacking


class Comparison:
    """Our session walked along beside the incoming one; holds ids only from where they part."""

    def __init__(self, store: SessionStore, session_id: str) -> None:
        self._walk: Iterator[Message] = store.iter_messages(session_id)
        self._parted: dict[str, tuple[int, bytes]] | None = None
        self._passed = 0
        self._count = 0
        self._last_known = -1
        self.found = Findings()

    def is_known(self, message_id: str, said: bytes) -> bool:
        """Take in the next incoming message and tell whether it stands in our session."""
        found = self.found
        is_first = not (found.known or found.altered)
        altered = found.altered
        place = self._place(message_id, said)
        if place is None or found.altered > altered:
            found.first_other = found.first_other or message_id
        if place is None:
            found.tail += 1
            return False
        if is_first:
            found.leading = found.tail
        found.missing += found.tail
        found.tail = 0
        self._last_known = max(self._last_known, place)
        return True

    def finish(self) -> Findings:
        """Say what was found, once all incoming messages were taken in."""
        if self._parted is not None:
            self.found.ours_after = self._last_known < self._count - 1
        else:
            self.found.ours_after = next(self._walk, None) is not None
        return self.found

    def _place(self, message_id: str, said: bytes) -> int | None:
        """Return the place of a message in ours, counting whether it is known or altered."""
        if self._parted is None:
            ours = next(self._walk, None)
            if ours is None:
                return None
            self._note_trim(ours)
            if ours.id == message_id and digest(ours.record) == said:
                self._passed += 1
                self.found.known += 1
                return self._passed - 1
            self._part(ours)
        return self._look_up(message_id, said)

    def _note_trim(self, ours: Message) -> None:
        if self._passed == 0:
            self.found.trimmed = bool(ours.position)

    def _part(self, ours: Message) -> None:
        self._parted = {}
        self._count = self._passed
        message: Message | None = ours
        while message is not None:
            self._parted[message.id or ""] = (self._count, digest(message.record))
            self._count += 1
            message = next(self._walk, None)

    def _look_up(self, message_id: str, said: bytes) -> int | None:
        place, known = (self._parted or {}).get(message_id, (None, b""))
        if place is None:
            return None
        if known == said:
            self.found.known += 1
        else:
            self.found.altered += 1
        return place
