"""The agent side of the Agent Client Protocol, schema 1.19: the methods that an editor calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from acp import RequestError, schema
from acp.agent.router import build_agent_router
from acp.connection import Connection
from acp.helpers import update_available_commands
from acp.meta import AGENT_METHODS, CLIENT_METHODS, PROTOCOL_VERSION
from acp.utils import normalize_result, notify_model, request_model

from omniagent_cli._version import __version__
from omniagent_cli.adapters.acp.commands import (
    CommandContext,
    available_commands,
    run_prompt,
)
from omniagent_cli.adapters.acp.content import message_parts, replay_updates
from omniagent_cli.adapters.acp.host import AgentRequest
from omniagent_cli.adapters.acp.session import ASK, READ_ONLY, OpenSession
from omniagent_cli.adapters.acp.session_info import info_updates, session_page
from omniagent_cli.agent.mcp.server import McpServer
from omniagent_cli.errors import OmniAgentError, SessionNotFound, UsageError
from omniagent_cli.models import check_session_id
from omniagent_cli.models.ids import new_session_id

if TYPE_CHECKING:
    from omniagent_cli.adapters.acp.host import Host
    from omniagent_cli.agent.events import Engine

T = TypeVar("T")

MAX_OPEN_SESSIONS = 200
"""Sessions that one client may have open."""

_MODES = [
    schema.SessionMode(id=ASK, name="Ask", description="Ask before a tool writes or deletes"),
    schema.SessionMode(
        id=READ_ONLY, name="Read-only", description="Deny tools that write or delete"
    ),
]


class AcpServer:
    """The sessions of one client; implements the methods that the ACP library routes to an agent."""

    def __init__(self, host: Host, transport: Any) -> None:
        self._host = host
        self._open: dict[str, OpenSession] = {}
        self._models: list[str] = []
        self._client = ""
        self._activation = asyncio.Lock()
        router = build_agent_router(self, use_unstable_protocol=True)  # type: ignore[arg-type]  # close, fork and resume are routed by name
        # The library has the types of this method, but no route.
        router.route_request(
            AGENT_METHODS["session_delete"],
            schema.DeleteSessionRequest,
            self,
            "delete_session",
            adapt_result=normalize_result,
        )
        self._router = router
        self._requests: set[asyncio.Task[Any]] = set()
        self._disconnected = False
        self._connection = Connection(self._handle, transport, listening=False)

    async def run(self) -> None:
        """Serve until the client disconnects, then answer pending requests, and store and close everything."""
        try:
            await self._connection.main_loop()
        finally:
            await asyncio.shield(self._shut_down())

    async def _handle(self, method: str, params: Any, is_notification: bool) -> Any:  # noqa: FBT001  # called by the library
        if task := asyncio.current_task():
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        return await self._router(method, params, is_notification)

    async def _shut_down(self) -> None:
        self._disconnected = True
        await asyncio.sleep(0)  # starts the tasks of requests that were read last
        await asyncio.gather(*(live.cancel() for live in self._open.values()))
        if self._requests:
            await asyncio.wait(self._requests)
        sessions, self._open = list(self._open.values()), {}
        await asyncio.gather(*(live.aclose() for live in sessions), return_exceptions=True)
        await self._connection.close()

    # Connection.

    async def initialize(
        self, protocol_version: int, client_info: schema.Implementation | None = None, **_: Any
    ) -> schema.InitializeResponse:
        """Return the protocol version and the capabilities.

        Raises:
            RequestError: the store cannot be opened, or it is encrypted and there is no key.
        """
        del protocol_version
        self._client = client_info.name if client_info else ""
        await self._call(lambda: self._host.store)
        return schema.InitializeResponse(
            protocol_version=PROTOCOL_VERSION,
            agent_info=schema.Implementation(
                name="omniagent", title="omniagent", version=__version__
            ),
            agent_capabilities=schema.AgentCapabilities(
                load_session=True,
                prompt_capabilities=schema.PromptCapabilities(
                    image=True, audio=False, embedded_context=True
                ),
                mcp_capabilities=schema.McpCapabilities(http=True, sse=False),
                session_capabilities=schema.SessionCapabilities(
                    list=schema.SessionListCapabilities(),
                    delete=schema.SessionDeleteCapabilities(),
                    fork=schema.SessionForkCapabilities(),
                    resume=schema.SessionResumeCapabilities(),
                    close=schema.SessionCloseCapabilities(),
                ),
            ),
            auth_methods=[],
        )

    async def authenticate(self, method_id: str, **_: Any) -> None:
        """Reject the method: API keys are set with ``omniagent keys set``, not by a client."""
        raise RequestError(
            -32602, f"unknown method {method_id!r}; set a key: omniagent keys set openai"
        )

    # Sessions.

    async def new_session(
        self, cwd: str, mcp_servers: Sequence[Any] | None = None, **_: Any
    ) -> schema.NewSessionResponse:
        """Start a session, which is stored with its first message."""
        live = await self._activate(None, cwd, mcp_servers)
        return schema.NewSessionResponse(session_id=live.id, **self._state(live))

    async def load_session(
        self, cwd: str, session_id: str, mcp_servers: Sequence[Any] | None = None, **_: Any
    ) -> schema.LoadSessionResponse:
        """Open a stored session and send its messages."""
        live = await self._activate_stored(session_id, cwd, mcp_servers)
        messages = await self._call(lambda: self._host.store.messages(session_id))
        for update in replay_updates(messages):
            await self._send(session_id, update)
        return schema.LoadSessionResponse(**self._state(live))

    async def resume_session(
        self, session_id: str, cwd: str, mcp_servers: Sequence[Any] | None = None, **_: Any
    ) -> schema.ResumeSessionResponse:
        """Open a stored session without sending its messages."""
        live = await self._activate_stored(session_id, cwd, mcp_servers)
        return schema.ResumeSessionResponse(**self._state(live))

    async def fork_session(
        self, session_id: str, cwd: str, mcp_servers: Sequence[Any] | None = None, **_: Any
    ) -> schema.ForkSessionResponse:
        """Copy a stored session and open the copy."""
        new_id = await self._call(lambda: self._host.store.fork(session_id))
        live = await self._activate(new_id, cwd, mcp_servers)
        return schema.ForkSessionResponse(session_id=new_id, **self._state(live))

    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **_: Any
    ) -> schema.ListSessionsResponse:
        """List sessions by last activity; with `cwd`, those that began in that directory."""
        return await self._call(lambda: session_page(self._host.store, cwd, cursor))

    async def close_session(self, session_id: str, **_: Any) -> None:
        """Cancel the turn of a session and close it."""
        await self._drop(session_id)

    async def delete_session(self, session_id: str, **_: Any) -> None:
        """Close a session and move it to the trash."""
        live = self._open.get(session_id)
        await self._drop(session_id)
        stored_id = live.id if live else session_id
        await self._call(lambda: self._host.store.delete(stored_id))

    async def set_session_mode(self, session_id: str, mode_id: str, **_: Any) -> None:
        """Set the mode of a session."""
        live = self._live(session_id)
        if mode_id not in (ASK, READ_ONLY):
            raise RequestError(-32602, f"unknown mode {mode_id!r}; choose {ASK} or {READ_ONLY}")
        live.mode = mode_id

    async def set_config_option(
        self, config_id: str, session_id: str, value: Any, **_: Any
    ) -> schema.SetSessionConfigOptionResponse:
        """Set the model of a session from its next turn on."""
        live = self._live(session_id)
        if config_id != "model" or not isinstance(value, str):
            raise RequestError(-32602, f"unknown option {config_id!r}; choose model")
        await self._use_model(live, value)
        return schema.SetSessionConfigOptionResponse(config_options=self._options(live))

    # Turns.

    async def prompt(
        self, session_id: str, prompt: Sequence[Any], **_: Any
    ) -> schema.PromptResponse:
        """Run a turn, or a slash command."""
        live = self._live(session_id)
        if self._disconnected:
            raise RequestError(-32600, "the client has disconnected")
        try:
            text, attachments = message_parts(prompt)
            if not text and not attachments:
                raise UsageError("the prompt is empty")
            # Nothing is awaited before: a cancellation that follows must find the turn.
            return await live.run(
                lambda: run_prompt(self._command_context(live), text, attachments)
            )
        except OmniAgentError as error:
            raise _request_error(error) from error
        finally:
            await self._send_info(live)

    def _command_context(self, live: OpenSession) -> CommandContext:
        async def use_model(model: str) -> None:
            await self._use_model(live, model)
            await self._send(
                live.client_id,
                schema.ConfigOptionUpdate(
                    session_update="config_option_update", config_options=self._options(live)
                ),
            )

        return CommandContext(live, self._host, use_model)

    async def _use_model(self, live: OpenSession, model: str) -> None:
        """Use a model from the next turn on; a stored session is pinned to it."""

        def work() -> Engine:
            engine = self._host.engine(model)
            with suppress(SessionNotFound):  # its first answer pins it
                self._host.store.set_model(live.id, engine.name)
            return engine

        live.use_engine(await self._call(work))

    async def _send_info(self, live: OpenSession) -> None:
        """Send title, time and context use of a session; errors are left to the next request."""

        def work() -> list[Any]:
            return list(info_updates(self._host.store, live.id, live.agent.window))

        with suppress(OmniAgentError, OSError):
            for update in await asyncio.to_thread(work):
                await self._send(live.client_id, update)

    async def cancel(self, session_id: str, **_: Any) -> None:
        """Cancel the turn of a session; unknown sessions are ignored, as the protocol has no response."""
        if live := self._open.get(session_id):
            await live.cancel()

    # Open sessions.

    async def _activate_stored(
        self, session_id: str, cwd: str, servers: Sequence[Any] | None
    ) -> OpenSession:
        """Open a session that is stored, or that this client started.

        Raises:
            RequestError: it does not exist, or a turn is running in it.
        """
        if session_id not in self._open:
            await self._call(lambda: self._host.store.header(check_session_id(session_id)))
        return await self._activate(session_id, cwd, servers)

    async def _activate(
        self, session_id: str | None, cwd: str, servers: Sequence[Any] | None
    ) -> OpenSession:
        async with self._activation:  # concurrent requests may name the same session
            own_id = await self._call(self._unused_id) if session_id is None else session_id
            await self._drop(own_id)
            if len(self._open) >= MAX_OPEN_SESSIONS:
                raise RequestError(
                    -32600, f"{MAX_OPEN_SESSIONS} sessions are open; close one first"
                )
            live = OpenSession(
                own_id,
                cwd,
                send=lambda update: self._send(own_id, update),
                request_permission=lambda call, options: request_model(
                    self._connection,
                    CLIENT_METHODS["session_request_permission"],
                    schema.RequestPermissionRequest(
                        session_id=own_id, tool_call=call, options=options
                    ),
                    schema.RequestPermissionResponse,
                ),
                allowed=self._host.allowed,
            )
            if not self._models:
                self._models = await self._call(self._host.models)
            request = AgentRequest(
                own_id,
                cwd,
                self._client,
                [_mcp_server(server) for server in servers or ()],
                live.approve,
                lambda _: self._send_info(live),
            )
            await self._call(lambda: live.watch(self._host.store))
            try:
                live.agent = await self._call(lambda: self._host.agent(request))
            except BaseException:
                live.stop_watching()
                raise
            self._open[own_id] = live
            asyncio.get_running_loop().call_soon(self._announce, live)
            return live

    def _unused_id(self) -> str:
        """Return an id that is neither stored nor open; those of one second may coincide."""
        while True:
            own_id = new_session_id(datetime.now(UTC))
            if own_id not in self._open and not self._host.store.exists(own_id):
                return own_id

    def _announce(self, live: OpenSession) -> None:
        """Send the slash commands after the response that contains the session id."""

        async def announce() -> None:
            saved = await asyncio.to_thread(self._host.saved_prompts, live.cwd)
            await self._send(live.client_id, update_available_commands(available_commands(saved)))

        task = asyncio.create_task(announce())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _drop(self, session_id: str) -> None:
        if live := self._open.pop(session_id, None):
            await live.aclose()

    def _live(self, session_id: str) -> OpenSession:
        if live := self._open.get(session_id):
            return live
        raise RequestError(-32002, f"session {session_id!r} is not open; load it first")

    def _state(self, live: OpenSession) -> dict[str, Any]:
        modes = schema.SessionModeState(current_mode_id=live.mode, available_modes=_MODES)
        return {"modes": modes, "config_options": self._options(live)}

    def _options(self, live: OpenSession) -> list[Any]:
        names = dict.fromkeys([live.model, *self._models])
        return [
            schema.SessionConfigOptionSelect(
                type="select",
                id="model",
                name="Model",
                category="model",
                current_value=live.model,
                options=[schema.SessionConfigSelectOption(value=n, name=n) for n in names],
            )
        ]

    async def _send(self, session_id: str, update: Any) -> None:
        await notify_model(
            self._connection,
            CLIENT_METHODS["session_update"],
            schema.SessionNotification(session_id=session_id, update=update),
        )

    async def _call(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread; its errors become errors of the protocol."""
        try:
            return await asyncio.to_thread(work)
        except OmniAgentError as error:
            raise _request_error(error) from error


def _request_error(error: OmniAgentError) -> RequestError:
    if isinstance(error, SessionNotFound):
        return RequestError(-32002, str(error))
    if isinstance(error, UsageError):
        return RequestError(-32602, str(error))
    return RequestError(-32603, str(error))


def _mcp_server(server: Any) -> McpServer:
    if isinstance(server, schema.McpServerStdio):
        env = {variable.name: variable.value for variable in server.env}
        return McpServer(server.name, (server.command, *server.args), env)
    if isinstance(server, schema.HttpMcpServer):
        headers = {header.name: header.value for header in server.headers}
        return McpServer(server.name, url=server.url, headers=headers)
    raise RequestError(-32602, "only MCP servers over stdio and HTTP are supported")
