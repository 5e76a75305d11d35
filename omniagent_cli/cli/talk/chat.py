"""`omniagent chat`: a chat at a prompt, or one turn per line of stdin."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from omniagent_cli.cli.framework import exits
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.here import HereOption
from omniagent_cli.cli.talk.agent_factory import AgentFactory
from omniagent_cli.cli.talk.agent_options import AgentOptions
from omniagent_cli.cli.talk.model_options import ParametersOption, set_parameters
from omniagent_cli.cli.talk.session_picker import PickOption, picked_session
from omniagent_cli.cli.talk.tool_options import (
    NoToolsOption,
    ToolsOption,
    YesToolsOption,
    script_permissions,
    with_tool_options,
)
from omniagent_cli.cli.talk.turn_runner import (
    AttachOption,
    ContinueOption,
    ConversationTarget,
    EphemeralOption,
    ModelOption,
    OfflineOption,
    SessionOption,
    SystemOption,
    conversation_target,
    is_ephemeral,
    print_result,
    remember,
    run_turn,
    session_of,
)
from omniagent_cli.config.session_origin import session_origin
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import new_session_id
from omniagent_cli.ui.terminal import OutputFailed

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.agent.context.attachments import Attachment
    from omniagent_cli.stores import SessionStore
    from omniagent_cli.stores.sync.driver import SyncReport

_EXIT_WORDS = ("exit", "quit", "q")


def chat(
    ctx: typer.Context,
    *,
    session: SessionOption = None,
    resume: ContinueOption = False,
    here: HereOption = False,
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
    """Chat with a model. If stdin is not a terminal, each line is a turn and the answers go to stdout."""
    context = current_context(ctx)
    from omniagent_cli.cli.talk.prompt_input import read_attachments

    resume = resume or (here and not pick)
    set_parameters(context, parameters)
    if pick:
        session = picked_session(context, session, resume=resume, ephemeral=ephemeral)
    ephemeral = is_ephemeral(context, session, resume=resume, ephemeral=ephemeral)
    attached = read_attachments(attach or ())
    options = with_tool_options(
        AgentOptions(model, system, offline=offline, origin=session_origin(context.cwd)),
        tools,
        yes_tools,
        none=no_tools,
    )
    factory = AgentFactory(context.settings, options, tell=context.terminal.note)
    target = conversation_target(context, session, resume=resume, here=here, ephemeral=ephemeral)
    if target.store is not None:
        target.store.check_key()  # before the first message is typed
    with _with_store(target) as target:
        if context.terminal.reads_terminal:
            named = session is not None or resume
            return _run_repl(context, factory, target, attached, named=named)
        return _run_lines(context, factory, target, attached)


@contextmanager
def _with_store(target: ConversationTarget) -> Iterator[ConversationTarget]:
    """Yield the target, with a store in memory if the chat is ephemeral."""
    if target.store is not None:
        yield target
        return
    from omniagent_cli.stores import open_store

    with open_store("memory:") as store:
        yield ConversationTarget(store, new_session_id(utc_now()))


def _run_lines(
    context: Context, factory: AgentFactory, target: ConversationTarget, attached: list[Attachment]
) -> int:
    """Run one turn per line of stdin; a failed turn is reported and the next line continues.

    Attachments are sent with the first line.
    """
    from omniagent_cli.agent.context.attachments import compose

    worst = exits.DONE
    with (
        # The handler of `asyncio.Runner` can miss a late signal.
        exits.raised_on(signal.SIGINT, KeyboardInterrupt),
        asyncio.Runner() as runner,
        factory.agent(
            target.store,
            target.session_id,
            approve=script_permissions(context.settings, factory.options),
        ) as agent,
    ):
        try:
            for line in _lines(context.terminal.stdin):
                if not line:
                    continue
                if line in _EXIT_WORDS:
                    break
                try:
                    question, attached = compose(line, attached), []
                    result = runner.run(run_turn(context, agent, question, target))
                    target = replace(target, session_id=session_of(target, result))
                    remember(context, target, result)
                    if code := print_result(context, result, target, agent.engine.name):
                        return code
                except OutputFailed:
                    raise
                except OmniAgentError as error:
                    context.terminal.error(str(error))
                    worst = max(worst, exits.exit_code_of(error))
        finally:
            runner.run(agent.engine.aclose())
    return worst


def _lines(stdin: TextIO | None) -> Iterator[str]:
    """Yield the lines of stdin without surrounding whitespace."""
    for line in getattr(stdin, "buffer", stdin) or ():
        text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
        yield text.strip()


def _run_repl(
    context: Context,
    factory: AgentFactory,
    target: ConversationTarget,
    attached: list[Attachment],
    *,
    named: bool,
) -> int:
    """Run the interactive chat."""
    from omniagent_cli.repl.chat import ChatSetup
    from omniagent_cli.repl.loop import run

    assert target.store is not None  # noqa: S101  # `_with_store` provides one
    store, settings = target.store, context.settings
    session_id = target.session_id if named else None

    def open_agent(tell: Callable[[str], None]) -> Agent:
        factory.tell = tell
        return factory.agent(store, session_id, titling=factory.titling(trouble))

    def trouble(text: str) -> None:
        if context.terminal.verbose:
            factory.tell(text)

    kept = store.url != "memory:"
    setup = ChatSetup(
        store=store,
        terminal=context.terminal,
        settings=settings,
        open_agent=open_agent,
        open_engine=factory.engine_for,
        session_id=session_id,
        ephemeral=not kept,
        remember=context.last_used.remember if kept else _forget,
        history_file=_history_file(context) if _keeps_history(context, store) else None,
        models=factory.known_models(),
        first_use=factory.first_use,
        attached=attached,
        yes_tools=factory.options.yes_tools,
        sync=partial(_synchronize, context, store) if kept else None,
    )
    return run(setup)


def _synchronize(
    context: Context, store: SessionStore, other: str, *, batch: bool = False
) -> SyncReport:
    """Synchronize the store of a chat with another one, through a connection of its own."""
    from contextlib import closing

    from omniagent_cli.cli.store.sync import sync_other
    from omniagent_cli.stores.encryption.codec import PayloadCodec

    with closing(context.again()) as own:
        opened = own.store_to_create
        if store.has_key:  # it may have been asked for
            opened.use_codec(PayloadCodec(compress=store.codec.compress, key=store.codec.key))
        return sync_other(own, other, batch=batch)


def _forget(_session_id: str) -> None:
    """Do nothing: the session ends with this process."""


def _keeps_history(context: Context, store: SessionStore) -> bool:
    """Return True if typed lines are saved; not for encrypted stores, because the history is plain text."""
    return context.settings.chat.history and store.url != "memory:" and not store.has_key


def _history_file(context: Context) -> Path:
    from omniagent_cli.config.paths import state_dir

    return state_dir(context.environ) / "history"
