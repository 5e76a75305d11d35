"""Session ids, uids and attachment names: validation and generation."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime

from omniagent_cli.errors import InvalidRecord, InvalidSessionId

MAX_ID_BYTES = 512

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_session_id(session_id: str) -> str:
    """Return the id if every backend can store it.

    Raises:
        InvalidSessionId: it is blank, longer than 512 bytes of UTF-8, or contains control characters or lone surrogates.
    """
    if not isinstance(session_id, str) or not session_id or session_id.isspace():
        raise InvalidSessionId("a session id must not be blank")
    try:
        size = len(session_id.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidSessionId("a session id must be valid Unicode text") from error
    if size > MAX_ID_BYTES:
        raise InvalidSessionId(
            f"a session id has at most {MAX_ID_BYTES} bytes; this one has {size}"
        )
    if _CONTROL.search(session_id):
        raise InvalidSessionId("a session id must not contain control characters")
    return session_id


def check_sha256(key: str) -> str:
    """Return the name of an attachment.

    Raises:
        InvalidRecord: it is not 64 lower-case hexadecimal digits.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", key):
        raise InvalidRecord("an attachment is named by its SHA-256 in hexadecimal digits")
    return key


_ALPHABET = "abcdefghjkmnpqrstvwxyz23456789"


def new_session_id(now: datetime) -> str:
    """Return an id that sorts by time and is easy to type, such as ``20261121-093000-k7q``."""
    tail = "".join(_ALPHABET[b % len(_ALPHABET)] for b in os.urandom(3))
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{tail}"


def is_generated_id(session_id: str) -> bool:
    """Return True if an id has the form of `new_session_id`."""
    return re.fullmatch(rf"\d{{8}}-\d{{6}}-[{_ALPHABET}]{{3}}", session_id) is not None


def new_uid() -> str:
    """Return a globally unique id that sorts by time: microseconds and 32 random bits, 22 hex digits."""
    return new_uids(1)[0]


def new_uids(count: int) -> list[str]:
    """Return ids like `new_uid`, ascending and consecutive, so that many cost little more than one."""
    moment = time.time_ns() // 1000
    start = int.from_bytes(os.urandom(4), "big")
    return [f"{(moment << 32) + start + number:022x}" for number in range(count)]
