"""The tool options of `ask` and `chat`: the tools to offer, and those that need no confirmation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from omniagent_cli.agent.tools.permissions import ALL, PreapprovedTools
from omniagent_cli.cli.talk.agent_options import AgentOptions
from omniagent_cli.config.settings import Settings
from omniagent_cli.errors import UsageError

ToolsOption = Annotated[
    list[str] | None,
    typer.Option("--tools", metavar="NAME,...", help="offer only these tools and skills"),
]
NoToolsOption = Annotated[bool, typer.Option("--no-tools", help="offer the model no tools")]
YesToolsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--yes-tools",
        metavar="NAME,...",
        help="allow these tools and skills (no NAME: all) to write and delete without confirmation",
    ),
]

_NAME = re.compile(r"[\w.-]{1,64}")


def parse_tool_names(given: Sequence[str] | None, option: str) -> frozenset[str] | None:
    """Return the names of a repeatable, comma-separated option; None if it was not given.

    Raises:
        UsageError: a value is not a name, for example because it is the prompt.
    """
    if given is None:
        return None
    names = {name.strip() for value in given for name in value.split(",")}
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(f"invalid tool name {name!r} for {option}; write {option} NAME,NAME")
    return frozenset(names)


def split_prompt(
    prompt: Sequence[str] | None, yes_tools: list[str] | None
) -> tuple[Sequence[str], list[str] | None]:
    """Return the prompt and the names; a value of ``--yes-tools`` that is not a name is the prompt if there is no other."""
    if prompt or not yes_tools or all(map(_NAME.fullmatch, re.split(r"\s*,\s*", yes_tools[-1]))):
        return prompt or (), yes_tools
    return yes_tools[-1:], [*yes_tools[:-1], ALL]


def with_tool_options(
    options: AgentOptions,
    tools: Sequence[str] | None,
    yes_tools: Sequence[str] | None,
    *,
    none: bool,
) -> AgentOptions:
    """Return the options with the tool options added.

    Raises:
        UsageError: the options contradict each other, or a name is invalid.
    """
    if tools and none:
        raise UsageError("--tools and --no-tools cannot be combined")
    return replace(
        options,
        tools=not none,
        only_tools=parse_tool_names(tools, "--tools"),
        yes_tools=parse_tool_names(yes_tools, "--yes-tools") or frozenset(),
    )


def script_permissions(settings: Settings, options: AgentOptions) -> PreapprovedTools:
    """Return the permissions without a prompt for confirmation; `ask` never asks, even on a terminal."""
    advice = "not interactive; allow it with --yes-tools {name}"
    return PreapprovedTools(frozenset(settings.tools.allow), options.yes_tools, advice)
