"""Pending attachments of a chat, sent with the next message."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from omniagent_cli.agent.context.attachments import (
    check_total_size,
    read_attachment,
    resolve_attachments,
)
from omniagent_cli.models import Content
from omniagent_cli.repl.chat import Chat


def with_attachment_data(chat: Chat, content: Content) -> Content:
    """Return content of this session with its attachment data embedded, so that it can be sent again."""
    return resolve_attachments(content, partial(chat.store.attachment, chat.session_id))


def waiting(chat: Chat) -> str:
    """Return the names of the pending attachments; empty without any."""
    names = ", ".join(attachment.name for attachment in chat.attached)
    return f"attached: {names}" if names else ""


def add(chat: Chat, written: str) -> list[str]:
    """Read files and add them to the pending attachments; return a description of each.

    Args:
        chat: the chat to add them to.
        written: a typed path, or several paths in the form in which terminals insert dropped files.

    Raises:
        UsageError: a file cannot be attached, or the total is too large; none was added.
    """
    added = [read_attachment(path) for path in paths_of(written)]
    together = [*chat.attached, *added]
    check_total_size(together)
    chat.attached = together
    return [attachment.label for attachment in added]


def paths_of(written: str) -> list[str]:
    """Return the paths in the argument of a command.

    A name with spaces needs no quotes if the file exists. Otherwise words are split as by a shell, with quotes and
    backslashes, because terminals write dropped files like that.
    """
    text = written.strip()
    if _is_there(text):
        return [text]
    try:
        words = shlex.split(text)
    except ValueError:  # an apostrophe in a name
        return [text]
    return words if len(words) == 1 or all(map(_is_there, words)) else [text]


def _is_there(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, an unknown ~user
        return False
