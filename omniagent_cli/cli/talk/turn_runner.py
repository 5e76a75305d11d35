"""Shared parts of `ask` and `chat`: options, the target session, and running one turn."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from omniagent_cli.cli.framework import exits, session_ids
from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.framework.here import newest_here
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
    typer.Option("--session", "-s", metavar="ID", help="continue this session, or create it"),
]
ContinueOption = Annotated[
    bool, typer.Option("--continue", "-c", help="continue the session used last")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="MODEL", help="model: provider:name or an alias"),
]
SystemOption = Annotated[
    str | None,
    typer.Option(metavar="TEXT|@FILE", help="system prompt, or a file with it"),
]
AttachOption = Annotated[
    list[str] | None,
    typer.Option("--attach", "-a", metavar="FILE", help="attach a text file, image or PDF"),
]
EphemeralOption = Annotated[bool, typer.Option("--ephemeral", help="do not save the session")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="use only models on this machine")]


@dataclass(frozen=True, slots=True)
class ConversationTarget:
    """The store and session of a turn; without a store nothing is saved."""

    store: SessionStore | None
    session_id: str | None


def conversation_target(
    context: Context,
    session: str | None,
    *,
    resume: bool,
    here: bool = False,
    ephemeral: bool,
    kept: bool = True,
) -> ConversationTarget:
    """Return the store and the session; an ephemeral turn opens no store.

    Args:
        context: the context of the command.
        session: the id given, if any.
        resume: continue the session used last.
        here: continue the newest session that began in this directory instead.
        ephemeral: store nothing.
        kept: the settings keep such turns.

    Raises:
        SessionNotFound: there is no session to continue.
    """
    if ephemeral or not kept:
        return ConversationTarget(None, None)
    store = context.store_to_create
    if session is not None:
        return ConversationTarget(store, session_ids.resolve_for_creation(context, session))
    return ConversationTarget(
        store, _resumed(context, here=here) if resume else new_session_id(utc_now())
    )


def is_ephemeral(context: Context, session: str | None, *, resume: bool, ephemeral: bool) -> bool:
    """Return True if nothing is saved, because of the option or of the setting.

    Raises:
        UsageError: the options contradict each other or the setting.
    """
    named = session is not None or resume
    if session is not None and resume:
        raise UsageError("--session and --continue cannot be combined")
    if ephemeral and named:
        raise UsageError("--ephemeral cannot be combined with --session or --continue")
    if context.settings.sessions.enabled:
        return ephemeral
    if named:
        raise UsageError(
            "sessions are disabled (sessions.enabled is false); enable them, or omit --session and --continue"
        )
    return True


def _resumed(context: Context, *, here: bool) -> str:
    if not here:
        return _last_used(context)
    newest = newest_here(context)
    if newest is None:
        raise SessionNotFound(
            f"no session began in {context.cwd}; start one without --here, or choose one with --session"
        )
    return newest


def _last_used(context: Context) -> str:
    if context.last_used.get() is None:
        raise SessionNotFound(
            f"no session to continue in {context.store_choice.shown}; "
            "omit --continue to start one, or choose one with --session"
        )
    try:
        return session_ids.resolve_for_change(context, session_ids.LAST_USED)
    except SessionExpired:
        return session_ids.resolve_for_creation(
            context, session_ids.LAST_USED
        )  # restarted by its first write, with a notice


def remember(context: Context, target: ConversationTarget, result: TurnResult) -> None:
    """Store the session as last used, unless it is empty or in memory."""
    session_id = session_of(target, result)
    if target.store is None or target.store.url == "memory:" or not target.store.exists(session_id):
        return
    context.last_used.remember(session_id)
    context.terminal.detail(f"Saved in the session {session_id}")


def session_of(target: ConversationTarget, result: TurnResult) -> str:
    """Return the id of the session of a turn, which may be a new one."""
    return (result.done.session_id if result.done else "") or target.session_id or ""


# One turn.


async def run_turn(
    context: Context,
    agent: Agent,
    question: Content,
    target: ConversationTarget,
    *,
    whole: bool = False,
    silent: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> TurnResult:
    """Run a turn; stream its answer, print it when it is complete, or leave that to the caller."""
    from omniagent_cli.ui.stream import StreamView
    from omniagent_cli.ui.turn_player import play_turn

    events = agent.stream(question, target.session_id, metadata=metadata)
    answer: Literal["stream", "whole", "none"] = "whole" if whole else "stream"
    look = context.settings.chat
    view = StreamView(
        context.terminal,
        thinking=look.thinking,
        spoken=look.screen_reader,
        answer="none" if context.json or silent else answer,
    )
    with _echo_disabled(context.terminal, view.paused):
        return await play_turn(events, view)


@contextmanager
def _echo_disabled(
    terminal: Terminal, aside: Callable[[], AbstractContextManager[None]]
) -> Iterator[None]:
    """Disable terminal echo while an answer streams; typed keys are left for the shell."""
    if not (terminal.is_terminal and terminal.reads_terminal and _is_foreground(terminal.stdin)):
        yield
        return
    from omniagent_cli.repl.echo_guard import EchoGuard

    with EchoGuard(terminal.stdin) as quiet, quiet.suspendable(aside):
        yield


def _is_foreground(stdin: TextIO) -> bool:
    """Return True in the foreground; a background job is stopped when it changes the terminal."""
    try:
        return os.tcgetpgrp(stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


def print_result(
    context: Context, result: TurnResult, target: ConversationTarget, model: str
) -> int:
    """Print the JSON document if requested, raise the error of the turn, and return the exit code."""
    if context.json:
        context.terminal.json(document(context, result, target, model))
    if result.error is not None:
        raise _with_retry_hint(result.error, target)
    return _code(result)


def _with_retry_hint(error: AgentError, target: ConversationTarget) -> AgentError:
    """Add a retry hint to an error if the prompt is saved in a session."""
    if target.store is None or not isinstance(error, ModelError):
        return error
    return error.with_hint("prompt saved; retry with -c or -c -m MODEL")


def document(
    context: Context, result: TurnResult, target: ConversationTarget, model: str
) -> dict[str, Any]:
    """Return the JSON document of a turn; ``cost`` is present if the model has a price."""
    from omniagent_cli.ui.usage import model_cost

    done = result.done
    spent = model_cost(done.usage, model, context.settings.prices) if done else None
    return {
        "answer": result.text,
        "session": session_of(target, result) or None,
        "model": model,
        "usage": dict(done.usage) if done else {},
        **({} if spent is None else {"cost": spent}),
        "status": result.status,
    }


def _code(result: TurnResult) -> int:
    if result.signal is not None and result.signal != signal.SIGINT:
        raise exits.Terminated
    return exits.INTERRUPTED if result.signal is not None else exits.DONE
