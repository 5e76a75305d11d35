"""Consent before the first message is sent to an automatically discovered server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniagent_cli.agent.models.recall import Recall
from omniagent_cli.errors import UsageError

if TYPE_CHECKING:
    from omniagent_cli.repl.chat import Chat


async def confirm_first_use(chat: Chat) -> None:
    """Ask for consent to the current model where needed; switch to `recall` when the answer is no.

    Raises:
        UsageError: the user left the question, and no request is sent.
    """
    agent = await chat.ready_agent()
    first = chat.setup.first_use(agent.engine)
    if first is None:
        return
    answer = await chat.ask(f"{first.question} [y/N] ")
    if answer is None:
        raise UsageError("no request was sent; choose a model with /model")
    if answer.strip().lower() in ("y", "yes"):
        await chat.call(first.agree)
        return
    await chat.use_engine(Recall())
    chat.terminal.note("Using recall; choose another model with /model")
