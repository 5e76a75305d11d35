"""The slash command that shows the forks of the session."""

from __future__ import annotations

from omniagent_cli.durations import utc_now
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import command
from omniagent_cli.ui.fork_tree import TreeRow, rows_of, tree_line


@command("tree")
async def tree(chat: Chat) -> None:
    """Show the forks of the session, and the sessions it was copied from."""

    def work() -> list[TreeRow]:
        return rows_of(chat.store.list(archived=None, damaged=[]), chat.session_id)

    rows = await chat.call(work)
    if not rows:
        chat.terminal.note("This session has no forks. /fork copies it")
    for row in rows:
        chat.terminal.line(tree_line(row, chat.terminal, utc_now(), chat.session_id))
