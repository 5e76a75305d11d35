"""The option ``--pick`` of `chat`: choose the session to continue from a list."""

from __future__ import annotations

from typing import Annotated

import typer

from omniagent_cli.cli.framework import exits, session_ids
from omniagent_cli.cli.framework.context import Context
from omniagent_cli.errors import UsageError

PickOption = Annotated[
    bool, typer.Option("--pick", help="choose the session to continue from a list")
]


def picked_session(
    context: Context, session: str | None, *, resume: bool, ephemeral: bool
) -> str | None:
    """Let the user choose a session and return its escaped id; None, with a notice, if the store is empty.

    Raises:
        UsageError: another option names the session, or the terminal is not interactive.
        typer.Exit: the user left without a choice.
    """
    if session is not None or resume:
        raise UsageError("--pick cannot be combined with --session or --continue")
    if ephemeral:
        raise UsageError("--ephemeral cannot be combined with --pick")
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
        terminal.note("No session chosen.")
        raise typer.Exit(exits.INTERRUPTED)
    return session_ids.escape_session_id(picked)
