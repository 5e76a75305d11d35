"""What `ask` and `chat` have in common: their options, where a conversation is kept, and one turn of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from omniagent_cli.cli.framework import exits, session_ids
from omniagent_cli.cli.framework.context import Context
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import (
    AgentError,
    ModelError,
    SessionExpired,
    SessionNotFound,
    UsageError,
)
from omniagent_cli.models import Content, new_session_id

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.stores import SessionStore
    from omniagent_cli.ui.terminal import Terminal
    from omniagent_cli.ui.turn_player import TurnResult

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
    typer.Option(
        "--attach", "-a", metavar="FILE", help="a text, picture or PDF to go with the question"
    ),
]
EphemeralOption = Annotated[bool, typer.Option("--ephemeral", help="keep nothing")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="only models on this machine")]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation is kept; without a store, nowhere."""

    store: SessionStore | None
    session_id: str | None


def place_of(
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
        return Place(store, session_ids.resolve_for_creation(context, session))
    return Place(store, _last_used(context) if go_on else new_session_id(utc_now()))


def check_options(session: str | None, *, go_on: bool, ephemeral: bool) -> None:
    """Refuse options that contradict each other."""
    if session is not None and go_on:
        raise UsageError("--session and --continue both name a session; give one of them")
    if ephemeral and (session is not None or go_on):
        raise UsageError("--ephemeral keeps nothing, so it goes with no session; leave one out")


def _last_used(context: Context) -> str:
    if context.last_used.get() is None:
        raise SessionNotFound(
            f"there is nothing to go on with: no session of {context.store_choice.shown} was used here yet; "
            "leave out --continue to begin one, or name one with --session"
        )
    try:
        return session_ids.resolve_for_change(context, session_ids.LAST_USED)
    except SessionExpired:
        return session_ids.resolve_for_creation(
            context, session_ids.LAST_USED
        )  # begun afresh by its first write, which says so


def remember(context: Context, place: Place, result: TurnResult) -> None:
    """Note which session was used last, when there is something in it and it outlives this process."""
    session_id = kept_in(place, result)
    if place.store is None or place.store.url == "memory:" or not place.store.exists(session_id):
        return
    context.last_used.remember(session_id)
    context.terminal.detail(f"kept in the session {session_id}")


def kept_in(place: Place, result: TurnResult) -> str:
    """Return the id of the session a turn ended up in."""
    return (result.done.session_id if result.done else "") or place.session_id or ""


# One turn.


async def one_turn(
    context: Context,
    agent: Agent,
    question: Content,
    place: Place,
    *,
    whole: bool = False,
    silent: bool = False,
) -> TurnResult:
    """Ask, and show the answer as it comes, or when it is whole, or leave that to the caller."""
    from omniagent_cli.ui.stream import StreamView
    from omniagent_cli.ui.turn_player import play_turn

    events = agent.stream(question, place.session_id)
    answer: Literal["stream", "whole", "none"] = "whole" if whole else "stream"
    look = context.settings.chat
    view = StreamView(
        context.terminal,
        thinking=look.thinking,
        spoken=look.screen_reader,
        answer="none" if context.json or silent else answer,
    )
    with _undisturbed(context.terminal, view.paused):
        return await play_turn(events, view)


@contextmanager
def _undisturbed(
    terminal: Terminal, aside: Callable[[], AbstractContextManager[None]]
) -> Iterator[None]:
    """Keep keys that are typed into an answer off the screen; they are for the shell."""
    if not (terminal.is_terminal and terminal.reads_terminal and _in_foreground(terminal.stdin)):
        yield
        return
    from omniagent_cli.repl.echo_guard import EchoGuard

    with EchoGuard(terminal.stdin) as quiet, quiet.suspendable(aside):
        yield


def _in_foreground(stdin: TextIO) -> bool:
    """Tell whether the keyboard is ours; a job in the background is stopped when it touches it."""
    try:
        return os.tcgetpgrp(stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


def told(context: Context, result: TurnResult, place: Place, model: str) -> int:
    """Print what a streaming view did not, and return the exit code."""
    if context.json:
        context.terminal.json(document(context, result, place, model))
    if result.error is not None:
        raise _with_way_out(result.error, place)
    return _code(result)


def _with_way_out(error: AgentError, place: Place) -> AgentError:
    """Return a failure with how to ask again, when the question is kept in a session."""
    if place.store is None or not isinstance(error, ModelError):
        return error
    return error.with_hint("the question is saved: repeat it with -c, or with -c -m MODEL")


def document(context: Context, result: TurnResult, place: Place, model: str) -> dict[str, Any]:
    """Return what became of a turn, as ``--json`` prints it; ``cost`` is there when the model has a price."""
    from omniagent_cli.ui.usage import model_cost

    done = result.done
    spent = model_cost(done.usage, model, context.settings.prices) if done else None
    return {
        "answer": result.text,
        "session": kept_in(place, result) or None,
        "model": model,
        "usage": dict(done.usage) if done else {},
        **({} if spent is None else {"cost": spent}),
        "status": result.status,
    }


def _code(result: TurnResult) -> int:
    if result.signal is not None and result.signal != signal.SIGINT:
        raise exits.Terminated
    return exits.INTERRUPTED if result.signal is not None else exits.DONE
