"""`omniagent acp`: the agent for editors, over the Agent Client Protocol."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import typer

from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.encryption_key_source import KEY_ADVICE
from omniagent_cli.cli.talk.agent_options import AgentOptions
from omniagent_cli.cli.talk.tool_options import script_permissions
from omniagent_cli.cli.talk.turn_runner import ModelOption, OfflineOption, SystemOption
from omniagent_cli.errors import EncryptedStore, OmniAgentError, UsageError
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from omniagent_cli.adapters.acp.host import AgentRequest, SavedText
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.agent.context.cost import Prices
    from omniagent_cli.agent.events import Engine
    from omniagent_cli.cli.talk.agent_factory import AgentFactory
    from omniagent_cli.stores import SessionStore


def serve(
    ctx: typer.Context,
    *,
    model: ModelOption = None,
    system: SystemOption = None,
    offline: OfflineOption = False,
) -> None:
    """Run the agent for an editor, over the Agent Client Protocol on stdin and stdout.

    The editor starts it; see: omniagent help editors
    """
    context = current_context(ctx)
    try:
        from omniagent_cli.adapters.acp import server as _  # noqa: F401  # reports a missing library
    except ImportError as error:
        raise UsageError(
            "'omniagent acp' needs the ACP library; install it with: pip install 'omniagent-cli[acp]'"
        ) from error
    from omniagent_cli.adapters.mcp_wire import check_streams

    check_streams()
    if context.terminal.reads_terminal:
        context.terminal.note(
            "Waiting for an editor on stdin. Editors start this command themselves; see: omniagent help editors"
        )
    host = EditorHost(context, AgentOptions(model, system, offline=offline))
    try:
        asyncio.run(_serve(host))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OmniAgentError(f"cannot write to the client: {error.strerror or error}") from error


async def _serve(host: EditorHost) -> None:
    from omniagent_cli.adapters.acp.server import AcpServer
    from omniagent_cli.adapters.acp.wire import LineTransport
    from omniagent_cli.adapters.mcp_wire import Incoming, Outgoing, standard_streams

    with standard_streams() as (incoming, outgoing):
        out = Outgoing(outgoing)
        await AcpServer(host, LineTransport(Incoming(incoming, out), out)).run()


class EditorHost:
    """Agents for the sessions of an editor, from settings and options."""

    def __init__(self, context: Context, options: AgentOptions) -> None:
        self._context = context
        self._opening = Lock()
        self._store: SessionStore | None = None
        self.allowed = script_permissions(context.settings, options)
        self.prices: Prices = context.settings.prices
        self._options = options

    @cached_property
    def _factory(self) -> AgentFactory:
        from omniagent_cli.cli.talk.agent_factory import AgentFactory  # `initialize` needs no agent

        return AgentFactory(self._context.settings, self._options, tell=self._context.terminal.note)

    @property
    def store(self) -> SessionStore:
        """The store; opened for the first request, whose response has the error if that fails.

        Raises:
            EncryptedStore: it is encrypted, and there is no key.
        """
        with self._opening:
            if self._store is None:
                if not self._context.settings.sessions.enabled:
                    from omniagent_cli.stores import open_store

                    self._store = open_store("memory:")
                    return self._store
                store = self._context.store_to_create
                if not store.has_key and store.encryption() is not None:
                    raise EncryptedStore(f"the store {store.url} is encrypted; {KEY_ADVICE}")
                self._store = store
            return self._store

    def agent(self, request: AgentRequest) -> Agent:
        """Return an agent whose skills include the MCP servers of the editor."""
        from omniagent_cli.agent.mcp.skill import mcp_skills
        from omniagent_cli.config.session_origin import session_origin

        titling = self._factory.titling(self._factory.tell)
        agent = self._factory.agent(
            self.store,
            request.session_id,
            approve=request.approve,
            titling=None if titling is None else replace(titling, written=request.titled),
            more_skills=lambda: mcp_skills(request.servers),
        )
        agent.origin = session_origin(Path(request.cwd), request.client or "omniagent acp")
        return agent

    def saved_prompts(self, cwd: str) -> list[tuple[str, str]]:
        """Return name and description of the saved prompts that can be read."""
        from omniagent_cli.config import prompts

        found, _ = prompts.saved_prompts(self._context.environ, Path(cwd))
        return [(prompt.name, one_line(prompt.summary)) for prompt in found]

    def saved_prompt(self, cwd: str, name: str, text: str) -> SavedText | None:
        """Return a saved prompt with the rest of its line; its tools and schema are not used."""
        from omniagent_cli.adapters.acp.host import SavedText
        from omniagent_cli.config import prompts

        environ = self._context.environ
        if prompts.find_prompt(name, environ, Path(cwd)) is None:
            return None
        prompt = prompts.saved_prompt(name, environ, Path(cwd))
        values, rest = prompts.split_values(text, prompt)
        return SavedText(prompt.render(rest, values), prompt.system, prompt.model)

    def models(self) -> list[str]:
        """Return the names of the known models."""
        return self._factory.known_models()

    def engine(self, model: str) -> Engine:
        """Return the engine of a model."""
        return self._factory.engine_for(model)
