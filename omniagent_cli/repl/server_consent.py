"""Asking once before the first word goes to a server that nobody named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omniagent_cli.agent.models.recall import Recall
from omniagent_cli.errors import UsageError

if TYPE_CHECKING:
    from omniagent_cli.repl.chat import Chat


@dataclass(frozen=True, slots=True)
class FirstUse:
    """A question to settle before an engine is asked.

    Attributes:
        question: what the person is asked, to end in yes or no.
        agree: called when they say yes.
    """

    question: str
    agree: Callable[[], None]


async def settle(chat: Chat) -> None:
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
