"""The slash command for attachments."""

from __future__ import annotations

from omniagent_cli.repl import attaching
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import Attached, command
from omniagent_cli.ui.views import counted

_CLEAR = "--clear"


@command("attach")
async def attach(chat: Chat, file: Attached = "") -> None:
    """Attach a file to the next message; without a file, list the attachments; --clear removes them.

    A text file becomes part of the message; a picture (PNG, JPEG, GIF, WebP) or PDF is sent with it. Files are read immediately.
    """
    if file == _CLEAR:
        dropped, chat.attached = len(chat.attached), []
        chat.terminal.note(f"{counted(dropped, 'attachment')} dropped")
    elif file:
        for label in await chat.call(attaching.add, chat, file):
            chat.terminal.note(f"{label} will be sent with your next message")
    elif chat.attached:
        for attachment in chat.attached:
            chat.terminal.line(attachment.label)
    else:
        chat.terminal.note("No attachments; /attach FILE adds one to your next message")
