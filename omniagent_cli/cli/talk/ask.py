"""`omniagent ask`: one request and its answer, for scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import DONE, FAILED
from omniagent_cli.cli.framework.here import HereOption
from omniagent_cli.cli.talk.agent_factory import AgentFactory
from omniagent_cli.cli.talk.agent_options import AgentOptions
from omniagent_cli.cli.talk.answer_format import (
    AnswerFormat,
    ExtractOption,
    SchemaOption,
)
from omniagent_cli.cli.talk.model_options import (
    MetadataOption,
    ParametersOption,
    parse_metadata,
    set_parameters,
)
from omniagent_cli.cli.talk.saved_prompt import PromptOption, VariableOption, prompt_use
from omniagent_cli.cli.talk.tool_options import (
    NoToolsOption,
    ToolsOption,
    YesToolsOption,
    script_permissions,
    split_prompt,
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
    remember,
    run_turn,
)
from omniagent_cli.config.session_origin import session_origin
from omniagent_cli.errors import UsageError
from omniagent_cli.models import ASK_PROGRAM, Content

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.ui.turn_player import TurnResult


def ask(
    ctx: typer.Context,
    prompt: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROMPT]...", help="the prompt; - reads stdin"),
    ] = None,
    *,
    session: SessionOption = None,
    resume: ContinueOption = False,
    here: HereOption = False,
    saved_prompt: PromptOption = None,
    variables: VariableOption = None,
    model: ModelOption = None,
    system: SystemOption = None,
    attach: AttachOption = None,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="print the answer when it is complete")
    ] = False,
    schema: SchemaOption = None,
    extract: ExtractOption = False,
    parameters: ParametersOption = None,
    tools: ToolsOption = None,
    no_tools: NoToolsOption = False,
    yes_tools: YesToolsOption = None,
    meta: MetadataOption = None,
    ephemeral: EphemeralOption = False,
    offline: OfflineOption = False,
) -> int:
    """Send one prompt and print the answer."""
    from omniagent_cli.cli.talk.prompt_input import read_question

    context = current_context(ctx)
    resume = resume or here
    set_parameters(context, parameters)
    ephemeral = is_ephemeral(context, session, resume=resume, ephemeral=ephemeral)
    metadata = parse_metadata(meta)
    saved = prompt_use(context, saved_prompt, variables)
    format_ = saved.format(schema, extract=extract)
    words, yes_tools = split_prompt(prompt, yes_tools)
    options = AgentOptions(
        model,
        system,
        offline=offline,
        schema=format_.schema,
        origin=session_origin(context.cwd, ASK_PROGRAM),
    )
    options = saved.with_tools(saved.options(options), tools, yes_tools, none=no_tools)
    terminal = context.terminal
    confirm = terminal.confirm if terminal.interactive else None
    factory = AgentFactory(context.settings, options, tell=terminal.note, confirm=confirm)
    question = read_question(terminal, words, attach or (), saved)
    if not question:
        raise UsageError("no prompt given; for example: omniagent ask 'Why is the sky blue?'")
    kept = context.settings.ask.keep or session is not None or resume
    target = conversation_target(
        context, session, resume=resume, here=here, ephemeral=ephemeral, kept=kept
    )
    approve = script_permissions(context.settings, options)
    with factory.agent(target.store, target.session_id, approve=approve) as agent:
        format_.check(agent.engine)
        turn = _run_turn(
            context, agent, question, target, format_, whole=no_stream, metadata=metadata
        )
        result = asyncio.run(turn)
        remember(context, target, result)
        code = format_.tell(context, result, target, agent.engine.name)
        # A script that uses the answer must notice that it is empty.
        return FAILED if code == DONE and not result.text.strip() else code


async def _run_turn(
    context: Context,
    agent: Agent,
    question: Content,
    target: ConversationTarget,
    format_: AnswerFormat,
    *,
    whole: bool,
    metadata: Mapping[str, Any],
) -> TurnResult:
    silent = format_.needs_complete_answer
    try:
        return await run_turn(
            context, agent, question, target, whole=whole, silent=silent, metadata=metadata
        )
    finally:
        await agent.engine.aclose()
