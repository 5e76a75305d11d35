"""Slash commands for the chat itself: help, multi-line input, leaving."""

from __future__ import annotations

from collections.abc import Iterator

from omniagent_cli.repl.chat import Chat, ChatExit
from omniagent_cli.repl.registry import CommandName, command, commands, find
from omniagent_cli.ui.cells import definition_rows, wrap_cells

_GROUPS = {
    "This conversation": "retry continue edit undo redo history copy compact",
    "Sessions": "new switch sessions search fork tree sync",
    "This session": "title rename meta tag pin archive clear trim delete usage",
    "Model and tools": "model system tools",
    "Files": "attach save export",
    "The chat": "help multiline quit",
}
"""Titles and commands of the sections of /help; commands that it does not name follow in a section of their own."""

_KEYS = (
    "Enter sends, Alt-Enter inserts a line break, Ctrl-X Ctrl-E opens an editor, Ctrl-R searches the history.",
    "Esc or Ctrl-C stops the answer, Ctrl-C clears the line, Ctrl-D leaves; so do exit, quit and q.",
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
    terminal, longest = chat.terminal, max(map(len, commands()))
    for title, names in _sections():
        terminal.line(terminal.style(title, "bold"))
        pairs = [(f"/{key:{longest}}", commands()[key].summary) for key in names]
        for key, row in definition_rows(pairs, terminal.prose_width):
            terminal.line(terminal.style(key, "cyan") + row)
        terminal.line()
    for keys in _KEYS:
        for row in wrap_cells(keys, terminal.prose_width):
            terminal.line(row)


def _sections() -> Iterator[tuple[str, list[str]]]:
    """Yield the title of each section and its commands."""
    left = set(commands())
    for title, words in _GROUPS.items():
        names = [name for name in words.split() if name in left]
        left -= set(names)
        yield title, names
    if left:
        yield "More", sorted(left)


@command("multiline")
async def multiline(chat: Chat) -> None:
    """Make Enter insert a line break and Alt-Enter send, or switch back."""
    chat.multiline = not chat.multiline
    sends, breaks = ("Alt-Enter", "Enter") if chat.multiline else ("Enter", "Alt-Enter")
    chat.terminal.note(f"{sends} sends now, {breaks} inserts a line break")


@command("quit")
async def leave(chat: Chat) -> None:
    """Leave the chat; all messages are saved."""
    del chat
    raise ChatExit
