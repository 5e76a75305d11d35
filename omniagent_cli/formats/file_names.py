"""File names for exported sessions: unique per session, safe on every file system, readable."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata

MAX_BYTES = 200
"""Length limit with suffix; most file systems allow 255, and sync tools append to names."""

_SAFE_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]*(?:\.[a-z0-9_-]+)*")
_UNSAFE = re.compile(r"[^\w.-]+")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|index)(?:\.|$)", re.IGNORECASE)
"""Reserved names: devices on Windows (https://learn.microsoft.com/windows/win32/fileio/naming-a-file), and the index page."""


def file_name(session_id: str, ending: str) -> str:
    """Return a stable file name for a session that no other session has.

    An id of lowercase letters, digits, ``-``, ``_`` and ``.`` is used unchanged. Any other id is reduced to safe
    characters plus ``~`` and a hash, so ids that differ only in case, in removed characters or in Unicode normalization
    get different names. Unchanged ids never contain ``~``.
    """
    max_length = MAX_BYTES - len(ending)
    if (
        _SAFE_NAME.fullmatch(session_id)
        and len(session_id) <= max_length
        and not _RESERVED.match(session_id)
    ):
        return session_id + ending
    digest = hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()[:15]
    tail = f"~{base64.b32encode(digest).decode().lower()}"
    safe = _UNSAFE.sub("_", unicodedata.normalize("NFC", session_id)).strip("._-")
    stem = safe.encode("utf-8", "replace")[: min(80, max_length - len(tail))].decode(
        "utf-8", "ignore"
    )
    return f"{stem.rstrip('._-') or 'session'}{tail}{ending}"
