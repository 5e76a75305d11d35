"""Standard streams: terminals and encodings."""

from __future__ import annotations

import os
from typing import TextIO, cast


def is_tty(stream: TextIO | None) -> bool:
    """Return True if a stream is an open terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def with_escapes(stream: TextIO | None) -> TextIO:
    """Make a stream accept any text: characters that its encoding lacks are escaped."""
    if stream is None:  # the descriptor was closed before the start
        return cast("TextIO", open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123  # open for the lifetime of the process
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return stream
