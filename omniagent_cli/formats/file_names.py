"""Names of files to which sessions are written, one for each: safe on every kind of disk, and to be read by people."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata

MAX_BYTES = 200
"""Of a name with its ending: most disks take 255, and what moves files about adds to it."""

_SAFE_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]*(?:\.[a-z0-9_-]+)*")
_UNSAFE = re.compile(r"[^\w.-]+")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)
"""Devices on Windows, with any ending: https://learn.microsoft.com/windows/win32/fileio/naming-a-file"""


def file_name(session_id: str, ending: str) -> str:
    """Return the name of the file of a session, the same each time and no other session's.

    An id of small letters, digits, ``-``, ``_`` and ``.`` is its own name. What another leaves of itself is followed
    by ``~`` and a hash, so that two that differ only in case, in what had to go, or in how Unicode writes them stay two
    files everywhere. There is no ``~`` in the names of the first kind.
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
