"""Slash commands for the chat itself: help, multi-line input, leaving."""

from __future__ import annotations

from textwrap import fill

from omniagent_cli.repl.chat import Chat, ChatExit
from omniagent_cli.repl.registry import CommandName, command, commands, find
from omniagent_cli.ui.cells import Column, Table

_KEYS = (
    "Enter sends, Alt-Enter inserts a line break, Ctrl-X Ctrl-E opens an editor, Ctrl-R searches the history.",
    "Ctrl-C stops the answer or clears the line, Ctrl-D leaves; so do exit, quit and q.",
    "To send text that starts with a slash, type two: //etc is a directory.",
    "/help NAME explains a command and its arguments.",
)


@command("help")
async def help_(chat: Chat, name: CommandName = "") -> None:
    """List the commands, or explain one."""
    if name:
        found = find(name.lstrip("/"))
        chat.terminal.line(chat.terminal.style(found.usage, "bold"))
        chat.terminal.line(found.help)
        return
    rows = [[f"/{key}", found.summary] for key, found in sorted(commands().items())]
    table = Table([Column("COMMAND", "cyan"), Column("DOES", shrink=True)], rows)
    chat.terminal.table(table)
    chat.terminal.line()
    for keys in _KEYS:
        chat.terminal.line(fill(keys, chat.terminal.width - 1))


@command("multiline")
async def multiline(chat: Chat) -> None:
    """Make Enter insert a line break and Alt-Enter send, or switch back."""
    chat.multiline = not chat.multiline
    sends, begins = ("Alt-Enter", "Enter") if chat.multiline else ("Enter", "Alt-Enter")
    chat.terminal.note(f"{sends} sends now, {begins} begins a line")


@command("quit")
async def leave(chat: Chat) -> None:
    """Leave the chat; all messages are saved."""
    del chat
    raise ChatExit
