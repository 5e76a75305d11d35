"""The state of one chat: its setup, the current session, and a cached summary of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from omniagent_cli.agent.context.context_use import ContextUse, context_use
from omniagent_cli.agent.context.window import Window
from omniagent_cli.agent.events import Engine
from omniagent_cli.agent.last_turn import OwnTurn
from omniagent_cli.config.resolution import resolve_window
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.models import Content, Message, new_session_id
from omniagent_cli.repl.background_sync import BackgroundSync
from omniagent_cli.repl.first_use import FirstUse
from omniagent_cli.repl.session_watcher import ExternalChanges, SessionWatcher
from omniagent_cli.text.sanitize import one_line, visible
from omniagent_cli.ui.cells import wrap_cells, wrap_prose
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
    from omniagent_cli.config.settings import Settings
    from omniagent_cli.stores.store import SessionStore
    from omniagent_cli.stores.sync.driver import SyncReport
    from omniagent_cli.ui.terminal import Terminal

P = ParamSpec("P")
T = TypeVar("T")

Ask = Callable[[str, str], Awaitable[str | None]]
"""Asks the user for a line, given a question and a default text; returns None when they leave."""


@dataclass(frozen=True, slots=True)
class ChatSetup:
    """The setup of a chat.

    Attributes:
        store: the store of the session; a memory store for an ephemeral chat. The caller closes it.
        open_agent: builds the agent, once, in a thread while the prompt is already on the screen, because choosing
            a model may probe local servers. It receives a function that prints a line. The loop closes the agent.
        open_engine: opens a model named by the user, for ``/model`` and ``/retry -m``.
        session_id: the session to resume or create; None creates one with a generated id.
        ephemeral: nothing is kept on disk.
        remember: called with the id of a session once it has been used and is not empty.
        history_file: the file for typed lines; None keeps them in memory.
        models: model names known without a request, for completion.
        first_use: returns the question to ask before an engine is first used, or None.
        attached: attachments of the first message.
        yes_tools: tools and skills, or ``all``, that the command line allows to write and destroy.
        sync: synchronizes the store with another one, given as on the command line; with ``batch=True`` it asks
            nothing. None if nothing is kept.
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
    sync: Callable[..., SyncReport] | None = None


class ChatExit(Exception):
    """Raised when the user leaves the chat."""


@dataclass(frozen=True, slots=True)
class Removed:
    """The removal of the last command, for ``/undo``.

    Attributes:
        elsewhere: it was removed from a session other than the current one.
    """

    session_id: str
    kind: str
    count: int
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class ResumedTurn:
    """An existing turn to resume.

    Attributes:
        turn_id: the turn; None for that of the last question.
        tail: the end of its partial answer, shown again above the continuation.
    """

    turn_id: str | None
    tail: str = ""


class TakeTurn(Protocol):
    """Runs a turn and prints the answer."""

    async def __call__(
        self, content: Content, engine: Engine | None = None, *, resumed: ResumedTurn | None = None
    ) -> None:
        """Run a turn, with another engine for this turn if given; `resumed` continues an existing turn."""
        ...


class Chat:
    """A running chat; slash commands operate on it.

    Attributes:
        session_id: the current session, which may not exist yet.
        previous_id: the session before it, for ``/switch -``.
        agent: the agent; None until it is built.
        opening: a future that resolves to the agent.
        turn: runs a turn and prints the answer.
        title: the title of the session when it was last refreshed.
        message_count: its number of messages, likewise.
        context: its context use, likewise.
        multiline: Enter inserts a line break instead of sending.
        removed: what the last command removed.
        undone: entries of the trash that ``/redo`` restores, the last one last; until the next turn.
        attached: attachments of the next message.
    """

    def __init__(self, setup: ChatSetup, *, ask: Ask) -> None:
        self.setup = setup
        self.store = setup.store
        self.terminal = setup.terminal
        self.settings = setup.settings
        self.sync = BackgroundSync(setup.sync, setup.settings.sync.auto, setup.terminal)
        self.session_id = setup.session_id or new_session_id(utc_now())
        self.previous_id: str | None = None
        self.agent: Agent | None = None
        self.title = ""
        self.message_count = 0
        self.context: ContextUse | None = None
        self.multiline = False
        self.removed: Removed | None = None
        self.undone: list[str] = []
        self.attached: list[Attachment] = list(setup.attached)
        self.opening: asyncio.Future[Agent] = asyncio.get_running_loop().create_future()
        self.turn: TakeTurn = _no_turn
        self._ask = ask
        self._watch = SessionWatcher(setup.store)

    # The model.

    @property
    def model(self) -> str:
        """The name of the model; empty until it is chosen."""
        return self.agent.engine.name if self.agent else ""

    async def ready_agent(self) -> Agent:
        """Return the agent, waiting until it is built."""
        return await asyncio.shield(self.opening)

    async def use_engine(self, engine: Engine) -> None:
        """Use another model from now on."""
        agent = await self.ready_agent()
        before, agent.engine = agent.engine, engine
        await before.aclose()

    async def with_model(self, name: str, work: Callable[[Engine | None], Awaitable[None]]) -> None:
        """Call `work` with an engine opened for a model name, or with None for the chat's own model."""
        engine = await self.call(self.setup.open_engine, name) if name else None
        try:
            await work(engine)
        finally:
            if engine is not None:
                await engine.aclose()

    async def follow_model(self) -> None:
        """Switch to the model pinned to the session, if any."""
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
            self.terminal.warn(f"{error}; still using {name}. Choose another with /model")

    async def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the store in a thread, so that a slow store never delays Ctrl-C."""
        return await asyncio.to_thread(work, *args, **kwargs)

    async def ask(self, question: str, default: str = "") -> str | None:
        """Ask the user for a line; return None when they leave."""
        return await self._ask(question, default)

    async def confirm(self, question: str) -> bool:
        """Ask yes or no; Enter or leaving means no."""
        answer = await self.ask(f"{question} [y/N] ")
        return (answer or "").strip().lower() in ("y", "yes")

    # The session.

    async def enter(self, session_id: str) -> None:
        """Switch to a session, which may not exist yet."""
        if session_id != self.session_id:
            self.previous_id, self.session_id = self.session_id, session_id
        await self.look()
        if self.message_count:
            self.setup.remember(session_id)

    async def look(self) -> None:
        """Mark the current content of the session as seen and watch it for changes."""
        self._watch.stop()
        await self.refresh()
        await self.call(self._watch.start, self.session_id)

    async def refresh(self) -> None:
        """Update the cached summary that the toolbar shows, and let `sync.auto` know of changes."""
        self.sync.start()
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
        return resolve_window(self.settings)

    @property
    def own_turns(self) -> Sequence[OwnTurn]:
        """The turns started in this chat, in order."""
        return self._watch.own_turns

    async def show_external_changes(self) -> None:
        """Print what other programs changed in the session since it was last checked."""
        self.sync.report()
        news = await self.call(self._watch.news)
        if news.renamed:
            self.session_id = news.renamed
            self.setup.remember(news.renamed)
            self.terminal.note(f"Another program renamed this session to {quoted(news.renamed)}")
        elif news.rolled:
            self.terminal.note(
                f"Another program rolled over {quoted(self.session_id)}; the earlier messages are in {quoted(news.rolled)}"
            )
        elif news.gone:
            self.message_count = 0
            self.terminal.warn(
                f"{quoted(self.session_id)} was deleted by another program, or has expired; "
                "your next message creates it again"
            )
        elif news.recreated:
            self.terminal.warn(
                f"{quoted(self.session_id)} was deleted and created again by another program; now in the new session"
            )
        self._show_added(news)

    def _show_added(self, news: ExternalChanges) -> None:
        if news.added:
            count = len(news.added) + news.left_out
            what = f"New messages from another program ({count:,})"
            if news.left_out:
                what += f", the last {len(news.added)} of them"
            self.terminal.note(f"{what}:")
        for message in news.added:
            self.show(message)
            if message.id in news.growing:
                self.terminal.note(
                    "This answer may still be incomplete; the rest is shown when it is complete"
                )
        if news.finished:
            self.terminal.note("Completed by another program:")
        for message in news.finished:
            self.show(message)

    def show(self, message: Message) -> None:
        """Print one message."""
        terminal = self.terminal
        spoken = self.settings.chat.screen_reader
        who = spoken_heading(message) if spoken else heading(message, utc_now())
        for row in wrap_cells(who, terminal.prose_width):
            terminal.line(terminal.style(row, ROLE_STYLES[message.role]))
        terminal.line(self.painted(terminal_body(message), message.role))
        terminal.line()

    def show_summary(self, summary: Summary) -> None:
        """Print the summary that is sent in place of the messages before it."""
        terminal = self.terminal
        terminal.line(terminal.style(summary_heading(summary, utc_now()), SUMMARY_STYLE))
        terminal.line(self.painted(visible(summary.text), "assistant"))
        terminal.line()

    def painted(self, text: str, role: str) -> str:
        """Return the text of a message, already sanitized, as this terminal displays it."""
        plain = self.settings.chat.screen_reader or self.terminal.is_dumb
        if role == "assistant" and self.terminal.is_terminal and not plain:
            return self.terminal.markdown(text)
        return wrap_prose(text, self.terminal.prose_width) if self.terminal.is_terminal else text

    def took(self, removed: Removed) -> None:
        """Record and print what a command removed, and how to undo it."""
        self.removed = removed if removed.count or removed.kind == "deleted" else None
        what = counted(removed.count, "message")
        if removed.kind == "deleted":
            what = f"{quoted(removed.session_id)} with {what}"
        undo = ""
        if self.removed:
            undo = "; /undo restores it"
            if not self.settings.sessions.trash_ttl and not self.setup.ephemeral:
                self.removed, undo = (
                    None,
                    "; this cannot be undone, because sessions.trash_ttl is 0",
                )
        self.terminal.note(f"{what} {removed.kind}{undo}")

    async def aclose(self) -> None:
        """Stop listening to events of the store, and end the last synchronization."""
        self._watch.close()
        await self.sync.finish()


async def _no_turn(
    content: Content, engine: Engine | None = None, *, resumed: ResumedTurn | None = None
) -> None:
    """Placeholder for the loop's turn."""
    raise AssertionError("this chat has no loop")
