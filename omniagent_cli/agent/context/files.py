"""Files that a person names: read whole, never waiting, never more than was agreed."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from omniagent_cli.errors import UsageError
from omniagent_cli.models import size_text
from omniagent_cli.text.sanitize import one_line

MAX_SYSTEM_BYTES = 1_000_000
"""More than any system prompt, and less than a file that was named by mistake."""

_KINDS = (
    (stat.S_ISDIR, "it is a directory; name a file in it"),
    (stat.S_ISFIFO, "it is a pipe; send what comes through it on stdin"),
    (stat.S_ISSOCK, "it is a socket; name a file"),
    (lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode), "it is a device; name a file"),
)
_NON_BLOCKING = (
    getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)


def read_user_file(name: str, doing: str, most: int) -> bytes:
    """Return the bytes of a regular file; ``~`` is the home directory.

    Opened without waiting, because opening a pipe that nobody writes to would wait for ever.

    Args:
        name: as the person wrote it.
        doing: what cannot be done when it fails, such as ``cannot attach``.
        most: bytes; one more than that is read, so that the caller can tell.

    Raises:
        UsageError: it is not there, cannot be read, or is no regular file; says which.
    """
    shown = one_line(name)
    try:
        descriptor = os.open(Path(name).expanduser(), os.O_RDONLY | _NON_BLOCKING)
        try:
            mode = os.fstat(descriptor).st_mode
            why = next((why for is_kind, why in _KINDS if is_kind(mode)), "")
            if not why:
                with open(descriptor, "rb", closefd=False) as file:  # known to be no pipe
                    return file.read(most + 1)
        finally:
            os.close(descriptor)
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # of a NUL in the name, and of an unknown ~user
        why = _describe_error(error)
    raise UsageError(f"{doing} {shown!r}: {why}")


def _describe_error(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENXIO:
        return "it is a socket or a device that nothing answers; name a file"
    if number == errno.ENOENT:
        return "No such file or directory; name a file that is there"
    return one_line(str(getattr(error, "strerror", None) or error))


def utf8_text(data: bytes) -> str | None:
    """Return bytes as text with plain line ends, or None when they are no UTF-8 text."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None


def read_system_prompt(name: str) -> str:
    """Return what a file has for a system prompt.

    Raises:
        UsageError: it cannot be read, is too long, or is no text.
    """
    shown = one_line(name)
    data = read_user_file(name, "cannot read the system prompt from", MAX_SYSTEM_BYTES)
    if len(data) > MAX_SYSTEM_BYTES:
        raise UsageError(
            f"{shown!r} is over {size_text(MAX_SYSTEM_BYTES)}; that is no system prompt"
        )
    text = utf8_text(data)
    if text is None:
        raise UsageError(f"the system prompt in {shown!r} is not UTF-8 text; convert it first")
    return text.strip()
