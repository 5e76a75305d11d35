"""Slash commands for the model: choose it, set the system prompt, show usage."""

from __future__ import annotations

from contextlib import suppress

from omniagent_cli.agent.context.cost import session_usage, usage_line
from omniagent_cli.agent.context.files import read_system_prompt
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import ModelName, TextOrFile, command
from omniagent_cli.text.sanitize import one_line, visible
from omniagent_cli.ui.usage import usage_table


@command("model")
async def model(chat: Chat, name: ModelName = "") -> None:
    """Show the model, or choose another for this session."""
    if not name:
        chat.terminal.line(one_line(chat.model) or "(still being chosen)")
        return
    await chat.use_engine(await chat.call(chat.setup.open_engine, name))
    with suppress(SessionNotFound):  # its first answer pins it
        await chat.call(chat.store.set_model, chat.session_id, chat.model)
    chat.terminal.note(f"Switched to {one_line(chat.model)}")


@command("system")
async def system(chat: Chat, text: TextOrFile = "") -> None:
    """Show the system prompt, or set it for this chat; @FILE reads it from a file."""
    agent = await chat.ready_agent()
    if not text:
        if agent.system_prompt:
            chat.terminal.line(visible(agent.system_prompt))
        else:
            chat.terminal.note("No system prompt")
        return
    agent.system_prompt = (
        await chat.call(read_system_prompt, text[1:]) if text.startswith("@") else text
    )
    chat.terminal.note("System prompt set for this chat")


@command("usage")
async def usage(chat: Chat) -> None:
    """Show the tokens used by this session, by model, and by the last turn.

    Cost is shown for models with a price: omniagent config set 'prices."MODEL".input' 1.25
    """
    used, last = await chat.call(session_usage, chat.store, chat.session_id)
    if not used.models:
        chat.terminal.note("No token counts in this session")
        return
    prices = chat.settings.prices
    chat.terminal.table(usage_table(used, prices))
    if len(used.models) > 1:
        chat.terminal.line(f"Total: {usage_line(used.total, used.cost(prices))}")
    if last.models:
        chat.terminal.line(f"Last turn: {usage_line(last.total, last.cost(prices))}")
