"""`omniagent ask`: one question and its answer, for scripts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from omniagent_cli.cli.answering import Answering, Wishes
from omniagent_cli.cli.context import Context, running
from omniagent_cli.cli.conversation import (
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
    told,
)
from omniagent_cli.errors import UsageError
from omniagent_cli.models import Content

if TYPE_CHECKING:
    from omniagent_cli.agent.loop import Agent
    from omniagent_cli.ui.turns import Played


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
    check_options(session, go_on=go_on, ephemeral=ephemeral)
    wishes = Wishes(model, system, offline=offline)
    answering = Answering(context.settings, wishes, tell=context.terminal.note)
    question = read_question(context.terminal, prompt or (), attach or ())
    if not question:
        raise UsageError("there is nothing to ask; write omniagent ask 'Why is the sky blue?'")
    kept = context.settings.ask.keep or session is not None or go_on
    place = place_of(context, session, go_on=go_on, ephemeral=ephemeral, kept=kept)
    with answering.agent(place.store, place.session_id) as agent:
        played = asyncio.run(_asked(context, agent, question, place, whole=no_stream))
        remember(context, place, played)
        return told(context, played, place, agent.engine.name)


async def _asked(
    context: Context, agent: Agent, question: Content, place: Place, *, whole: bool
) -> Played:
    try:
        return await one_turn(context, agent, question, place, whole=whole)
    finally:
        await agent.engine.aclose()
