"""`omniagent ask`: one question and its answer, for scripts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import DONE, FAILED
from omniagent_cli.cli.talk.agent_factory import Answering, Wishes
from omniagent_cli.cli.talk.answer_format import ExtractOption, SchemaOption, Shape, shape_of
from omniagent_cli.cli.talk.model_options import ParametersOption, set_parameters
from omniagent_cli.cli.talk.tool_options import (
    NoToolsOption,
    ToolsOption,
    YesToolsOption,
    allowed_in_scripts,
    question_apart,
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
    one_turn,
    place_of,
    remember,
)
from omniagent_cli.errors import UsageError
from omniagent_cli.models import Content

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.ui.turn_player import TurnResult


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
    schema: SchemaOption = None,
    extract: ExtractOption = False,
    parameters: ParametersOption = None,
    tools: ToolsOption = None,
    no_tools: NoToolsOption = False,
    yes_tools: YesToolsOption = None,
    ephemeral: EphemeralOption = False,
    offline: OfflineOption = False,
) -> int:
    """Ask one thing and print the answer."""
    from omniagent_cli.cli.talk.prompt_input import read_question

    context = current_context(ctx)
    check_options(session, go_on=go_on, ephemeral=ephemeral)
    set_parameters(context, parameters)
    shape = shape_of(schema, extract=extract)
    words, yes_tools = question_apart(prompt, yes_tools)
    wishes = Wishes(model, system, offline=offline, schema=shape.schema)
    wishes = with_tools(wishes, tools, yes_tools, none=no_tools)
    terminal = context.terminal
    confirm = terminal.confirm if terminal.interactive else None
    answering = Answering(context.settings, wishes, tell=terminal.note, confirm=confirm)
    question = read_question(terminal, words, attach or ())
    if not question:
        raise UsageError("there is nothing to ask; write omniagent ask 'Why is the sky blue?'")
    kept = context.settings.ask.keep or session is not None or go_on
    place = place_of(context, session, go_on=go_on, ephemeral=ephemeral, kept=kept)
    approve = allowed_in_scripts(context.settings, wishes)
    with answering.agent(place.store, place.session_id, approve=approve) as agent:
        shape.check(agent.engine)
        turn = _asked(context, agent, question, place, shape, whole=no_stream)
        result = asyncio.run(turn)
        remember(context, place, result)
        code = shape.tell(context, result, place, agent.engine.name)
        # A script that goes on with the answer has to hear that there is none.
        return FAILED if code == DONE and not result.text.strip() else code


async def _asked(
    context: Context, agent: Agent, question: Content, place: Place, shape: Shape, *, whole: bool
) -> TurnResult:
    try:
        return await one_turn(context, agent, question, place, whole=whole, silent=shape.wanted)
    finally:
        await agent.engine.aclose()
