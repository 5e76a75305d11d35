"""An editor for tests: the client of the protocol's own library, connected to the server in this process."""

import asyncio
from contextlib import asynccontextmanager

from acp import PROTOCOL_VERSION, Client, connect_to_agent, schema
from acp._transport import memory_transport_pair

from omniagent_cli import Agent
from omniagent_cli.adapters.acp.server import AcpServer
from omniagent_cli.agent.context.titles import TitleSettings
from omniagent_cli.agent.mcp.skill import mcp_skills
from omniagent_cli.agent.tools.permissions import PreapprovedTools
from omniagent_cli.testing.scripted import ScriptedModel


class Editor(Client):
    """A client that records updates and answers permission requests."""

    def __init__(self):
        self.updates = []
        self.requests = []
        self.choice = "allow_once"
        self.arrived = asyncio.Event()
        self.requested = asyncio.Event()
        self.decided = asyncio.Event()
        self.decided.set()

    async def session_update(self, session_id, update, **_):
        self.updates.append((session_id, update))
        self.arrived.set()

    async def request_permission(self, session_id, tool_call, options, **_):
        self.requests.append((session_id, tool_call, [option.kind for option in options]))
        self.requested.set()
        await self.decided.wait()
        outcome = schema.AllowedOutcome(outcome="selected", option_id=self.choice)
        return schema.RequestPermissionResponse(outcome=outcome)

    def texts(self, kind="agent_message_chunk"):
        return "".join(u.content.text for _, u in self.updates if u.session_update == kind)

    async def until_in(self, session_id, kind):
        async with asyncio.timeout(20):
            while not any(
                own == session_id and update.session_update == kind for own, update in self.updates
            ):
                self.arrived.clear()
                await self.arrived.wait()

    def of(self, kind):
        return [update for _, update in self.updates if update.session_update == kind]

    async def until(self, kind, suits=lambda _: True):
        async with asyncio.timeout(20):
            while not any(suits(update) for update in self.of(kind)):
                self.arrived.clear()
                await self.arrived.wait()


class ScriptedHost:
    """A host whose agents use scripted models."""

    allowed = PreapprovedTools()

    def __init__(
        self, store, *script, tools=(), titles=None, window=None, prices=None, engine=ScriptedModel
    ):
        self.store = store
        self.prices = prices or {}
        self.saved = {}
        self.engines = []
        self.requests = []
        self._script = script
        self._engine = engine
        self._tools = tools
        self._titles = titles
        self._window = window

    def agent(self, request):
        self.requests.append(request)
        self.engines.append(self._engine(*self._script))
        titles = self._titles and TitleSettings(lambda: self._titles, written=request.titled)
        return Agent(
            self.engines[-1],
            store=self.store,
            tools=self._tools,
            skills=lambda: mcp_skills(request.servers),
            approve=request.approve,
            origin={"cwd": request.cwd, "program": request.client},
            titles=titles,
            window=self._window,
        )

    def saved_prompts(self, cwd):
        return [(name, f"about {name} in {cwd}") for name in self.saved]

    def saved_prompt(self, cwd, name, text):
        return self.saved[name](text) if name in self.saved else None

    def models(self):
        return ["scripted:other"]

    def engine(self, model):
        return ScriptedModel("by the other", name=model)


@asynccontextmanager
async def editing(host):
    """The library's client, connected to the server in this process."""
    ours, theirs = memory_transport_pair()
    editor = Editor()
    serving = asyncio.create_task(AcpServer(host, ours).run())
    connection = connect_to_agent(editor, theirs, use_unstable_protocol=True)
    try:
        await connection.initialize(
            protocol_version=PROTOCOL_VERSION,
            client_info=schema.Implementation(name="test-editor", version="1"),
        )
        yield connection, editor
    finally:
        await theirs.close()
        await connection.close()
        await asyncio.wait_for(serving, 20)
