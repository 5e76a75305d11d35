"""The prompt: words of the command line, stdin, and attached files."""

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
from omniagent_cli.cli.talk.saved_prompt import PromptUse
from omniagent_cli.errors import UsageError
from omniagent_cli.models import Content
from omniagent_cli.ui.terminal import Terminal

SILENCE_SECONDS = 1.0
"""The wait for data on a pipe beside a prompt; the parent process may have left it open."""

MAX_INPUT_BYTES = 16_000_000
"""The limit of the prompt, larger than the context window of any model."""

STDIN = "-"


def read_question(
    terminal: Terminal,
    words: Sequence[str],
    files: Sequence[str],
    saved: PromptUse,
) -> Content:
    """Return the prompt; empty if there is none.

    Args:
        terminal: its stdin is read if it is a file, a pipe with data, or requested with ``-``.
        words: the words of the prompt; ``-`` requests stdin.
        files: the files to attach.
        saved: the saved prompt, into which words and stdin are put.

    Raises:
        UsageError: a file cannot be attached, or the input is too large.
    """
    question = " ".join(word for word in words if word != STDIN).strip()
    attached = read_attachments(files)
    beside = bool(question or attached or saved.has_text)
    piped = _from_stdin(terminal, beside=beside, requested=STDIN in words)
    said = "\n\n".join(part for part in (question, piped.strip("\n")) if part.strip())
    return compose(saved.render(said), attached)


def read_attachments(files: Sequence[str]) -> list[Attachment]:
    """Read the files to attach to one prompt.

    Raises:
        UsageError: a file cannot be attached, or the files are too large together.
    """
    attached = [read_attachment(name) for name in files]
    check_total_size(attached)
    return attached


def _from_stdin(terminal: Terminal, *, beside: bool, requested: bool) -> str:
    """Return the text of stdin; beside a prompt only if data arrives in time."""
    stdin = terminal.stdin
    if stdin is None or stdin.closed:
        return ""
    kind = _stdin_kind(stdin)
    if kind == "nothing" and not requested:
        return ""
    if kind == "pipe" and beside and not requested and not _has_data(stdin):
        terminal.note(
            f"No data on stdin within {SILENCE_SECONDS:g} s; ignoring it. Use '-' to wait for it."
        )
        return ""
    terminal.flush()
    data = stdin.buffer.read(MAX_INPUT_BYTES + 1)
    _check_size(data, "stdin")
    text = utf8_text(data)
    if text is None:
        terminal.note("The input on stdin is not UTF-8 text; invalid bytes are sent as \ufffd")
        text = data.decode("utf-8", "replace")
    return text


def _stdin_kind(stdin: TextIO) -> str:
    """Return "file", "pipe", or "nothing" for a terminal, /dev/null and other devices."""
    try:
        mode = os.fstat(stdin.fileno()).st_mode
    except io.UnsupportedOperation:
        return "file"  # in memory
    except OSError:
        return "nothing"
    if stat.S_ISREG(mode):
        return "file"
    return "pipe" if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else "nothing"


def _has_data(stdin: TextIO) -> bool:
    try:
        return bool(select.select([stdin.fileno()], [], [], SILENCE_SECONDS)[0])
    except (OSError, ValueError):  # the system cannot poll pipes
        return True


def _check_size(data: bytes, name: str) -> None:
    if len(data) > MAX_INPUT_BYTES:
        raise UsageError(
            f"{name} is larger than {MAX_INPUT_BYTES // 1_000_000} MB; send a part of it"
        )
