"""The agent: a model, a store, tools, and the ways to ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Self

from omniagent_cli.agent.context.compaction import Compaction, CompactionResult, Progress
from omniagent_cli.agent.context.rollover import Rollover
from omniagent_cli.agent.context.titles import CURRENT, TitleGenerator, TitleSettings
from omniagent_cli.agent.context.window import Window
from omniagent_cli.agent.events import Engine, ModelSettings, TurnDone, TurnEvent
from omniagent_cli.agent.loop_thread import LoopThread
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
    """Takes questions to answers, with or without a session.

    Args:
        model: ``provider:name``, the name alone where one provider has it, ``recall``, an `Engine`, or None to choose: a provider whose key is set, a local
            server that answers, else `recall`.
        store: where sessions live; without one only stateless questions can be asked.
        system_prompt: sent first, never stored.
        tools: what the model may call.
        skills: more of it, in groups that are set up before the first turn that offers tools and closed with the
            agent; a function that returns them is called then.
        toggles: which tools and skills are offered; all unless told. A session may have switches of its own,
            see `toggle_tool`.
        approve: asked before a tool that writes or destroys; None refuses them.
        settings: how to ask the model.
        window: how much of a session is sent.
        max_tool_rounds: how often in one turn the model may call tools.
        rollover: when a session begins anew, and what was said becomes a session of its own; None: never.
        titles: the model that names sessions, in the background after their first answer: a name, an `Engine`, or
            ``current`` for the one that answers. Each title is one more request. None: their first words do.
        agent_id: recorded in the sessions this agent makes.
        base_url: another address for the model's provider.
        api: ``responses`` or ``chat``, the protocol to try first; None decides by the address.
        keys: where providers' keys are; their environment variables and the keyring unless told.
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

    # Asking, asynchronously.

    async def stream(
        self, content: Content, session_id: str | None = None, *, engine: Engine | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Ask and yield what happens, ending with `TurnDone`; closing or cancelling it keeps what came.

        Args:
            content: the question: text or content parts.
            session_id: the session to go on with, made when there is none; None asks stateless.
            engine: another model for this turn.

        Raises:
            ModelError: the model did not answer; the question, and what came, are stored.
        """
        turn = self._turn(self._transcript(session_id), session_id, engine)
        async with aclosing(turn.run(content)) as events:
            async for event in events:
                if isinstance(event, TurnDone) and event.session_id and self._titles is not None:
                    self._titles.start(event.session_id, turn.engine)
                yield event

    async def continue_turn(
        self, session_id: str, turn_id: str | None = None, *, engine: Engine | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Go on with a turn that stopped early, and yield what happens, as `stream` does.

        An answer that was interrupted, failed or was cut at the token limit grows on as the one message it is, with
        ``extra["continued"]`` telling where; text events are what is new, `TurnDone` has the whole. A turn that
        stopped among its tools is taken from there to its answer, and a question without one is answered. Make sure
        that no other program is still at it.

        Args:
            session_id: the session.
            turn_id: the turn; None takes that of the last question.
            engine: another model for this turn.

        Raises:
            UsageError: there is nothing to go on with, or `recall` would have to, which only answers whole.
            ModelError: the model did not answer; what was there before, and what came, are stored.
        """
        transcript = self._session_transcript(check_session_id(session_id))
        turn = self._turn(transcript, session_id, engine)
        turn.partial = await transcript.resume(turn_id)
        if turn.partial is not None and isinstance(turn.engine, Recall):
            raise UsageError("recall cannot go on with an answer; choose a model, or ask again")
        async with aclosing(turn.run(None)) as events:
            async for event in events:
                yield event

    async def aprocess(self, content: Content) -> str:
        """Ask without a session and return the answer."""
        return (await self._last(self.stream(content))).message.text

    async def aprocess_with_session(self, session_id: str, content: Content) -> str:
        """Ask in a session and return the answer."""
        return (await self._last(self.stream(content, check_session_id(session_id)))).message.text

    # Tools.

    async def tool_statuses(
        self, session_id: str | None = None
    ) -> tuple[list[ToolStatus], list[str]]:
        """Return every tool there is, on or off in a session, and what went wrong when the skills were set up."""
        return await self.toolset.tool_statuses(await self._toggles(session_id or ""))

    async def toggle_tool(self, session_id: str, name: str, *, on: bool) -> None:
        """Switch a tool, or a whole skill, on or off in one session, from its next turn on.

        It is kept in the session's state (``tools``), so it holds when the session is gone on with. Without a session
        of that id yet, it is written down with its first message.

        Raises:
            UsageError: there is none of that name, or it is off for every session.
        """
        known, _ = await self.tool_statuses(session_id)
        toggles = (await self._toggles(session_id)).with_toggle(
            name, resolve_toggle(known, name, on=on), on=on
        )
        await asyncio.get_running_loop().run_in_executor(
            self._worker, self._session_toggles.save, self.store, session_id, toggles
        )

    # Summing up.

    async def acompact(
        self,
        session_id: str,
        instructions: str = "",
        *,
        engine: Engine | None = None,
        progress: Progress | None = None,
    ) -> CompactionResult:
        """Let the model sum up all but the newest turns of a session; from now on the summary is sent instead of them.

        Nothing stored is lost. When it fails, or is cancelled, everything is as it was.

        Args:
            session_id: the session.
            instructions: what the summary should keep in particular.
            engine: another model for it.
            progress: told how many messages are summed up, of how many.

        Raises:
            SessionNotFound: there is no such session.
            UsageError: there is nothing to sum up yet, or the model is `recall`, which is none.
            ModelError: the model gave no summary.
        """
        compaction = self._compaction(check_session_id(session_id))
        asked = engine or self.engine
        return await compaction.run(
            session_id, asked, self.window, instructions=instructions, progress=progress
        )

    def compact(self, session_id: str, instructions: str = "") -> CompactionResult:
        """Sum up the older part of a session, from a plain function; see `acompact`."""
        return self._loop_thread.run(self.acompact(session_id, instructions))

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this agent was closed; make another")

    def _compaction(self, session_id: str) -> Compaction:
        self._check_open()
        if self.store is None:
            raise UsageError(f"this agent has no store, so it has no session {session_id!r}")
        if self._compacting is None:
            self._compacting = Compaction(self.store, self._worker, self.settings)
        return self._compacting

    async def _prepare(self, session_id: str, engine: Engine) -> AsyncGenerator[TurnEvent, None]:
        """Do what is due before the model is asked in a session."""
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

    # Asking from plain functions.

    def process(self, content: Content) -> str:
        """Ask without a session and return the answer: no session is read or written."""
        return self._loop_thread.run(self.aprocess(content))

    def process_with_session(self, session_id: str, content: Content) -> str:
        """Ask in a session and return the answer.

        The question is on disk before the model is asked; every message of the turn is stored as it happens.

        Raises:
            ModelError: the model did not answer; asking the same again does not store the question twice.
            UsageError: the agent has no store.
        """
        return self._loop_thread.run(self.aprocess_with_session(session_id, content))

    def stream_sync(self, content: Content, session_id: str | None = None) -> Iterator[TurnEvent]:
        """Ask and yield what happens, from a plain function; see `stream`."""
        return self._loop_thread.iterate(self.stream(content, session_id))

    def close(self) -> None:
        """Let go of connections, skills and threads; the store stays open, it is the caller's."""
        self._closed = True
        if self._titles is not None:
            self._loop_thread.run(self._titles.aclose())
        self._loop_thread.run(self.engine.aclose())
        self._loop_thread.close()
        self.toolset.close()
        self._worker.shutdown()

    async def aclose(self) -> None:
        """Do the same as `close` from an asynchronous function, and end the connections where they were made."""
        if self._titles is not None:
            await self._titles.aclose()
        await self.engine.aclose()
        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # How.

    def _transcript(self, session_id: str | None) -> Transcript:
        if session_id is None:
            return EphemeralTranscript()
        return self._session_transcript(check_session_id(session_id))

    def _session_transcript(self, session_id: str) -> SessionTranscript:
        if self.store is None:
            raise UsageError("this agent has no store; give it one: Agent(store=open_store(...))")
        return SessionTranscript(
            self.store,
            session_id,
            self._worker,
            agent_id=self.agent_id,
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
        """Return what a turn may use; nothing is set up for an engine that uses no tools."""
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
        """Return what was switched in a session, and write down what was switched before there was one."""
        return await asyncio.get_running_loop().run_in_executor(
            self._worker, self._session_toggles.load, self.store, session_id
        )

    async def _last(self, events: AsyncIterator[TurnEvent]) -> TurnDone:
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
        raise UsageError("recall is no language model and names nothing; choose another for titles")
    return TitleSettings(lambda: open_model(titles, keys=keys))


def open_model(
    model: str | Engine | None,
    *,
    base_url: str | None = None,
    api: str | None = None,
    keys: KeyChain | None = None,
) -> Engine:
    """Return the engine for a model's name; None chooses one.

    Raises:
        UsageError: unknown provider, or a name alone that no known model has, or several.
    """
    if model is not None and not isinstance(model, str):
        return model
    send_key, named = True, model is not None
    if model is None:
        from omniagent_cli.agent.models.discovery import choose_model

        choice = choose_model(keys=keys, base_url=base_url)
        model, base_url, send_key = choice.model, choice.base_url or None, choice.send_key
    if model == RECALL:
        return Recall(named=named, keys=keys)
    from omniagent_cli.agent.models.engine_factory import open_engine
    from omniagent_cli.agent.models.known_models import qualified

    model = qualified(model, base_url=base_url)

    return open_engine(model, base_url=base_url, api=api, keys=keys, send_key=send_key)
