"""The command line interface; `main` runs one command and returns its exit code."""

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
        argv: the arguments after the program name; by default those of this process.
        environ: the environment variables; by default those of this process.
        cwd: the directory where the search for a project file starts.

    Returns:
        The exit code: 0 success, 1 failure, 2 usage or configuration error, 3 store or model unreachable, 70 internal
        error, 130 interrupted.
    """
    from omniagent_cli.cli.framework.context import Context
    from omniagent_cli.cli.framework.exits import run_with_exit_code
    from omniagent_cli.errors import EncryptedStore

    context = Context(environ=environ, cwd=cwd)

    def run() -> object:
        from omniagent_cli.cli.framework.command_groups import LazyGroup
        from omniagent_cli.cli.framework.command_table import COMMANDS

        words = list(sys.argv[1:] if argv is None else argv)
        try:
            # Typer's `main()` of the group would exit the process on a closed pipe.
            group = LazyGroup("omniagent", COMMANDS, root=True)
            columns = max(20, min(context.terminal.width, 80) - 2)  # click does not wrap below 50
            with group.make_context("omniagent", words, obj=context, terminal_width=columns) as ctx:
                result = group.invoke(ctx)
            context.update_completion()
            return result
        except EncryptedStore:
            context.forget_completion()
            raise
        finally:
            context.close()

    return run_with_exit_code(run, context.terminal)
