"""One chat at the terminal: what it was started with, which session it is in, and what it knows about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from omniagent_cli.agent.context.window import Window
from omniagent_cli.agent.events import Engine
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.models import Content, Message, new_session_id
from omniagent_cli.repl.context_use import ContextUse, context_use
from omniagent_cli.repl.first_use import FirstUse
from omniagent_cli.repl.last_turn import Asked
from omniagent_cli.repl.session_watcher import News, Watch
from omniagent_cli.text.sanitize import one_line, visible
from omniagent_cli.ui.cells import wrap_cells
from omniagent_cli.ui.transcript import (
    ROLE_STYLES,
    SUMMARY_STYLE,
    heading,
    spoken_heading,
    summary_heading,
    terminal_body,
)
from omniagent_cli.ui.views import counted, quoted

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.agent.context.attachments import Attachment
    from omniagent_cli.agent.context.summary import Summary
    from omniagent_cli.config import Settings
    from omniagent_cli.stores.store import SessionStore
    from omniagent_cli.ui.terminal import Terminal

P = ParamSpec("P")
T = TypeVar("T")

Ask = Callable[[str, str], Awaitable[str | None]]
"""Asks the person for a line: the question, and what stands there already; None when they leave."""


@dataclass(frozen=True, slots=True)
class ChatSetup:
    """What a chat is started with.

    Attributes:
        store: where the session lives; a memory store for an ephemeral chat. It stays open, it is the caller's.
        open_agent: makes the agent, once, in a thread while the prompt is on the screen already, because choosing
            a model may ask local servers. It is handed a function that tells the person a line. The loop closes it.
        open_engine: opens a model that a person named, for ``/model`` and ``/retry -m``.
        session_id: the session to go on with or to begin; None begins one of an id of its own.
        ephemeral: nothing of it is kept on disk.
        remember: called with the id of a session once it was used and there is something in it.
        history_file: where the typed lines are remembered; None remembers them while it runs.
        models: names of models known without asking anybody, for completion.
        first_use: what the person is to be asked before an engine is, if anything.
        attached: files that go with the first turn.
        yes_tools: tools and skills, or ``all``, that the command line lets write and destroy unasked.
    """

    store: SessionStore
    terminal: Terminal
    settings: Settings
    open_agent: Callable[[Callable[[str], None]], Agent]
    open_engine: Callable[[str], Engine]
    session_id: str | None = None
    ephemeral: bool = False
    remember: Callable[[str], None] = lambda _: None
    history_file: Path | None = None
    models: Sequence[str] = ()
    first_use: Callable[[Engine], FirstUse | None] = lambda _: None
    attached: Sequence[Attachment] = ()
    yes_tools: frozenset[str] = frozenset()


class Left(Exception):
    """The person leaves the chat."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What the last command took away, so that ``/undo`` brings it back first.

    Attributes:
        elsewhere: the chat was, and stays, in another session.
    """

    session_id: str
    kind: str
    count: int
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class GoingOn:
    """A turn that is gone on with instead of begun.

    Attributes:
        turn_id: the turn; None: that of the last question.
        tail: how its answer ends so far, shown again above what comes.
    """

    turn_id: str | None
    tail: str = ""


class TakeTurn(Protocol):
    """Asks the agent and shows the answer."""

    async def __call__(
        self, content: Content, engine: Engine | None = None, *, going_on: GoingOn | None = None
    ) -> None:
        """Take a turn; with an engine another model answers this once, with `going_on` nothing new is asked."""
        ...


class Chat:
    """The running chat; slash commands work on it.

    Attributes:
        session_id: the session, which need not be there yet.
        previous_id: the one before it, for ``/switch -``.
        agent: who answers; None while it is being made.
        opening: done with the agent once it is made.
        turn: asks the agent and shows the answer.
        title: the session's, as last looked at.
        message_count: the same.
        context: how much of what may be sent is; the same.
        multiline: Enter begins a line instead of sending.
        removed: what the last command took away.
        attached: files that go with what is said next.
    """

    def __init__(self, setup: ChatSetup, *, ask: Ask) -> None:
        self.setup = setup
        self.store = setup.store
        self.terminal = setup.terminal
        self.settings = setup.settings
        self.session_id = setup.session_id or new_session_id(utc_now())
        self.previous_id: str | None = None
        self.agent: Agent | None = None
        self.title = ""
        self.message_count = 0
        self.context: ContextUse | None = None
        self.multiline = False
        self.removed: Removed | None = None
        self.attached: list[Attachment] = list(setup.attached)
        self.opening: asyncio.Future[Agent] = asyncio.get_running_loop().create_future()
        self.turn: TakeTurn = _no_turn
        self._ask = ask
        self._watch = Watch(setup.store)

    # Who answers.

    @property
    def model(self) -> str:
        """The name of the model that answers; empty while it is being chosen."""
        return self.agent.engine.name if self.agent else ""

    async def ready_agent(self) -> Agent:
        """Return the agent, waiting while it is being made."""
        return await asyncio.shield(self.opening)

    async def use_engine(self, engine: Engine) -> None:
        """Let another model answer from now on."""
        agent = await self.ready_agent()
        before, agent.engine = agent.engine, engine
        await before.aclose()

    async def with_model(self, name: str, work: Callable[[Engine | None], Awaitable[None]]) -> None:
        """Do something with a model that a person named for this once; without a name, with the chat's own."""
        engine = await self.call(self.setup.open_engine, name) if name else None
        try:
            await work(engine)
        finally:
            if engine is not None:
                await engine.aclose()

    async def follow_model(self) -> None:
        """Let the model answer that answered in this session before."""
        try:
            pinned = (await self.call(self.store.header, self.session_id)).model
        except SessionNotFound:
            return
        agent = await self.ready_agent()
        if not pinned or pinned == agent.engine.name:
            return
        try:
            await self.use_engine(await self.call(self.setup.open_engine, pinned))
        except UsageError as error:
            name = one_line(agent.engine.name)
            self.terminal.warn(f"{error}; {name} goes on answering, /model chooses another")

    async def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the store in a thread, so that a slow one never delays Ctrl-C."""
        return await asyncio.to_thread(work, *args, **kwargs)

    async def ask(self, question: str, default: str = "") -> str | None:
        """Ask the person for a line; None when they leave."""
        return await self._ask(question, default)

    async def confirm(self, question: str) -> bool:
        """Ask yes or no; no is the answer when they just press Enter or leave."""
        answer = await self.ask(f"{question} [y/N] ")
        return (answer or "").strip().lower() in ("y", "yes")

    # The session.

    async def enter(self, session_id: str) -> None:
        """Go on with a session, or with an id that has none yet."""
        if session_id != self.session_id:
            self.previous_id, self.session_id = self.session_id, session_id
        await self.look()
        if self.message_count:
            self.setup.remember(session_id)

    async def look(self) -> None:
        """Take the session as it is now for seen."""
        self._watch.stop()
        await self.refresh()
        await self.call(self._watch.start, self.session_id)

    async def refresh(self) -> None:
        """Learn what the toolbar shows."""
        try:
            summary = await self.call(self.store.summary, self.session_id)
        except SessionNotFound:
            self.title, self.message_count = "", 0
        else:
            self.title, self.message_count = summary.title, summary.message_count
        self.context = await self.call(context_use, self.store, self.session_id, self.window)

    @property
    def window(self) -> Window:
        """The window of the agent, or the configured one until there is an agent."""
        if self.agent is not None:
            return self.agent.window
        configured = self.settings.window
        return Window(configured.max_messages, configured.max_tokens)

    @property
    def own_turns(self) -> Sequence[Asked]:
        """The turns that were begun in this chat, in order."""
        return self._watch.own_turns

    async def show_news(self) -> None:
        """Show what others have done to the session since it was looked at last."""
        news = await self.call(self._watch.news)
        if news.renamed:
            self.session_id = news.renamed
            self.setup.remember(news.renamed)
            self.terminal.note(
                f"another program renamed this session; it is {quoted(news.renamed)} now"
            )
        elif news.rolled:
            self.terminal.note(
                f"another program has begun {quoted(self.session_id)} anew; what was said before is in {quoted(news.rolled)}"
            )
        elif news.gone:
            self.message_count = 0
            self.terminal.warn(
                f"{quoted(self.session_id)} was deleted by another program, or has expired; "
                "what you say next begins it anew"
            )
        elif news.anew:
            self.terminal.warn(
                f"{quoted(self.session_id)} was deleted by another program and begun anew; this is the new one"
            )
        self._show_added(news)

    def _show_added(self, news: News) -> None:
        if news.added:
            count = len(news.added) + news.left_out
            what = f"written to this session meanwhile by another program ({count:,})"
            if news.left_out:
                what += f", the last {len(news.added)} of them"
            self.terminal.note(f"{what}:")
        for message in news.added:
            self.show(message)
            if message.id in news.growing:
                self.terminal.note(
                    "it may be being written still; its end is shown once it is there"
                )
        if news.finished:
            self.terminal.note("finished meanwhile by another program:")
        for message in news.finished:
            self.show(message)

    def show(self, message: Message) -> None:
        """Show one message as it stands in the session."""
        terminal = self.terminal
        spoken = self.settings.chat.screen_reader
        who = spoken_heading(message) if spoken else heading(message, utc_now())
        for row in wrap_cells(who, terminal.width):
            terminal.line(terminal.style(row, ROLE_STYLES[message.role]))
        terminal.line(self.painted(terminal_body(message), message.role))
        terminal.line()

    def show_summary(self, summary: Summary) -> None:
        """Show the summary that is sent instead of the messages up to here."""
        terminal = self.terminal
        terminal.line(terminal.style(summary_heading(summary, utc_now()), SUMMARY_STYLE))
        terminal.line(self.painted(visible(summary.text), "assistant"))
        terminal.line()

    def painted(self, text: str, role: str) -> str:
        """Return harmless text of a message as this terminal shows it."""
        plain = self.settings.chat.screen_reader or self.terminal.is_dumb
        if role == "assistant" and self.terminal.is_terminal and not plain:
            return self.terminal.markdown(text)
        return text

    def took(self, removed: Removed) -> None:
        """Say what a command took away and how it comes back."""
        self.removed = removed if removed.count or removed.kind == "deleted" else None
        what = counted(removed.count, "message")
        if removed.kind == "deleted":
            what = f"{quoted(removed.session_id)} with {what}"
        done = "taken back" if removed.kind == "undone" else removed.kind
        undo = ""
        if self.removed:
            undo = "; /undo brings back what went"
            if not self.settings.sessions.trash_ttl and not self.setup.ephemeral:
                self.removed, undo = None, "; for good, as sessions.trash_ttl is 0"
        self.terminal.note(f"{what} {done}{undo}")

    def close(self) -> None:
        """Stop listening to the store."""
        self._watch.close()


async def _no_turn(
    content: Content, engine: Engine | None = None, *, going_on: GoingOn | None = None
) -> None:
    """Stand for the loop's turn until there is a loop."""
    raise AssertionError("no loop takes turns for this chat")
