"""`omniagent sessions compact`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from omniagent_cli.agent.context.cost import usage_line
from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.options import OneId
from omniagent_cli.cli.talk.agent_factory import AgentFactory
from omniagent_cli.cli.talk.agent_options import AgentOptions
from omniagent_cli.cli.talk.turn_runner import ModelOption, OfflineOption
from omniagent_cli.text.sanitize import visible
from omniagent_cli.ui.progress import steps_to
from omniagent_cli.ui.usage import model_cost
from omniagent_cli.ui.views import counted, quoted

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.agent.context.compaction import CompactionResult


def compact(
    ctx: typer.Context,
    *,
    id_: OneId,
    instructions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INSTRUCTIONS]...",
            help="what the summary should keep",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    offline: OfflineOption = False,
) -> None:
    """Summarize older messages with the model; the summary is sent instead of them. No message is removed."""
    context = current_context(ctx)
    session_id = session_ids.resolve_for_change(context, id_)
    terminal = context.terminal
    confirm = terminal.confirm if terminal.interactive else None
    options = AgentOptions(model, offline=offline, tools=False)
    factory = AgentFactory(context.settings, options, tell=terminal.note, confirm=confirm)
    with factory.agent(context.store, session_id) as agent:
        try:
            done = asyncio.run(_compacted(context, agent, session_id, " ".join(instructions or ())))
        except KeyboardInterrupt:
            terminal.note("Nothing was summarized; the session is unchanged")
            raise
    _show(context, done)


async def _compacted(
    context: Context, agent: Agent, session_id: str, instructions: str
) -> CompactionResult:
    with context.terminal.progress("summarizing") as advance:
        progress = steps_to(advance)
        try:
            return await agent.acompact(
                session_id, instructions, progress=lambda done, _total: progress(done)
            )
        finally:
            await agent.engine.aclose()


def _show(context: Context, done: CompactionResult) -> None:
    terminal, spent = context.terminal, model_cost(done.usage, done.model, context.settings.prices)
    if context.json:
        record = {
            "id": done.session_id,
            "up_to": done.position,
            "messages": done.messages,
            "added": done.added,
            "summary": done.summary,
            "model": done.model,
            "usage": {**done.usage, **({} if spent is None else {"cost": spent})},
        }
        terminal.json(record)
        return
    if terminal.is_terminal:
        dumb = terminal.is_dumb
        terminal.line(visible(done.summary) if dumb else terminal.markdown(done.summary))
    else:
        terminal.line(done.summary)
    used = f"; {usage_line(done.usage, spent)}" if done.usage else ""
    terminal.note(
        f"This summary is sent instead of the messages of {quoted(done.session_id)} up to #{done.position}"
        f" ({counted(done.messages, 'message')}). No message was removed{used}"
    )
