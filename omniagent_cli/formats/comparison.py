"""Comparison of an incoming session with the stored one: identical, older, extended or conflicting."""

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
    """Return a digest of the content of a message; ids, times and costs are excluded."""
    return blake2b(dump([record.get(key) for key in _CONTENT_KEYS]), digest_size=16).digest()


def encode_ids(*ids: str | int) -> bytes:
    """Encode ids and numbers as `dump` encodes a list; plain ids skip the JSON encoder."""
    if all(isinstance(one, int) or (one.isascii() and one.isalnum()) for one in ids):
        list_of = [f"{one}" if isinstance(one, int) else f'"{one}"' for one in ids]
        return f"[{','.join(list_of)}]".encode()
    return dump(list(ids))


class RunningDigest:
    """Digest over messages in order; compares sessions without holding them in memory."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self.count = 0

    def add(self, message_id: str, content_digest: bytes) -> None:
        """Add the next message."""
        self._hash.update(encode_ids(message_id, content_digest.hex()))
        self.count += 1

    def hex(self) -> str:
        """Return the current digest in hex."""
        return self._hash.hexdigest()


def stored_digest(
    store: SessionStore, session_id: str, *, limit: int | None = None
) -> tuple[str, int]:
    """Return the digest of the first `limit` messages of a stored session, and their number."""
    chain = RunningDigest()
    for message in store.iter_messages(session_id):
        if chain.count == limit:
            break
        chain.add(message.id or "", digest(message.record))
    return chain.hex(), chain.count


@dataclass(slots=True)
class ComparisonResult:
    """Result of a comparison.

    Attributes:
        known: incoming messages that are stored.
        altered: incoming messages whose id is stored with other content.
        missing: incoming messages that are not stored although later ones are.
        leading: those of `missing` that precede every known message.
        tail: incoming messages that are not stored, after the last known one.
        stored_after: messages are stored after the last known one.
        trimmed: the start of the stored session was removed.
        first_difference: id of the first incoming message that is not stored or has other content.
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
        """True when all messages that both sessions share agree."""
        lacking = self.missing - (self.leading if self.trimmed else 0)
        return not self.altered and not lacking


class Comparison:
    """Parallel walk over the stored and the incoming session; ids are held only after the first difference."""

    def __init__(self, store: SessionStore, session_id: str) -> None:
        self._stored: Iterator[Message] = store.iter_messages(session_id)
        self._index: dict[str, tuple[int, bytes]] | None = None
        self._matched = 0
        self._stored_count = 0
        self._last_known = -1
        self.result = ComparisonResult()

    def is_known(self, message_id: str, content_digest: bytes) -> bool:
        """Compare the next incoming message; return True when its id is stored."""
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
        """Return the result, after all incoming messages were compared."""
        if self._index is not None:
            self.result.stored_after = self._last_known < self._stored_count - 1
        else:
            self.result.stored_after = next(self._stored, None) is not None
        return self.result

    def _position(self, message_id: str, content_digest: bytes) -> int | None:
        """Return the position of a message in the stored session, counting it as known or altered; None if absent."""
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
