"""The agent: a model, a store, tools, and the methods that run turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Self

from omniagent_cli.agent.context.compaction import Compaction, CompactionResult, Progress
from omniagent_cli.agent.context.rollover import Rollover
from omniagent_cli.agent.context.titles import CURRENT, TitleGenerator, TitleSettings
from omniagent_cli.agent.context.window import Window
from omniagent_cli.agent.events import Engine, ModelSettings, TurnDone, TurnEvent
from omniagent_cli.agent.loop_thread import LoopThread, refuse_at_exit
from omniagent_cli.agent.models.open_model import open_model
from omniagent_cli.agent.models.recall import NAME as RECALL
from omniagent_cli.agent.models.recall import Recall
from omniagent_cli.agent.tools.context import ToolContext
from omniagent_cli.agent.tools.skill import Skill
from omniagent_cli.agent.tools.tool import Approve, OfferedTools, Tool, Toolbox
from omniagent_cli.agent.tools.tool_toggles import (
    SessionToggleStore,
    SessionToolToggles,
    ToolStatus,
    ToolToggles,
    resolve_toggle,
)
from omniagent_cli.agent.tools.toolset import Toolset
from omniagent_cli.agent.transcript import EphemeralTranscript, SessionTranscript, Transcript
from omniagent_cli.agent.turn import MAX_TOOL_ROUNDS, Turn
from omniagent_cli.errors import ContextLengthExceeded, UsageError
from omniagent_cli.keys import KeyChain
from omniagent_cli.models import Content, Message, check_session_id
from omniagent_cli.serial_executor import SerialExecutor
from omniagent_cli.stores.store import SessionStore


class Agent:
    """An agent that runs turns with a model, with or without a session.

    Args:
        model: ``provider:name``, the name alone if one provider has it, ``recall``, an `Engine`, or None to choose: a
            provider whose key is set, a running local server, else `recall`.
        store: the session store; without one the agent is stateless.
        system_prompt: sent first with every request, never stored.
        tools: the tools the model may call.
        skills: groups of tools, opened before the first turn that offers tools and closed with the agent; or a
            function that returns them, called at that time.
        toggles: which tools and skills are offered; all by default. A session may have toggles of its own, see
            `toggle_tool`.
        approve: called before a tool that writes or destroys; None denies these tools.
        settings: the model settings of every request.
        window: how much of a session is sent.
        max_tool_rounds: the maximum number of rounds of tool calls in one turn.
        rollover: when a session starts empty and its messages move to a session of their own; None: never.
        titles: the model that writes titles in the background after the first answer: a name, an `Engine`, or
            ``current`` for the session's own. Each title costs one request. None: the title is the first words.
        agent_id: recorded in the sessions that the agent creates.
        origin: recorded in the sessions that the agent creates: ``cwd``, ``git_branch``, ``program``.
        base_url: the endpoint, instead of the default one of the provider.
        api: ``responses`` or ``chat``, the protocol to try first; None decides by the endpoint.
        keys: the API keys; by default those of environment variables and the keyring.
    """

    def __init__(
        self,
        model: str | Engine | None = None,
        *,
        store: SessionStore | None = None,
        system_prompt: str = "",
        tools: Sequence[Tool] = (),
        skills: Sequence[Skill] | Callable[[], Sequence[Skill]] = (),
        toggles: ToolToggles | None = None,
        approve: Approve | None = None,
        settings: ModelSettings | None = None,
        window: Window | None = None,
        max_tool_rounds: int = MAX_TOOL_ROUNDS,
        rollover: Rollover | None = None,
        titles: str | Engine | TitleSettings | None = None,
        agent_id: str = "",
        origin: Mapping[str, Any] | None = None,
        base_url: str | None = None,
        api: str | None = None,
        keys: KeyChain | None = None,
    ) -> None:
        self.store = store
        self.system_prompt = system_prompt
        self.toolset = Toolset(tools, skills, store=store, toggles=toggles)
        self.approve = approve
        self.settings = settings or ModelSettings()
        self.window = window or Window()
        self.max_tool_rounds = max_tool_rounds
        self.rollover = rollover or Rollover()
        self.agent_id = agent_id
        self.origin = origin
        self.engine: Engine = open_model(model, base_url=base_url, api=api, keys=keys)
        self._worker = SerialExecutor("omniagent-store")
        self._loop_thread = LoopThread()
        self._compacting: Compaction | None = None
        self._titles: TitleGenerator | None = None
        if titles is not None and store is not None:
            titling = _titling(titles, keys)
            self._titles = TitleGenerator(store, self._worker, titling, self.settings)
        self._session_toggles = SessionToggleStore()
        self._closed = False

    # Asynchronous methods.

    async def stream(
        self,
        content: Content,
        session_id: str | None = None,
        *,
        engine: Engine | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncGenerator[TurnEvent, None]:
        """Run a turn and yield its events, the last of which is `TurnDone`; closing or cancelling keeps the partial answer.

        Args:
            content: the user's message: text or content parts.
            session_id: the session to continue, created if missing; None runs a stateless turn.
            engine: another model for this turn.
            metadata: JSON data stored with the user's message, and not sent to the model.

        Raises:
            ModelError: the request failed; the message and the partial answer are stored.
        """
        turn = self._turn(self._transcript(session_id), session_id, engine)
        async with aclosing(turn.run(content, metadata)) as events:
            async for event in events:
                if isinstance(event, TurnDone) and event.session_id and self._titles is not None:
                    self._titles.start(event.session_id, turn.engine)
                yield event

    async def continue_turn(
        self, session_id: str, turn_id: str | None = None, *, engine: Engine | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Continue an unfinished turn and yield its events, as `stream` does.

        An answer that was interrupted, failed or was cut at the token limit is extended in place; ``extra["continued"]``
        records the position. Text events hold only the new text, `TurnDone` the whole message. A turn that stopped during
        its tool calls is resumed from there, and a message without an answer is answered. The caller has to ensure that no
        other program is still running the turn.

        Args:
            session_id: the session.
            turn_id: the turn; None selects that of the last user message.
            engine: another model for this turn.

        Raises:
            UsageError: there is nothing to continue, or the model is `recall`, which cannot continue an answer.
            ModelError: the request failed; the earlier and the new part of the answer are stored.
        """
        transcript = self._session_transcript(check_session_id(session_id))
        turn = self._turn(transcript, session_id, engine)
        turn.partial = await transcript.resume(turn_id)
        if turn.partial is not None and isinstance(turn.engine, Recall):
            raise UsageError("recall cannot continue an answer; choose a model, or ask again")
        async with aclosing(turn.run(None)) as events:
            async for event in events:
                yield event

    async def aprocess(self, content: Content) -> str:
        """Run a stateless turn and return the text of the answer."""
        return (await self._last(self.stream(content))).message.text

    async def aprocess_with_session(
        self, session_id: str, content: Content, *, metadata: Mapping[str, Any] | None = None
    ) -> str:
        """Run a turn in a session and return the text of the answer; see `process_with_session`."""
        turn = self.stream(content, check_session_id(session_id), metadata=metadata)
        return (await self._last(turn)).message.text

    # Tools.

    async def tool_statuses(
        self, session_id: str | None = None
    ) -> tuple[list[ToolStatus], list[str]]:
        """Return every tool with its status in a session, and the notices of skills that failed to open."""
        return await self.toolset.tool_statuses(await self._toggles(session_id or ""))

    async def toggle_tool(self, session_id: str, name: str, *, on: bool) -> None:
        """Turn a tool, or all tools of a skill, on or off in one session, from its next turn on.

        The choice is stored in the session's state (``tools``). If the session does not exist yet, it is stored together
        with the first message.

        Raises:
            UsageError: the name is unknown, or the tool is off for all sessions.
        """
        known, _ = await self.tool_statuses(session_id)
        toggles = (await self._toggles(session_id)).with_toggle(
            name, resolve_toggle(known, name, on=on), on=on
        )
        await asyncio.get_running_loop().run_in_executor(
            self._worker, self._session_toggles.save, self.store, session_id, toggles
        )

    # Compaction.

    async def acompact(
        self,
        session_id: str,
        instructions: str = "",
        *,
        engine: Engine | None = None,
        progress: Progress | None = None,
    ) -> CompactionResult:
        """Summarize all but the newest turns of a session; the summary is sent instead of them from now on.

        No message is removed. On failure or cancellation nothing changes.

        Args:
            session_id: the session.
            instructions: what the summary should keep in particular.
            engine: another model for the summary.
            progress: called with the number of summarized messages and the total.

        Raises:
            SessionNotFound: the session does not exist.
            UsageError: there is nothing to summarize, or the model is `recall`.
            ModelError: the request for the summary failed.
        """
        compaction = self._compaction(check_session_id(session_id))
        asked = engine or self.engine
        return await compaction.run(
            session_id, asked, self.window, instructions=instructions, progress=progress
        )

    def compact(self, session_id: str, instructions: str = "") -> CompactionResult:
        """Summarize the older part of a session, synchronously; see `acompact`."""
        return self._loop_thread.run(self.acompact(session_id, instructions))

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the agent is closed; create a new one")

    def _compaction(self, session_id: str) -> Compaction:
        self._check_open()
        if self.store is None:
            raise UsageError(f"no session {session_id!r}: the agent has no store")
        if self._compacting is None:
            self._compacting = Compaction(self.store, self._worker, self.settings)
        return self._compacting

    async def _prepare(self, session_id: str, engine: Engine) -> AsyncGenerator[TurnEvent, None]:
        """Run automatic compaction before the model is called."""
        if self.window.compact_at is None:
            return
        compaction = self._compaction(session_id)
        async with aclosing(compaction.before_turn(session_id, engine, self.window)) as notices:
            async for notice in notices:
                yield notice

    def _shortener(
        self, engine: Engine
    ) -> Callable[[str, ContextLengthExceeded], AsyncGenerator[TurnEvent, None]]:
        return lambda session_id, refused: self._compaction(session_id).after_refusal(
            session_id, engine, self.window, refused
        )

    # Synchronous methods.

    def process(self, content: Content) -> str:
        """Run a stateless turn and return the text of the answer; no session is read or written."""
        return self._loop_thread.run(self.aprocess(content))

    def process_with_session(
        self, session_id: str, content: Content, *, metadata: Mapping[str, Any] | None = None
    ) -> str:
        """Run a turn in a session and return the text of the answer.

        The user's message is on disk before the model is called, and every message of the turn is stored as it arrives.

        Args:
            session_id: the session, created if missing.
            content: the user's message: text or content parts.
            metadata: JSON data stored with it, and not sent to the model.

        Raises:
            ModelError: the request failed; sending the same content again does not store it twice.
            UsageError: the agent has no store.
        """
        return self._loop_thread.run(
            self.aprocess_with_session(session_id, content, metadata=metadata)
        )

    def stream_sync(
        self,
        content: Content,
        session_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> Iterator[TurnEvent]:
        """Run a turn and yield its events, synchronously; see `stream`."""
        return self._loop_thread.iterate(self.stream(content, session_id, metadata=metadata))

    def close(self) -> None:
        """Close connections, skills and threads; the store belongs to the caller and stays open."""
        self._closed = True
        if self._titles is not None:
            self._loop_thread.run(self._titles.aclose())
        self._loop_thread.run(self.engine.aclose())
        self._loop_thread.close()
        self.toolset.close()
        self._worker.shutdown()

    async def aclose(self) -> None:
        """Close the agent as `close` does, and its connections in the event loop that opened them."""
        if self._titles is not None:
            await self._titles.aclose()
        await self.engine.aclose()
        with refuse_at_exit():
            await asyncio.to_thread(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _transcript(self, session_id: str | None) -> Transcript:
        if session_id is None:
            return EphemeralTranscript()
        return self._session_transcript(check_session_id(session_id))

    def _session_transcript(self, session_id: str) -> SessionTranscript:
        if self.store is None:
            raise UsageError("the agent has no store; pass one: Agent(store=open_store(...))")
        return SessionTranscript(
            self.store,
            session_id,
            self._worker,
            agent_id=self.agent_id,
            origin=self.origin,
            rollover=self.rollover,
        )

    def _turn(self, transcript: Transcript, session_id: str | None, engine: Engine | None) -> Turn:
        self._check_open()
        asked = engine or self.engine
        if isinstance(asked, Recall) and session_id is not None:
            asked = asked.in_session(self.store, session_id)
        return Turn(
            engine=asked,
            transcript=transcript,
            toolbox=self._toolbox(asked, transcript),
            system_prompt=self.system_prompt,
            settings=self.settings,
            window=self.window,
            max_tool_rounds=self.max_tool_rounds,
            prepare=None if session_id is None else lambda own: self._prepare(own, asked),
            shorten=None if session_id is None else self._shortener(asked),
        )

    def _toolbox(self, engine: Engine, transcript: Transcript) -> Toolbox:
        """Return the tools of a turn; skills are not opened for an engine that does not use tools."""
        if not getattr(engine, "uses_tools", True):
            return Toolbox()
        return Toolbox(
            approve=self.approve,
            load_tools=lambda: self._offered_tools(transcript.session_id),
            context=ToolContext(self.store, transcript.session_id),
        )

    async def _offered_tools(self, session_id: str) -> OfferedTools:
        return await self.toolset.offered_tools(await self._toggles(session_id))

    async def _toggles(self, session_id: str) -> SessionToolToggles:
        """Return the toggles of a session; those made before it existed are stored now."""
        return await asyncio.get_running_loop().run_in_executor(
            self._worker, self._session_toggles.load, self.store, session_id
        )

    async def _last(self, events: AsyncGenerator[TurnEvent, None]) -> TurnDone:
        async with aclosing(events):  # here, before the loop may be stopped
            async for event in events:
                if isinstance(event, TurnDone):
                    return event
        return TurnDone(Message("assistant", ""))


def _titling(titles: str | Engine | TitleSettings, keys: KeyChain | None) -> TitleSettings:
    if isinstance(titles, TitleSettings):
        return titles
    if titles == CURRENT:
        return TitleSettings()
    if titles == RECALL:
        raise UsageError(
            "recall is not a language model and cannot write titles; choose another model"
        )
    return TitleSettings(lambda: open_model(titles, keys=keys))
