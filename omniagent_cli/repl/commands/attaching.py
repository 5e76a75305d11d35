"""The slash command about files that go with what is said."""

from __future__ import annotations

from omniagent_cli.repl import attaching
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import Attached, command
from omniagent_cli.ui.views import counted

_CLEAR = "--clear"


@command("attach")
async def attach(chat: Chat, file: Attached = "") -> None:
    """Let a file go with what is said next; alone it lists what waits, --clear drops it.

    A text file goes into the message, a picture (PNG, JPEG, GIF, WebP) or a PDF file beside it. The file is read now.
    """
    if file == _CLEAR:
        dropped, chat.attached = len(chat.attached), []
        chat.terminal.note(f"{counted(dropped, 'attachment')} dropped")
    elif file:
        for label in await chat.call(attaching.add, chat, file):
            chat.terminal.note(f"{label} goes with what you say next")
    elif chat.attached:
        for attachment in chat.attached:
            chat.terminal.line(attachment.label)
    else:
        chat.terminal.note("nothing is attached; /attach FILE lets one go with what you say next")
