"""Making the agent, and loading what the first turn needs, while the person types already."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.events import Engine
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.repl.approval import Approval
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.prompt import Prompt

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent


class Opening:
    """Makes the agent of a chat in a thread.

    Args:
        chat: gets the agent, in its `opening`.
        prompt: is on the screen meanwhile.
        approval: asks the person before a tool writes or destroys.
        busy: whether something is being done for the person, who then hears of a failure from there.
    """

    def __init__(
        self, chat: Chat, prompt: Prompt, *, approval: Approval, busy: Callable[[], bool]
    ) -> None:
        self._chat = chat
        self._prompt = prompt
        self._approval = approval
        self._busy = busy
        self._loop = asyncio.get_running_loop()
        # The prompt on the screen is found in this context only, also when a thread asks for it.
        self._context = contextvars.copy_context()

    def begin(self) -> None:
        """Start the thread."""

        def load() -> None:
            try:
                agent = self._chat.setup.open_agent(self._tell)
            except BaseException as error:  # noqa: BLE001  # whatever it is, the loop has to hear of it
                self._from_thread(self._failed, error)
                return
            self._from_thread(self._opened, agent)
            _preload(agent.engine)
            if getattr(agent.engine, "uses_tools", True):
                with suppress(OmniAgentError):  # the first turn tells it
                    agent.toolset.load()

        # A daemon: who leaves at once does not wait for libraries to load.
        threading.Thread(target=load, name="omniagent-preload", daemon=True).start()

    def _from_thread(self, act: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: the person left
            self._loop.call_soon_threadsafe(act, *args, context=self._context)

    def _opened(self, agent: Agent) -> None:
        if self._chat.opening.done():  # the person left meanwhile
            return
        if agent.approve is None:
            agent.approve = self._approval
        self._chat.agent = agent
        self._chat.opening.set_result(agent)
        self._prompt.refresh()

    def _failed(self, error: BaseException) -> None:
        if self._chat.opening.done():
            return
        self._chat.opening.set_exception(error)
        if not self._busy():
            self._prompt.stop(error)

    def _tell(self, text: str) -> None:
        """Say something from the thread that makes the agent."""

        def say() -> None:
            self._loop.create_task(self._prompt.tell(lambda: self._chat.terminal.note(text)))

        self._from_thread(say)


def _preload(engine: Engine) -> None:
    """Import what the first answer needs."""
    import omniagent_cli.ui.stream  # noqa: F401  # loaded for its effect

    if callable(preload := getattr(engine, "preload", None)):
        preload()
    from omniagent_cli.ui import markdown  # noqa: F401  # rich, which paints the answer
