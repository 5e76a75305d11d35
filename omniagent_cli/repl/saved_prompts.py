"""Saved prompts in the chat: ``/NAME [VARIABLE=VALUE]... [TEXT]`` sends one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from omniagent_cli.agent.context.attachments import compose
from omniagent_cli.config import prompts
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from omniagent_cli.repl.chat import Chat


def is_saved_prompt(chat: Chat, name: str) -> bool:
    """Return True if there is a prompt of this name."""
    return prompts.find_prompt(name, chat.settings.environ, Path.cwd()) is not None


def offered_prompts(chat: Chat) -> Iterator[tuple[str, str]]:
    """Yield name and description of each prompt, for completion."""
    found, _ = prompts.saved_prompts(chat.settings.environ, Path.cwd())
    for prompt in found:
        yield prompt.name, one_line(prompt.summary)


async def send_saved_prompt(chat: Chat, name: str, text: str) -> None:
    """Send a saved prompt with the rest of the line; its system prompt applies to the chat from then on.

    Raises:
        UsageError: a variable has no value.
        ConfigError: the prompt cannot be used.
    """
    prompt = await chat.call(prompts.saved_prompt, name, chat.settings.environ, Path.cwd())
    values, said = prompts.split_values(text, prompt)
    question = prompt.render(said, values)
    agent = await chat.ready_agent()
    if prompt.system is not None:
        agent.system_prompt = prompt.system
        chat.terminal.note(f"System prompt of {name!r} set for this chat")
    if prompt.tools is not None or prompt.schema is not None:
        chat.terminal.note(f"Tools and schema of {name!r} are used by 'omniagent ask -p' only")
    if not question.strip():
        return
    content, chat.attached = compose(question, chat.attached), []
    await chat.with_model(prompt.model or "", lambda engine: chat.turn(content, engine))
