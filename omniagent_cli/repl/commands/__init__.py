"""The slash commands, by noun; importing this makes them known to the registry."""

from omniagent_cli.repl.commands import (
    answering,
    attaching,
    compacting,
    copying,
    files,
    messages,
    metadata,
    resuming,
    sessions,
    talking,
    tools,
)

__all__ = [
    "answering",
    "attaching",
    "compacting",
    "copying",
    "files",
    "messages",
    "metadata",
    "resuming",
    "sessions",
    "talking",
    "tools",
]
