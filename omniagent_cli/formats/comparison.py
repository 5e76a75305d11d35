"""Whether an incoming session is known, older, goes on where ours ends, or contradicts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from omniagent_cli.json_format import dump
from omniagent_cli.models import Message
from omniagent_cli.stores import SessionStore

_CONTENT_KEYS = ("role", "content", "tool_calls", "tool_call_id", "name")


def digest(record: dict[str, Any]) -> bytes:
    """Return what two messages have in common if they say the same: not their ids, times or costs."""
    return blake2b(dump([record.get(key) for key in _CONTENT_KEYS]), digest_size=16).digest()


def encode_ids(*ids: str | int) -> bytes:
    """Return ids and numbers as `dump` writes a list of them; what needs no escapes is only put together."""
    if all(isinstance(one, int) or (one.isascii() and one.isalnum()) for one in ids):
        list_of = [f"{one}" if isinstance(one, int) else f'"{one}"' for one in ids]
        return f"[{','.join(list_of)}]".encode()
    return dump(list(ids))


class RunningDigest:
    """A digest over messages in order, so that two sessions compare without being held."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self.count = 0

    def add(self, message_id: str, content_digest: bytes) -> None:
        """Take in the next message."""
        self._hash.update(encode_ids(message_id, content_digest.hex()))
        self.count += 1

    def hex(self) -> str:
        """Return the digest so far."""
        return self._hash.hexdigest()


def stored_digest(
    store: SessionStore, session_id: str, *, limit: int | None = None
) -> tuple[str, int]:
    """Return the digest of a stored session's first `limit` messages, and how many those were."""
    chain = RunningDigest()
    for message in store.iter_messages(session_id):
        if chain.count == limit:
            break
        chain.add(message.id or "", digest(message.record))
    return chain.hex(), chain.count


@dataclass(slots=True)
class ComparisonResult:
    """What comparing brought to light.

    Attributes:
        known: incoming messages that we have.
        altered: incoming messages whose id we have with other words.
        missing: incoming messages that we lack, although later ones are known.
        leading: those of `missing` that stand before every known one.
        tail: incoming messages that we lack, after the last known one.
        stored_after: whether we have messages after the last known one.
        trimmed: whether the beginning of our session was removed.
        first_difference: the id of the first incoming message that is not here, or says other words.
    """

    known: int = 0
    altered: int = 0
    missing: int = 0
    leading: int = 0
    tail: int = 0
    stored_after: bool = False
    trimmed: bool = False
    first_difference: str = ""

    @property
    def fits(self) -> bool:
        """Whether everything that both have agrees."""
        lacking = self.missing - (self.leading if self.trimmed else 0)
        return not self.altered and not lacking


class Comparison:
    """Our session walked along beside the incoming one; holds ids only from where they part."""

    def __init__(self, store: SessionStore, session_id: str) -> None:
        self._stored: Iterator[Message] = store.iter_messages(session_id)
        self._index: dict[str, tuple[int, bytes]] | None = None
        self._matched = 0
        self._stored_count = 0
        self._last_known = -1
        self.result = ComparisonResult()

    def is_known(self, message_id: str, content_digest: bytes) -> bool:
        """Take in the next incoming message and tell whether it stands in our session."""
        result = self.result
        is_first = not (result.known or result.altered)
        altered = result.altered
        position = self._position(message_id, content_digest)
        if position is None or result.altered > altered:
            result.first_difference = result.first_difference or message_id
        if position is None:
            result.tail += 1
            return False
        if is_first:
            result.leading = result.tail
        result.missing += result.tail
        result.tail = 0
        self._last_known = max(self._last_known, position)
        return True

    def finish(self) -> ComparisonResult:
        """Say what was found, once all incoming messages were taken in."""
        if self._index is not None:
            self.result.stored_after = self._last_known < self._stored_count - 1
        else:
            self.result.stored_after = next(self._stored, None) is not None
        return self.result

    def _position(self, message_id: str, content_digest: bytes) -> int | None:
        """Return the place of a message in ours, counting whether it is known or altered."""
        if self._index is None:
            stored = next(self._stored, None)
            if stored is None:
                return None
            self._detect_trim(stored)
            if stored.id == message_id and digest(stored.record) == content_digest:
                self._matched += 1
                self.result.known += 1
                return self._matched - 1
            self._index_rest(stored)
        return self._look_up(message_id, content_digest)

    def _detect_trim(self, stored: Message) -> None:
        if self._matched == 0:
            self.result.trimmed = bool(stored.position)

    def _index_rest(self, stored: Message) -> None:
        self._index = {}
        self._stored_count = self._matched
        message: Message | None = stored
        while message is not None:
            self._index[message.id or ""] = (self._stored_count, digest(message.record))
            self._stored_count += 1
            message = next(self._stored, None)

    def _look_up(self, message_id: str, content_digest: bytes) -> int | None:
        position, known = (self._index or {}).get(message_id, (None, b""))
        if position is None:
            return None
        if known == content_digest:
            self.result.known += 1
        else:
            self.result.altered += 1
        return position
