"""The slash command that synchronizes the store."""

from __future__ import annotations

from functools import partial

from omniagent_cli.errors import UsageError
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import Text, command
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.sync_report import sync_summary
from omniagent_cli.ui.views import quoted


@command("sync")
async def sync(chat: Chat, other: Text = "") -> None:
    """Bring this store and OTHER to the same content, as 'omniagent store sync' does; default: sync.auto."""
    wanted = other or chat.settings.sync.auto
    if chat.setup.sync is None:
        raise UsageError("an ephemeral chat is not kept, so there is nothing to synchronize")
    if not wanted:
        raise UsageError("no store to synchronize with; name one, or set sync.auto")
    report = await chat.call(partial(chat.setup.sync, wanted))
    for session_id, reason in report.refused:
        chat.terminal.warn(f"{quoted(session_id)} was not synchronized: {one_line(reason)}")
    chat.terminal.note(sync_summary(report))
    await chat.show_external_changes()
