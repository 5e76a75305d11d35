"""Consent: what destroys asks a person first, and needs ``--yes`` where there is none."""

from __future__ import annotations

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.framework.exits import Refused


def agreed(context: Context, action: str, *, yes: bool) -> None:
    """Return when the action was agreed to.

    Args:
        context: this run.
        action: what would be done, with its count, as in ``delete 3 sessions``.
        yes: it was agreed to on the command line.

    Raises:
        Refused: it was not.
    """
    if yes:
        return
    if not context.terminal.interactive:
        raise Refused(f"this would {action}; give --yes to do it")
    if not context.terminal.confirm(f"{action[:1].upper()}{action[1:]}?"):
        raise Refused("nothing was changed")
