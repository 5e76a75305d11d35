"""`omniagent ask` and `omniagent chat`: a question, an answer, and where both are kept."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from omniagent_cli.cli import exits, ids
from omniagent_cli.cli.answering import Answering, Wishes
from omniagent_cli.cli.context import Context, running
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import OmniAgentError, SessionExpired, SessionNotFound, UsageError
from omniagent_cli.models import new_session_id
from omniagent_cli.ui.terminal import OutputFailed

if TYPE_CHECKING:
    from omniagent_cli.agent.loop import Agent
    from omniagent_cli.stores import SessionStore
    from omniagent_cli.ui.terminal import Terminal
    from omniagent_cli.ui.turns import Played

SessionOption = Annotated[
    str | None,
    typer.Option("--session", "-s", metavar="ID", help="go on with this session, or begin it"),
]
ContinueOption = Annotated[
    bool, typer.Option("--continue", "-c", help="go on with the session used last")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="MODEL", help="who answers: provider:name or an alias"),
]
SystemOption = Annotated[
    str | None,
    typer.Option(metavar="TEXT|@FILE", help="what the model is told first, or a file with it"),
]
AttachOption = Annotated[
    list[str] | None,
    typer.Option("--attach", "-a", metavar="FILE", help="put a text file into the question"),
]
EphemeralOption = Annotated[bool, typer.Option("--ephemeral", help="keep nothing")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="only models on this machine")]

_LEAVING = ("exit", "quit", "q")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation is kept; without a store, nowhere."""

    store: SessionStore | None
    session_id: str | None


def ask(
    ctx: typer.Context,
    prompt: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROMPT]...", help="the question; - stands for stdin"),
    ] = None,
    *,
    session: SessionOption = None,
    go_on: ContinueOption = False,
    model: ModelOption = None,
    system: SystemOption = None,
    attach: AttachOption = None,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="print the answer when it is whole")
    ] = False,
    ephemeral: EphemeralOption = False,
    offline: OfflineOption = False,
) -> int:
    """Ask one thing and print the answer."""
    from omniagent_cli.cli.question import read_question

    context = running(ctx)
    _check_options(session, go_on=go_on, ephemeral=ephemeral)
    wishes = Wishes(model, system, offline=offline)
    answering = Answering(context.settings, wishes, tell=context.terminal.note)
    question = read_question(context.terminal, prompt or (), attach or ())
    if not question:
        raise UsageError("there is nothing to ask; write omniagent ask 'Why is the sky blue?'")
    kept = context.settings.ask.keep or session is not None or go_on
    place = _place(context, session, go_on=go_on, ephemeral=ephemeral, kept=kept)
    with answering.agent(place.store, place.session_id) as agent:
        played = asyncio.run(_asked(context, agent, question, place, whole=no_stream))
        _remember(context, place, played)
        return _told(context, played, place, agent.engine.name)


def chat(
    ctx: typer.Context,
    *,
    session: SessionOption = None,
    go_on: ContinueOption = False,
    model: ModelOption = None,
    system: SystemOption = None,
    no_tools: Annotated[bool, typer.Option("--no-tools", help="offer the model no tools")] = False,
    ephemeral: EphemeralOption = False,
    offline: OfflineOption = False,
) -> int:
    """Talk with a model. Without a terminal on stdin each line is a turn, and the answers go to stdout."""
    context = running(ctx)
    _check_options(session, go_on=go_on, ephemeral=ephemeral)
    wishes = Wishes(model, system, offline=offline, tools=not no_tools)
    answering = Answering(context.settings, wishes, tell=context.terminal.note)
    place = _place(context, session, go_on=go_on, ephemeral=ephemeral)
    with _lasting(place) as place:
        if context.terminal.reads_terminal:
            named = session is not None or go_on
            return _at_the_prompt(context, answering, place, named=named)
        return _line_by_line(context, answering, place)


# Where it is kept.


def _place(
    context: Context,
    session: str | None,
    *,
    go_on: bool,
    ephemeral: bool,
    kept: bool = True,
) -> Place:
    """Return the store and the session; what is kept nowhere opens no store.

    Raises:
        SessionNotFound: there is nothing to go on with.
    """
    if ephemeral or not kept:
        return Place(None, None)
    store = context.store_to_create
    if session is not None:
        return Place(store, ids.to_create(context, session))
    return Place(store, _last_used(context) if go_on else new_session_id(utc_now()))


def _check_options(session: str | None, *, go_on: bool, ephemeral: bool) -> None:
    if session is not None and go_on:
        raise UsageError("--session and --continue both name a session; give one of them")
    if ephemeral and (session is not None or go_on):
        raise UsageError("--ephemeral keeps nothing, so it goes with no session; leave one out")


def _last_used(context: Context) -> str:
    if context.recent.get() is None:
        raise SessionNotFound(
            f"there is nothing to go on with: no session of {context.store_choice.shown} was used here yet; "
            "leave out --continue to begin one, or name one with --session"
        )
    try:
        return ids.to_change(context, ids.RECENT)
    except SessionExpired:
        return ids.to_create(context, ids.RECENT)  # begun afresh by its first write, which says so


@contextmanager
def _lasting(place: Place) -> Iterator[Place]:
    """Give a conversation that is kept nowhere a memory while it lasts."""
    if place.store is not None:
        yield place
        return
    from omniagent_cli.stores import open_store

    with open_store("memory:") as store:
        yield Place(store, new_session_id(utc_now()))


def _remember(context: Context, place: Place, played: Played) -> None:
    """Note which session was used last, when there is something in it and it outlives this process."""
    session_id = _kept_in(place, played)
    if place.store is None or place.store.url == "memory:" or not place.store.exists(session_id):
        return
    context.recent.remember(session_id)
    context.terminal.detail(f"kept in the session {session_id}")


def _kept_in(place: Place, played: Played) -> str:
    return (played.done.session_id if played.done else "") or place.session_id or ""


# One question.


async def _asked(
    context: Context, agent: Agent, question: str, place: Place, *, whole: bool
) -> Played:
    try:
        return await _one_turn(context, agent, question, place, whole=whole)
    finally:
        await agent.engine.aclose()


async def _one_turn(
    context: Context, agent: Agent, question: str, place: Place, *, whole: bool = False
) -> Played:
    from omniagent_cli.ui.stream import StreamView
    from omniagent_cli.ui.turns import play

    events = agent.stream(question, place.session_id)
    answer: Literal["stream", "whole", "none"] = "whole" if whole else "stream"
    raw = context.settings.chat.screen_reader
    view = StreamView(context.terminal, raw=raw, answer="none" if context.json else answer)
    with _undisturbed(context.terminal):
        return await play(events, view)


@contextmanager
def _undisturbed(terminal: Terminal) -> Iterator[None]:
    """Keep keys that are typed into an answer off the screen; they are for the shell."""
    if not (terminal.is_terminal and terminal.reads_terminal and _in_foreground(terminal.stdin)):
        yield
        return
    from omniagent_cli.repl.quiet import Quiet

    with Quiet(terminal.stdin) as quiet, quiet.suspendable():
        yield


def _in_foreground(stdin: TextIO) -> bool:
    """Tell whether the keyboard is ours; a job in the background is stopped when it touches it."""
    try:
        return os.tcgetpgrp(stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


def _told(context: Context, played: Played, place: Place, model: str) -> int:
    """Print what a streaming view did not, and return the exit code."""
    if context.json:
        context.terminal.json(_document(played, place, model))
    if played.error is not None:
        raise played.error
    return _code(played)


def _document(played: Played, place: Place, model: str) -> dict[str, Any]:
    done = played.done
    return {
        "answer": played.text,
        "session": _kept_in(place, played) or None,
        "model": model,
        "usage": dict(done.usage) if done else {},
        "status": played.status,
    }


def _code(played: Played) -> int:
    if played.signal is not None and played.signal != signal.SIGINT:
        raise exits.Terminated
    return exits.INTERRUPTED if played.signal is not None else exits.DONE


# Many.


def _line_by_line(context: Context, answering: Answering, place: Place) -> int:
    """Take each line of stdin for a turn; one that fails is told, and the rest goes on."""
    worst = exits.DONE
    with (
        _interruptible(),
        asyncio.Runner() as runner,
        answering.agent(place.store, place.session_id) as agent,
    ):
        try:
            for line in _lines(context.terminal.stdin):
                if not line:
                    continue
                if line in _LEAVING:
                    break
                try:
                    played = runner.run(_one_turn(context, agent, line, place))
                    place = replace(place, session_id=_kept_in(place, played))
                    _remember(context, place, played)
                    if code := _told(context, played, place, agent.engine.name):
                        return code
                except OutputFailed:
                    raise
                except OmniAgentError as error:
                    context.terminal.error(str(error))
                    worst = max(worst, exits.exit_code_of(error))
        finally:
            runner.run(agent.engine.aclose())
    return worst


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end what runs at once. A handler of our own, because a runner's loses one that comes too late."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not the main thread: the host program decides about signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _lines(stdin: TextIO | None) -> Iterator[str]:
    """Yield what is said, without the blanks around it."""
    for line in getattr(stdin, "buffer", stdin) or ():
        text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
        yield text.strip()


def _at_the_prompt(context: Context, answering: Answering, place: Place, *, named: bool) -> int:
    """Talk to a person at the terminal."""
    from omniagent_cli.repl.chat import ChatSetup
    from omniagent_cli.repl.loop import run

    assert place.store is not None  # noqa: S101  # a lasting place has one
    store, settings = place.store, context.settings
    session_id = place.session_id if named else None

    def open_agent(tell: Callable[[str], None]) -> Agent:
        answering.tell = tell
        return answering.agent(store, session_id)

    kept = store.url != "memory:"
    setup = ChatSetup(
        store=store,
        terminal=context.terminal,
        settings=settings,
        open_agent=open_agent,
        open_engine=answering.engine_for,
        session_id=session_id,
        ephemeral=not kept,
        remember=context.recent.remember if kept else _forget,
        history_file=_history_file(context) if _keeps_history(context, store) else None,
        models=answering.known_models(),
    )
    return run(setup)


def _forget(_session_id: str) -> None:
    """Note nothing: the session ends with this process."""


def _keeps_history(context: Context, store: SessionStore) -> bool:
    """Tell whether typed lines are remembered; never in the clear what is encrypted in the store."""
    return context.settings.chat.history and store.url != "memory:" and not store.has_key


def _history_file(context: Context) -> Path:
    from omniagent_cli.config import state_dir

    return state_dir(context.environ) / "history"
