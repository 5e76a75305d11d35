"""The slash command that sums up what is older, so that less is sent."""

from __future__ import annotations

import asyncio

from omniagent_cli.agent.context.compaction import Compacted
from omniagent_cli.agent.events import Engine
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import ModelName, Text, command
from omniagent_cli.repl.server_consent import confirm_first_use
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.usage import usage_line
from omniagent_cli.ui.views import counted


@command("compact")
async def compact(chat: Chat, instructions: Text = "", *, model: ModelName = "") -> None:
    """Let the model sum up the older messages; from now on the summary is sent instead of them.

    All messages stay, and /history shows the summary at its place. What it should keep in particular can be said;
    --model lets another model write it.
    """

    async def work(engine: Engine | None) -> None:
        try:
            done = await _compacted(chat, instructions, engine)
        except asyncio.CancelledError:
            chat.terminal.note("nothing was summed up; everything is as it was")
            raise
        used = f"{usage_line(done.usage)}; " if done.usage else ""
        what = f"messages up to #{done.position} ({counted(done.messages, 'message')})"
        chat.terminal.note(
            f"the summary is sent instead of the {what} from now on; {used}/history shows it, and all of them are kept"
        )

    await chat.with_model(model, work)


async def _compacted(chat: Chat, instructions: str, engine: Engine | None) -> Compacted:
    if engine is None:
        await confirm_first_use(chat)
    agent = await chat.ready_agent()
    before: int | None = None
    with chat.terminal.progress("summing up") as advance:

        def progress(done: int, total: int) -> None:
            nonlocal before
            if before is None:
                name = one_line((engine or agent.engine).name)
                what = counted(total, "message")
                chat.terminal.note(f"{name} sums up {what}; Ctrl-C leaves everything as it is")
            else:
                advance(done - before)
            before = done

        return await agent.acompact(chat.session_id, instructions, engine=engine, progress=progress)
