"""`chat --pick`: the session to go on with is picked from those there are."""

from __future__ import annotations

from typing import Annotated

import typer

from omniagent_cli.cli.framework import exits, session_ids
from omniagent_cli.cli.framework.context import Context
from omniagent_cli.errors import UsageError

PickOption = Annotated[bool, typer.Option("--pick", help="pick the session to go on with")]


def picked_session(
    context: Context, session: str | None, *, go_on: bool, ephemeral: bool
) -> str | None:
    """Let the person pick and return how to name the session; None when there is none yet, which is said.

    Raises:
        UsageError: the session is named otherwise, or there is nobody who could pick.
        typer.Exit: they left without picking one.
    """
    if session is not None or go_on:
        raise UsageError(
            "--pick chooses the session, and so do --session and --continue; give one of them"
        )
    if ephemeral:
        raise UsageError("--ephemeral keeps nothing, so there is nothing to --pick; leave one out")
    terminal = context.terminal
    if not (terminal.reads_terminal and terminal.is_terminal):
        raise UsageError("--pick needs a terminal; name the session with --session")
    from omniagent_cli.repl.picker import NothingToPick, run_picker

    spoken = context.settings.chat.screen_reader
    try:
        picked = run_picker(context.store_to_create, terminal, spoken=spoken)
    except NothingToPick as error:
        terminal.note(str(error))
        return None
    if picked is None:
        terminal.note("no session was picked")
        raise typer.Exit(exits.INTERRUPTED)
    return session_ids.escape_session_id(picked)
