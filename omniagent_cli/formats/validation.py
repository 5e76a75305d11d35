"""Validation of untrusted import records: messages and sessions, or problems."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any

from omniagent_cli.durations import ttl_seconds, utc_now
from omniagent_cli.errors import (
    InvalidDuration,
    InvalidRecord,
    InvalidSessionId,
    NewerVersion,
)
from omniagent_cli.formats.comparison import RunningDigest, digest, encode_ids
from omniagent_cli.formats.types import (
    IncomingSession,
    MessageEntry,
    Problem,
    RecordEntry,
    problem,
)
from omniagent_cli.json_format import MAX_DEPTH, format_time, parse_time
from omniagent_cli.models import Message, Session, check_message_record
from omniagent_cli.stores.journal import REMOVAL

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLACEHOLDER_ID = "unnamed"


class MessageValidator:
    """Validator of the messages of one incoming session, in order; derives missing ids and turns.

    Args:
        compares: compute digests, for a session that will be compared.

    Attributes:
        count: number of valid messages.
        chain: digest over the valid messages, if `compares`.
        first_at, last_at: times of the first and last message; empty without any.
    """

    def __init__(self, *, compares: bool = True) -> None:
        self.count = 0
        self.chain = RunningDigest()
        self._compares = compares
        self.first_at = ""
        self.last_at = ""
        self._now = format_time(utc_now())
        self._ordinal = -1
        self._previous = ""
        self._turn: str | None = None

    def skip(self) -> None:
        """Count an unreadable message, so later positions stay stable."""
        self._ordinal += 1

    def message(self, entry: MessageEntry) -> tuple[Message, bytes] | Problem:
        """Return the message and its content digest; its position is its index in the input."""
        self._ordinal += 1
        try:
            record = _valid_record(entry.record)
            identified = "id" in record
            content_digest = digest(record) if self._compares or not identified else b""
        except InvalidRecord as error:
            return problem(entry.location, error)
        if not identified:
            self._fill_in(record, content_digest)
        record.setdefault("created_at", self._now)
        self._turn = record.get("turn_id", self._turn)
        self._previous = record["id"]
        self.first_at = self.first_at or record["created_at"]
        self.last_at = record["created_at"]
        self.count += 1
        if self._compares:
            self.chain.add(record["id"], content_digest)
        return Message.trusted(record, self._ordinal), content_digest

    def _fill_in(self, record: dict[str, Any], content_digest: bytes) -> None:
        """Assign a reproducible id, and a turn, to a message without an id."""
        parts = encode_ids(self._previous, self._ordinal, content_digest.hex())
        record["id"] = blake2b(parts, digest_size=11).hexdigest()
        if not record.get("turn_id"):
            if record["role"] == "user":
                self._turn = record["id"]
            if self._turn is not None:
                record["turn_id"] = self._turn

    def record(self, entry: RecordEntry) -> tuple[str, str, dict[str, Any]] | Problem:
        """Return kind, key and value of an attachment or summary record."""
        try:
            return _parse_record(entry)
        except InvalidRecord as error:
            return problem(entry.location, f"invalid record: {error}")


def _parse_record(entry: RecordEntry) -> tuple[str, str, dict[str, Any]]:
    value = entry.value
    if not isinstance(value, dict):
        raise InvalidRecord("value must be an object")
    check_depth(value)
    if entry.kind == "attachment":
        if not isinstance(entry.key, str) or not _SHA256.fullmatch(entry.key):
            raise InvalidRecord("the key of an attachment must be its SHA-256 in hex")
        return "attachment", entry.key, value
    if entry.kind == "summary":
        return "summary", f"{_summary_position(value):012d}", value
    if entry.kind == REMOVAL:
        return REMOVAL, _removal_key(entry.key), _removal(value)
    raise InvalidRecord("unknown kind of record")


def _removal_key(key: Any) -> str:
    return format_time(parse_time(key))


def _removal(value: dict[str, Any]) -> dict[str, Any]:
    for found in (value.get("removed"), value.get("restored")):
        names, stamps = (found, ()) if not isinstance(found, dict) else (found, found.values())
        if not all(isinstance(name, str) for name in names or ()):
            raise InvalidRecord("removed messages must be ids")
        for stamp in stamps:
            parse_time(stamp)
    return value


def _summary_position(summary: dict[str, Any]) -> int:
    position = summary.get("up_to")
    if not isinstance(position, int) or isinstance(position, bool) or not -1 <= position < 10**12:
        raise InvalidRecord("up_to of a summary must be the number of its last message")
    return position


def _valid_record(record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise InvalidRecord("message must be an object")
    check_depth(record)
    message: dict[str, Any] = record
    if message.get("content") is None:
        message["content"] = ""
    check_message_record(message)
    return message


def _check_text(text: str, what: str) -> None:
    """Reject text that no database column can hold."""
    try:
        is_valid = b"\0" not in text.encode()
    except UnicodeEncodeError:
        is_valid = False
    if not is_valid:
        raise InvalidRecord(f"{what} must be valid Unicode text")


def check_depth(value: Any) -> None:
    """Reject a value nested too deeply for recursive code.

    Raises:
        InvalidRecord: the value is nested more than `MAX_DEPTH` levels deep.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            inner = item.values() if isinstance(item, dict) else item
            below.extend(part for part in inner if isinstance(part, dict | list))
        if not below:
            return
        level = below
    raise InvalidRecord(f"nested more than {MAX_DEPTH} levels deep")


def remove_deep_values(values: dict[str, Any], *, levels: int = 2) -> list[str]:
    """Remove the values that are nested too deeply from an object and the objects in it; return their keys."""
    removed = []
    for key, value in list(values.items()):
        if not isinstance(value, dict | list):
            continue
        try:
            check_depth(value)
        except InvalidRecord:
            if isinstance(value, dict) and levels:
                removed += remove_deep_values(value, levels=levels - 1)
            else:
                del values[key]
                removed.append(key)
    return removed


def parse_session(incoming: IncomingSession, session_id: str | None) -> Session | Problem:
    """Return the session of an incoming header; an id that is not known yet gets a placeholder."""
    header = {key: value for key, value in incoming.header.items() if key != "message_count"}
    header |= {"id": _PLACEHOLDER_ID if session_id is None else session_id, "messages": []}
    try:
        check_depth(header)
        session = Session.from_record(header)
        session.ttl_seconds = ttl_seconds(session.ttl_seconds)
        for key in ("agent_id", "model"):
            _check_text(getattr(session, key), f"a session's {key}")
    except (InvalidRecord, InvalidSessionId, InvalidDuration, NewerVersion) as error:
        return problem(incoming.location, f"session skipped: {error}")
    return session
