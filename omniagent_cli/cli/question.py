"""What is asked: the words of the command line, what comes through stdin, and attached files, as one text."""

from __future__ import annotations

import io
import os
import re
import select
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from omniagent_cli.errors import UsageError
from omniagent_cli.text import one_line
from omniagent_cli.ui.terminal import Terminal

SILENCE_SECONDS = 1.0
"""How long a pipe beside a question may say nothing; whoever started us may just have left it open."""

MAX_INPUT_BYTES = 16_000_000
"""More than any model reads."""

STDIN = "-"
_FENCE = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)


def read_question(terminal: Terminal, words: Sequence[str], files: Sequence[str]) -> str:
    """Put a question together; empty when there is nothing to ask.

    Args:
        terminal: its stdin is read when it is a file, a pipe that delivers, or asked for as ``-``.
        words: of the question; a word ``-`` stands for stdin.
        files: text files to attach.

    Raises:
        UsageError: a file cannot be read or is no text, or there is too much.
    """
    question = " ".join(word for word in words if word != STDIN).strip()
    attached = [attachment(name) for name in files]
    piped = _from_stdin(terminal, beside=bool(question or attached), wanted=STDIN in words)
    return "\n\n".join(part for part in (question, piped.strip("\n"), *attached) if part.strip())


def attachment(name: str) -> str:
    """Return a text file in a fence with its name above.

    Raises:
        UsageError: it cannot be read, or is no text.
    """
    shown = one_line(name)
    try:
        with Path(name).expanduser().open("rb") as file:
            data = file.read(MAX_INPUT_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot attach {shown!r}: {why}") from error
    _check_size(data, shown)
    text = _decoded(data)
    if text is None:
        raise UsageError(f"cannot attach {shown!r}: it is not UTF-8 text, and only text can be")
    path = Path(name)
    longest = max([2, *(len(found[1]) for found in _FENCE.finditer(text))])
    fence = "`" * (longest + 1)
    return f"{one_line(path.name)}:\n{fence}{_language(path)}\n{text.rstrip()}\n{fence}"


def _language(path: Path) -> str:
    suffix = path.suffix[1:].lower()
    return suffix if suffix.isalnum() and suffix.isascii() else ""


def _from_stdin(terminal: Terminal, *, beside: bool, wanted: bool) -> str:
    """Return what stdin has for us; beside a question only what is really there."""
    stdin = terminal.stdin
    if stdin is None or stdin.closed:
        return ""
    kind = _kind(stdin)
    if kind == "nothing" and not wanted:
        return ""
    if kind == "pipe" and beside and not wanted and not _delivers(stdin):
        terminal.note(
            f"nothing came through stdin within {SILENCE_SECONDS:g} s, so it is left out; '-' waits for it"
        )
        return ""
    terminal.flush()
    data = stdin.buffer.read(MAX_INPUT_BYTES + 1)
    _check_size(data, "stdin")
    text = _decoded(data)
    if text is None:
        terminal.note("stdin is not UTF-8 text; what cannot be read is sent as \ufffd")
        text = data.decode("utf-8", "replace")
    return text


def _kind(stdin: TextIO) -> str:
    """Tell a file and a pipe from a terminal, /dev/null and other devices, which have nothing to add."""
    try:
        mode = os.fstat(stdin.fileno()).st_mode
    except io.UnsupportedOperation:
        return "file"  # in memory
    except OSError:
        return "nothing"
    if stat.S_ISREG(mode):
        return "file"
    return "pipe" if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else "nothing"


def _delivers(stdin: TextIO) -> bool:
    try:
        return bool(select.select([stdin.fileno()], [], [], SILENCE_SECONDS)[0])
    except (OSError, ValueError):  # a system whose pipes cannot be watched
        return True


def _decoded(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None


def _check_size(data: bytes, name: str) -> None:
    if len(data) > MAX_INPUT_BYTES:
        raise UsageError(
            f"{name} is over {MAX_INPUT_BYTES // 1_000_000} MB, more than any model reads; send a part of it"
        )
