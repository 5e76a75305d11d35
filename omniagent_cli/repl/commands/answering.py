"""Slash commands about who answers: the model, what it is told first, what it used."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress

from omniagent_cli.agent.files import read_system_prompt
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import ModelName, TextOrFile, command
from omniagent_cli.text import one_line, visible
from omniagent_cli.ui.cells import Column, Table


@command("model")
async def model(chat: Chat, name: ModelName = "") -> None:
    """Show the model that answers, or choose another for this session from now on."""
    if not name:
        chat.terminal.line(one_line(chat.model) or "(still being chosen)")
        return
    await chat.use_engine(await chat.call(chat.setup.open_engine, name))
    with suppress(SessionNotFound):  # then its first answer pins it
        await chat.call(chat.store.set_model, chat.session_id, chat.model)
    chat.terminal.note(f"{one_line(chat.model)} answers from now on")


@command("system")
async def system(chat: Chat, text: TextOrFile = "") -> None:
    """Show what the model is told first, or change it for this chat; @FILE reads it from a file."""
    agent = await chat.ready_agent()
    if not text:
        chat.terminal.line(visible(agent.system_prompt) or "(nothing)")
        return
    agent.system_prompt = (
        await chat.call(read_system_prompt, text[1:]) if text.startswith("@") else text
    )
    chat.terminal.note("the model is told that first from now on, in this chat")


@command("usage")
async def usage(chat: Chat) -> None:
    """Show the tokens this session has used, by model."""
    used = await chat.call(_used, chat)
    if not used:
        chat.terminal.note("no tokens were counted in this session")
        return
    rows = [
        [one_line(name), f"{n['answers']:,}", f"{n['input_tokens']:,}", f"{n['output_tokens']:,}"]
        for name, n in sorted(used.items())
    ]
    columns = [
        Column("MODEL", "cyan", shrink=True),
        *(Column(title, right=True) for title in ("ANSWERS", "INPUT", "OUTPUT")),
    ]
    chat.terminal.table(Table(columns, rows))


def _used(chat: Chat) -> dict[str, Counter[str]]:
    used: dict[str, Counter[str]] = defaultdict(Counter)
    with suppress(SessionNotFound):
        for message in chat.store.iter_messages(chat.session_id):
            if message.usage:
                numbers = {k: v for k, v in message.usage.items() if isinstance(v, int)}
                used[message.model or "unknown"].update(numbers)
                used[message.model or "unknown"]["answers"] += 1
    return dict(used)
