"""Files named by the user: read without blocking and with a size limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from omniagent_cli.errors import UsageError
from omniagent_cli.models import size_text
from omniagent_cli.text.sanitize import one_line

MAX_SYSTEM_BYTES = 1_000_000
"""The maximum size of a system prompt; a larger file was probably named by mistake."""

_KINDS = (
    (stat.S_ISDIR, "it is a directory; name a file in it"),
    (stat.S_ISFIFO, "it is a pipe; pass it on stdin"),
    (stat.S_ISSOCK, "it is a socket; name a file"),
    (lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode), "it is a device; name a file"),
)
_NON_BLOCKING = (
    getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)


def read_user_file(name: str, doing: str, most: int) -> bytes:
    """Return the bytes of a regular file; ``~`` is the home directory.

    The file is opened in non-blocking mode, because opening a pipe without a writer would block forever.

    Args:
        name: the path as the user wrote it.
        doing: the failed action, for the error message, such as ``cannot attach``.
        most: the size limit; one byte more is read, so that the caller can detect a larger file.

    Raises:
        UsageError: the file is missing, cannot be read, or is not a regular file; gives the reason.
    """
    shown = one_line(name)
    try:
        descriptor = os.open(Path(name).expanduser(), os.O_RDONLY | _NON_BLOCKING)
        try:
            mode = os.fstat(descriptor).st_mode
            why = next((why for is_kind, why in _KINDS if is_kind(mode)), "")
            if not why:
                with open(descriptor, "rb", closefd=False) as file:  # a regular file
                    return file.read(most + 1)
        finally:
            os.close(descriptor)
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # a NUL in the name, or an unknown ~user
        why = _describe_error(error)
    raise UsageError(f"{doing} {shown!r}: {why}")


def _describe_error(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENXIO:
        return "it is a socket or a device without a reader; name a file"
    if number == errno.ENOENT:
        return "No such file or directory; name an existing file"
    return one_line(str(getattr(error, "strerror", None) or error))


def utf8_text(data: bytes) -> str | None:
    """Return bytes as text with Unix line ends, or None if they are not UTF-8 text."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None


def read_system_prompt(name: str) -> str:
    """Return the system prompt in a file.

    Raises:
        UsageError: the file cannot be read, is too large, or is not text.
    """
    shown = one_line(name)
    data = read_user_file(name, "cannot read the system prompt from", MAX_SYSTEM_BYTES)
    if len(data) > MAX_SYSTEM_BYTES:
        raise UsageError(
            f"{shown!r} is larger than {size_text(MAX_SYSTEM_BYTES)}, too large for a system prompt"
        )
    text = utf8_text(data)
    if text is None:
        raise UsageError(f"the system prompt in {shown!r} is not UTF-8 text; convert it first")
    return text.strip()
