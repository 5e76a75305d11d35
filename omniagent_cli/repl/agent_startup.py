"""Agent startup: build the agent and preload its libraries while the user is already typing."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.events import Engine
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.process_end import start_daemon
from omniagent_cli.repl.approval import Approval
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.prompt import Prompt

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent


class AgentStartup:
    """Builds the agent of a chat in a thread.

    Args:
        chat: receives the agent in its `opening` future.
        prompt: the prompt that is on the screen during startup.
        approval: asks the user before a tool writes or destroys.
        busy: returns whether a turn is running, which then reports a failure itself.
    """

    def __init__(
        self, chat: Chat, prompt: Prompt, *, approval: Approval, busy: Callable[[], bool]
    ) -> None:
        self._chat = chat
        self._prompt = prompt
        self._approval = approval
        self._busy = busy
        self._loop = asyncio.get_running_loop()
        # The active prompt is only found in this context, also when a thread uses it.
        self._context = contextvars.copy_context()

    def begin(self) -> None:
        """Start the thread."""

        def load() -> None:
            try:
                agent = self._chat.setup.open_agent(self._tell)
            except BaseException as error:  # noqa: BLE001  # any failure has to reach the event loop
                self._from_thread(self._failed, error)
                return
            self._from_thread(self._opened, agent)
            _preload(agent.engine)
            if getattr(agent.engine, "uses_tools", True):
                with suppress(OmniAgentError):  # the first turn reports it
                    agent.toolset.load()

        # A daemon: leaving the chat does not wait for libraries to load.
        start_daemon(load, name="omniagent-preload")

    def _from_thread(self, act: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: the user left
            self._loop.call_soon_threadsafe(act, *args, context=self._context)

    def _opened(self, agent: Agent) -> None:
        if self._chat.opening.done():  # the user left during startup
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
        """Print a line from the thread that builds the agent."""

        def say() -> None:
            self._loop.create_task(self._prompt.print_above(lambda: self._chat.terminal.note(text)))

        self._from_thread(say)


def _preload(engine: Engine) -> None:
    """Import the modules of the first answer."""
    import omniagent_cli.ui.stream  # noqa: F401  # loaded for its effect

    if callable(preload := getattr(engine, "preload", None)):
        preload()
    from omniagent_cli.ui import markdown  # noqa: F401  # rich, which renders the answer
