"""Confirmation of destructive actions: a question on a terminal, ``--yes`` elsewhere."""

from __future__ import annotations

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.framework.exits import Aborted, Refused


def confirm(context: Context, action: str, *, yes: bool) -> None:
    """Ask for confirmation; return when it is given.

    Args:
        context: the context of the command.
        action: the action with its count, as in ``delete 3 sessions``.
        yes: whether it was confirmed on the command line.

    Raises:
        Aborted: the answer was no.
        Refused: there is no terminal for the question.
    """
    if yes:
        return
    if not context.terminal.interactive:
        raise Refused(f"this would {action}; use --yes to confirm")
    if not context.terminal.confirm(f"{action[:1].upper()}{action[1:]}?"):
        raise Aborted
