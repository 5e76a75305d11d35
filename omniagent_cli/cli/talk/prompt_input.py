"""What is asked: the words of the command line, what comes through stdin, and attached files."""

from __future__ import annotations

import io
import os
import select
import stat
from collections.abc import Sequence
from typing import TextIO

from omniagent_cli.agent.context.attachments import (
    Attachment,
    check_total_size,
    compose,
    read_attachment,
)
from omniagent_cli.agent.context.files import utf8_text
from omniagent_cli.errors import UsageError
from omniagent_cli.models import Content
from omniagent_cli.ui.terminal import Terminal

SILENCE_SECONDS = 1.0
"""How long a pipe beside a question may say nothing; whoever started us may just have left it open."""

MAX_INPUT_BYTES = 16_000_000
"""More than any model reads."""

STDIN = "-"


def read_question(terminal: Terminal, words: Sequence[str], files: Sequence[str]) -> Content:
    """Put a question together; empty when there is nothing to ask.

    Args:
        terminal: its stdin is read when it is a file, a pipe that delivers, or asked for as ``-``.
        words: of the question; a word ``-`` stands for stdin.
        files: to attach.

    Raises:
        UsageError: a file cannot be attached, or there is too much.
    """
    question = " ".join(word for word in words if word != STDIN).strip()
    attached = read_attachments(files)
    piped = _from_stdin(terminal, beside=bool(question or attached), wanted=STDIN in words)
    said = "\n\n".join(part for part in (question, piped.strip("\n")) if part.strip())
    return compose(said, attached)


def read_attachments(files: Sequence[str]) -> list[Attachment]:
    """Read the files that go with one question.

    Raises:
        UsageError: one of them cannot be attached, or they are too large together.
    """
    attached = [read_attachment(name) for name in files]
    check_total_size(attached)
    return attached


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
    text = utf8_text(data)
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


def _check_size(data: bytes, name: str) -> None:
    if len(data) > MAX_INPUT_BYTES:
        raise UsageError(
            f"{name} is over {MAX_INPUT_BYTES // 1_000_000} MB, more than any model reads; send a part of it"
        )
