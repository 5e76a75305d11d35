"""Files that wait in a chat to go with what is said next."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from omniagent_cli.agent.context.attachments import check_together, compose, read_attachment, whole
from omniagent_cli.models import Content
from omniagent_cli.repl.chat import Chat


def with_attached(chat: Chat, text: str) -> Content:
    """Return what is said, with the files that waited for it; they wait no more."""
    attached, chat.attached = chat.attached, []
    return compose(text, attached)


def with_data(chat: Chat, content: Content) -> Content:
    """Return what was said in this session with its attachments in it, so that it can be said elsewhere or again."""
    return whole(content, partial(chat.store.attachment, chat.session_id))


def waiting(chat: Chat) -> str:
    """Name the files that wait; empty when there are none."""
    names = ", ".join(attachment.name for attachment in chat.attached)
    return f"attached: {names}" if names else ""


def add(chat: Chat, written: str) -> list[str]:
    """Read files as they are now and let them wait; return what each is.

    Args:
        chat: where they wait.
        written: a path as a person writes it, or several as a terminal writes files that are dropped on it.

    Raises:
        UsageError: one cannot be attached, or they are too large together; none was added.
    """
    added = [read_attachment(path) for path in paths_of(written)]
    together = [*chat.attached, *added]
    check_together(together)
    chat.attached = together
    return [attachment.label for attachment in added]


def paths_of(written: str) -> list[str]:
    """Return the paths in what was written after a command.

    A name with blanks needs no quotes when the file is there. Else the words are taken as a shell takes them,
    with quotes and backslashes, because that is how terminals write what is dropped on them.
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
