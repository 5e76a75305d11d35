"""The slash command that summarizes older messages."""

from __future__ import annotations

import asyncio

from omniagent_cli.agent.context.compaction import CompactionResult
from omniagent_cli.agent.context.cost import usage_line
from omniagent_cli.agent.events import Engine
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import ModelName, Text, command
from omniagent_cli.repl.server_consent import confirm_first_use
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.views import counted


@command("compact")
async def compact(chat: Chat, instructions: Text = "", *, model: ModelName = "") -> None:
    """Summarize the older messages; from now on the summary is sent instead of them.

    No message is removed, and /history shows the summary at its position. INSTRUCTIONS say what to keep;
    --model uses another model for it.
    """

    async def work(engine: Engine | None) -> None:
        try:
            done = await _compacted(chat, instructions, engine)
        except asyncio.CancelledError:
            chat.terminal.note("Nothing was summarized; the session is unchanged")
            raise
        used = f"{usage_line(done.usage)}; " if done.usage else ""
        what = f"messages up to #{done.position} ({counted(done.messages, 'message')})"
        chat.terminal.note(
            f"The summary is sent instead of the {what} from now on; {used}/history shows it; no message was removed"
        )

    await chat.with_model(model, work)


async def _compacted(chat: Chat, instructions: str, engine: Engine | None) -> CompactionResult:
    if engine is None:
        await confirm_first_use(chat)
    agent = await chat.ready_agent()
    before: int | None = None
    with chat.terminal.progress("summarizing") as advance:

        def progress(done: int, total: int) -> None:
            nonlocal before
            if before is None:
                name = one_line((engine or agent.engine).name)
                what = counted(total, "message")
                chat.terminal.note(f"{name} summarizes {what}; Ctrl-C cancels")
            else:
                advance(done - before)
            before = done

        return await agent.acompact(chat.session_id, instructions, engine=engine, progress=progress)
