"""Slash commands about the chat itself: help, the way of typing, leaving."""

from __future__ import annotations

from textwrap import fill

from omniagent_cli.repl.chat import Chat, Left
from omniagent_cli.repl.registry import CommandName, command, commands, find
from omniagent_cli.ui.cells import Column, Table

_KEYS = (
    "Enter sends, Alt-Enter begins a line, Ctrl-X Ctrl-E opens an editor, Ctrl-R searches what was typed.",
    "Ctrl-C stops the answer or drops the line, Ctrl-D leaves; exit, quit and q alone leave too.",
    "A text that begins with a slash is sent with two: //etc is a directory.",
    "/help NAME explains a command with its arguments.",
)


@command("help")
async def help_(chat: Chat, name: CommandName = "") -> None:
    """List the commands, or explain one of them."""
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
    """Let Enter begin a line and Alt-Enter send, or the other way round again."""
    chat.multiline = not chat.multiline
    sends, begins = ("Alt-Enter", "Enter") if chat.multiline else ("Enter", "Alt-Enter")
    chat.terminal.note(f"{sends} sends now, {begins} begins a line")


@command("quit")
async def leave(chat: Chat) -> None:
    """Leave the chat; everything said is stored."""
    del chat
    raise Left
