"""`omniagent chat`: a conversation, at a prompt or line by line."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

import typer

from omniagent_cli.cli.framework import exits
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.talk.agent_factory import Answering, Wishes
from omniagent_cli.cli.talk.model_options import ParametersOption, set_parameters
from omniagent_cli.cli.talk.session_picker import PickOption, picked_session
from omniagent_cli.cli.talk.tool_options import (
    NoToolsOption,
    ToolsOption,
    YesToolsOption,
    allowed_in_scripts,
    with_tools,
)
from omniagent_cli.cli.talk.turn_runner import (
    AttachOption,
    ContinueOption,
    EphemeralOption,
    ModelOption,
    OfflineOption,
    Place,
    SessionOption,
    SystemOption,
    check_options,
    kept_in,
    one_turn,
    place_of,
    remember,
    told,
)
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import new_session_id
from omniagent_cli.ui.terminal import OutputFailed

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.agent.context.attachments import Attachment
    from omniagent_cli.stores import SessionStore

_LEAVING = ("exit", "quit", "q")


def chat(
    ctx: typer.Context,
    *,
    session: SessionOption = None,
    go_on: ContinueOption = False,
    pick: PickOption = False,
    model: ModelOption = None,
    system: SystemOption = None,
    attach: AttachOption = None,
    parameters: ParametersOption = None,
    tools: ToolsOption = None,
    no_tools: NoToolsOption = False,
    yes_tools: YesToolsOption = None,
    ephemeral: EphemeralOption = False,
    offline: OfflineOption = False,
) -> int:
    """Talk with a model. Without a terminal on stdin each line is a turn, and the answers go to stdout."""
    context = current_context(ctx)
    from omniagent_cli.cli.talk.prompt_input import read_attachments

    check_options(session, go_on=go_on, ephemeral=ephemeral)
    if pick:
        session = picked_session(context, session, go_on=go_on, ephemeral=ephemeral)
    set_parameters(context, parameters)
    attached = read_attachments(attach or ())
    wishes = with_tools(Wishes(model, system, offline=offline), tools, yes_tools, none=no_tools)
    answering = Answering(context.settings, wishes, tell=context.terminal.note)
    place = place_of(context, session, go_on=go_on, ephemeral=ephemeral)
    with _lasting(place) as place:
        if context.terminal.reads_terminal:
            named = session is not None or go_on
            return _at_the_prompt(context, answering, place, attached, named=named)
        return _line_by_line(context, answering, place, attached)


@contextmanager
def _lasting(place: Place) -> Iterator[Place]:
    """Give a conversation that is kept nowhere a memory while it lasts."""
    if place.store is not None:
        yield place
        return
    from omniagent_cli.stores import open_store

    with open_store("memory:") as store:
        yield Place(store, new_session_id(utc_now()))


def _line_by_line(
    context: Context, answering: Answering, place: Place, attached: list[Attachment]
) -> int:
    """Take each line of stdin for a turn; one that fails is told, and the rest goes on.

    What is attached goes with the first of them.
    """
    from omniagent_cli.agent.context.attachments import compose

    worst = exits.DONE
    with (
        _interruptible(),
        asyncio.Runner() as runner,
        answering.agent(
            place.store,
            place.session_id,
            approve=allowed_in_scripts(context.settings, answering.wishes),
        ) as agent,
    ):
        try:
            for line in _lines(context.terminal.stdin):
                if not line:
                    continue
                if line in _LEAVING:
                    break
                try:
                    question, attached = compose(line, attached), []
                    played = runner.run(one_turn(context, agent, question, place))
                    place = replace(place, session_id=kept_in(place, played))
                    remember(context, place, played)
                    if code := told(context, played, place, agent.engine.name):
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


def _at_the_prompt(
    context: Context,
    answering: Answering,
    place: Place,
    attached: list[Attachment],
    *,
    named: bool,
) -> int:
    """Talk to a person at the terminal."""
    from omniagent_cli.repl.chat import ChatSetup
    from omniagent_cli.repl.loop import run

    assert place.store is not None  # noqa: S101  # a lasting place has one
    store, settings = place.store, context.settings
    session_id = place.session_id if named else None

    def open_agent(tell: Callable[[str], None]) -> Agent:
        answering.tell = tell
        return answering.agent(store, session_id, titling=answering.titling(trouble))

    def trouble(text: str) -> None:
        if context.terminal.verbose:
            answering.tell(text)

    kept = store.url != "memory:"
    setup = ChatSetup(
        store=store,
        terminal=context.terminal,
        settings=settings,
        open_agent=open_agent,
        open_engine=answering.engine_for,
        session_id=session_id,
        ephemeral=not kept,
        remember=context.last_used.remember if kept else _forget,
        history_file=_history_file(context) if _keeps_history(context, store) else None,
        models=answering.known_models(),
        first_use=answering.first_use,
        attached=attached,
        yes_tools=answering.wishes.yes_tools,
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
