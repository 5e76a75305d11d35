"""The command line: `main` takes the words after the program's name and returns the exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def main(
    argv: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> int:
    """Run one command.

    Args:
        argv: the words after the program's name; those of this process when None.
        environ: the environment; this process's when None.
        cwd: where the search for a project file starts.

    Returns:
        The exit code: 0 done, 1 failed, 2 usage or configuration, 3 a store or model could not be reached, 70 a
        bug, 130 interrupted.
    """
    from omniagent_cli.cli.framework.context import Context
    from omniagent_cli.cli.framework.exits import run_with_exit_code

    context = Context(environ=environ, cwd=cwd)

    def run() -> object:
        from omniagent_cli.cli.framework.command_groups import LazyGroup
        from omniagent_cli.cli.framework.command_table import COMMANDS

        words = list(sys.argv[1:] if argv is None else argv)
        try:
            # Not `main()` of the group: Typer's would end the process on a closed pipe, its own way.
            group = LazyGroup("omniagent", COMMANDS, root=True)
            columns = max(20, min(context.terminal.width, 80) - 2)  # click gives less than 50 up
            with group.make_context("omniagent", words, obj=context, terminal_width=columns) as ctx:
                result = group.invoke(ctx)
            context.update_completion()
            return result
        finally:
            context.close()

    return run_with_exit_code(run, context.terminal)
