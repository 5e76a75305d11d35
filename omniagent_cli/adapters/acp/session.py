"""A session that an editor has open: its agent, its mode, its running turn and its approvals."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from acp import RequestError, schema
from acp.helpers import update_agent_message_text

from omniagent_cli.adapters.acp.content import (
    call_arguments,
    event_updates,
    tool_kind,
)
from omniagent_cli.adapters.acp.file_changes import changes, locations
from omniagent_cli.agent.events import ToolCalled, ToolEnded, ToolReturned, TurnDone
from omniagent_cli.agent.last_turn import OwnTurn
from omniagent_cli.agent.tools.permissions import PreapprovedTools
from omniagent_cli.agent.tools.tool import Decision, Tool
from omniagent_cli.errors import OmniAgentError, SessionNotFound, ToolRoundsExceeded

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.agent.events import Engine, TurnEvent
    from omniagent_cli.models import Content, ToolCall
    from omniagent_cli.stores.events import Event
    from omniagent_cli.stores.store import SessionStore

ASK, READ_ONLY = "ask", "read-only"
"""The modes: request permission for tools that write or destroy, or deny them."""

Send = Callable[[Any], Awaitable[None]]
RequestPermission = Callable[[Any, list[Any]], Awaitable[schema.RequestPermissionResponse]]

_OPTIONS = [
    schema.PermissionOption(option_id="allow_once", name="Allow", kind="allow_once"),
    schema.PermissionOption(
        option_id="allow_always", name="Always allow in this session", kind="allow_always"
    ),
    schema.PermissionOption(option_id="reject_once", name="Reject", kind="reject_once"),
    schema.PermissionOption(
        option_id="reject_always", name="Always reject in this session", kind="reject_always"
    ),
]


class OpenSession:
    """A session that the client has opened.

    Args:
        session_id: the id of the session.
        cwd: the directory in which the client opened it.
        send: sends a session update to the client.
        request_permission: sends a permission request and returns the response.
        allowed: permissions granted beforehand.

    Attributes:
        id: the id in the store.
        client_id: the id that the client uses; it stays the same if another program renames the session.
        agent: runs the turns; set by the server.
        engine: the model chosen by the client; None for that of the agent.
        own_turns: the turns that the client started, in order.
        undone: the entries of the trash that ``/redo`` restores, the last one first.
        stop_watching: ends what `watch` began.
    """

    agent: Agent
    _store: SessionStore

    def __init__(
        self,
        session_id: str,
        cwd: str,
        *,
        send: Send,
        request_permission: RequestPermission,
        allowed: PreapprovedTools,
    ) -> None:
        self.id = self.client_id = session_id
        self.cwd = cwd
        self.mode = ASK
        self.engine: Engine | None = None
        self.own_turns: list[OwnTurn] = []
        self.undone: list[str] = []
        self._uid = ""
        self.stop_watching: Callable[[], None] = lambda: None
        self._send = send
        self._request_permission = request_permission
        self._allowed = allowed
        self._remembered: dict[str, bool] = {}
        self._asking = asyncio.Lock()
        self._calls: list[ToolCall] = []
        self._turn: asyncio.Task[schema.PromptResponse] | None = None
        self._engines: list[Engine] = []

    @property
    def model(self) -> str:
        """The name of the model of the next turn."""
        return (self.engine or self.agent.engine).name

    def watch(self, store: SessionStore) -> None:
        """Record the turns that are started in this session by this program, and follow its renames."""

        def note(event: Event) -> None:
            message = event.data["message"]
            if event.session_id == self.id and message.role == "user" and message.turn_id:
                self.own_turns.append(OwnTurn(message.turn_id, message.position))

        self._store = store
        self._follow()
        self.stop_watching = store.on("message_added", note)

    def _follow(self) -> None:
        """Update the id if another program has renamed the session; a deleted one is created again by its next message."""
        try:
            self._uid = self._store.header(self.id).uid
        except SessionNotFound:
            if self._uid and (renamed := self._store.current_id(self._uid)):
                self.id = renamed

    def use_engine(self, engine: Engine) -> None:
        """Use another model from the next turn on; a running turn keeps its own."""
        self.engine = engine
        self._engines.append(engine)

    async def answer(self, content: Content, engine: Engine | None = None) -> schema.PromptResponse:
        """Run a turn and send its events; a canceled turn keeps its partial answer.

        Args:
            content: the user's message.
            engine: another model for this turn.

        Raises:
            OmniAgentError: the turn failed; its messages are stored.
        """
        self.undone.clear()  # positions of removed messages may be taken from now on
        return await self.play(self.agent.stream(content, self.id, engine=engine or self.engine))

    async def run(
        self, work: Callable[[], Awaitable[schema.PromptResponse]]
    ) -> schema.PromptResponse:
        """Run work that `cancel` ends, unless other work is running in this session.

        Raises:
            RequestError: a turn is running.
        """
        if self._turn is not None:
            raise RequestError(-32600, "a turn is already running in this session; cancel it first")
        turn = self._turn = asyncio.create_task(self._followed(work))
        try:
            await asyncio.wait([turn])
            if turn.cancelled():
                return schema.PromptResponse(stop_reason="cancelled")
            return turn.result()
        finally:
            if not turn.done():
                turn.cancel()
                await asyncio.wait([turn])
            self._turn = None
            self._calls.clear()

    async def _followed(
        self, work: Callable[[], Awaitable[schema.PromptResponse]]
    ) -> schema.PromptResponse:
        await asyncio.to_thread(self._follow)
        try:
            return await work()
        finally:
            with suppress(OmniAgentError):  # the store may have failed, which `work` reports
                await asyncio.to_thread(self._follow)

    async def play(self, events: AsyncGenerator[TurnEvent, None]) -> schema.PromptResponse:
        """Send the events of a turn and return its response."""
        usage: Counter[str] = Counter()
        reason: schema.StopReason = "end_turn"
        try:
            async with aclosing(events):
                async for event in events:
                    self._track(event)
                    for update in event_updates(event):
                        await self._send(update)
                    if isinstance(event, TurnDone):
                        usage.update({k: n for k, n in event.usage.items() if isinstance(n, int)})
        except ToolRoundsExceeded:
            reason = "max_turn_requests"
        return schema.PromptResponse(stop_reason=reason, usage=_usage(usage))

    async def say(self, text: str) -> None:
        """Send a text that is not a stored message."""
        await self._send(update_agent_message_text(text))

    def _track(self, event: Any) -> None:
        if isinstance(event, ToolCalled):
            self._calls.append(event.call)
        elif isinstance(event, ToolEnded | ToolReturned) and event.call in self._calls:
            self._calls.remove(event.call)

    async def cancel(self) -> None:
        """Cancel the running turn, if any, and wait until its partial answer is stored."""
        if (turn := self._turn) is not None:
            turn.cancel()
            await asyncio.wait([turn])

    async def aclose(self) -> None:
        """Cancel the running turn and close the agent."""
        await self.cancel()
        self.stop_watching()
        for engine in self._engines:
            await engine.aclose()
        await self.agent.aclose()

    # Approvals.

    async def approve(self, tool: Tool, arguments: Mapping[str, Any]) -> Decision:
        """Decide whether a tool that writes or destroys may run; see `Agent.approve`."""
        if self.mode == READ_ONLY:
            reason = f"{tool.name} is denied in read-only mode"
            return Decision(allowed=False, by="session", reason=reason)
        async with self._asking:
            if found := self._allowed.decision(tool):
                return found
            if tool.name in self._remembered:
                return Decision(allowed=self._remembered[tool.name], by="session")
            return await self._ask(tool, arguments)

    async def _ask(self, tool: Tool, arguments: Mapping[str, Any]) -> Decision:
        call = schema.ToolCallUpdate(
            tool_call_id=self._call_id(tool, arguments),
            title=tool.name,
            kind=tool_kind(tool.name, arguments),
            status="pending",
            content=changes(arguments) or None,
            locations=locations(arguments) or None,
            raw_input=dict(arguments),
        )
        outcome = (await self._request_permission(call, _OPTIONS)).outcome
        choice = outcome.option_id if isinstance(outcome, schema.AllowedOutcome) else ""
        allowed = choice in ("allow_once", "allow_always")
        if choice in ("allow_always", "reject_always"):
            self._remembered[tool.name] = allowed
        return Decision(allowed=allowed, by="asked")

    def _call_id(self, tool: Tool, arguments: Mapping[str, Any]) -> str:
        for call in self._calls:
            if call["function"]["name"] == tool.name and call_arguments(call) == dict(arguments):
                return str(call.get("id", ""))
        return f"permission-{tool.name}"


def _usage(counts: Counter[str]) -> schema.Usage | None:
    if not counts:
        return None
    read, written = counts["input_tokens"], counts["output_tokens"]
    return schema.Usage(input_tokens=read, output_tokens=written, total_tokens=read + written)
