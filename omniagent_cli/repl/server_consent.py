"""Consent, once, before the first message goes to a server that was found automatically."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniagent_cli.agent.models.recall import Recall
from omniagent_cli.errors import UsageError

if TYPE_CHECKING:
    from omniagent_cli.repl.chat import Chat


async def confirm_first_use(chat: Chat) -> None:
    """Ask about the model that would answer, if it has to be; `recall` answers when the person says no.

    Raises:
        UsageError: they left the question; nothing is to be asked.
    """
    agent = await chat.ready_agent()
    first = chat.setup.first_use(agent.engine)
    if first is None:
        return
    answer = await chat.ask(f"{first.question} [y/N] ")
    if answer is None:
        raise UsageError("nothing was asked; /model chooses who answers")
    if answer.strip().lower() in ("y", "yes"):
        await chat.call(first.agree)
        return
    await chat.use_engine(Recall())
    chat.terminal.note("recall answers; /model chooses another")
