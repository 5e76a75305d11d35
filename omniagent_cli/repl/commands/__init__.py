"""The slash commands, one module per topic; importing this package registers them."""

from omniagent_cli.repl.commands import (
    answering,
    attaching,
    compacting,
    copying,
    files,
    forks,
    messages,
    metadata,
    resuming,
    sessions,
    synchronizing,
    talking,
    tools,
)
from omniagent_cli.repl.registry import commands, run_command

__all__ = [
    "answering",
    "attaching",
    "commands",
    "compacting",
    "copying",
    "files",
    "forks",
    "messages",
    "metadata",
    "resuming",
    "run_command",
    "sessions",
    "synchronizing",
    "talking",
    "tools",
]
