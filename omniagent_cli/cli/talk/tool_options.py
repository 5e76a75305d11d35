"""The options of `ask` and `chat` about tools: which are offered, and which may write without being asked about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from omniagent_cli.agent.tools.permissions import ALL, PreapprovedTools
from omniagent_cli.cli.talk.agent_factory import Wishes
from omniagent_cli.config import Settings
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
        help="let these tools and skills (no NAME: all) write and destroy unasked",
    ),
]

_NAME = re.compile(r"[\w.-]{1,64}")


def names_of(given: Sequence[str] | None, option: str) -> frozenset[str] | None:
    """Return the names that were given, separated by commas or one by one; None when the option was not.

    Raises:
        UsageError: one cannot be a name; the question may have been taken for it.
    """
    if given is None:
        return None
    names = {name.strip() for value in given for name in value.split(",")}
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{option} needs names of tools or skills, and {name!r} cannot be one; give them as {option} NAME,NAME"
            )
    return frozenset(names)


def question_apart(
    prompt: Sequence[str] | None, yes_tools: list[str] | None
) -> tuple[Sequence[str], list[str] | None]:
    """Return question and names; what follows ``--yes-tools``, is no name, and is all there is, is the question."""
    if prompt or not yes_tools or all(map(_NAME.fullmatch, re.split(r"\s*,\s*", yes_tools[-1]))):
        return prompt or (), yes_tools
    return yes_tools[-1:], [*yes_tools[:-1], ALL]


def with_tools(
    wishes: Wishes, tools: Sequence[str] | None, yes_tools: Sequence[str] | None, *, none: bool
) -> Wishes:
    """Return the wishes with those about tools.

    Raises:
        UsageError: they contradict each other, or a name cannot be one.
    """
    if tools and none:
        raise UsageError("--tools and --no-tools contradict each other; give one of them")
    return replace(
        wishes,
        tools=not none,
        only_tools=names_of(tools, "--tools"),
        yes_tools=names_of(yes_tools, "--yes-tools") or frozenset(),
    )


def allowed_in_scripts(settings: Settings, wishes: Wishes) -> PreapprovedTools:
    """Return who may write where nobody is asked; also by a person at a terminal, because `ask` is for scripts."""
    advice = "nobody is asked here; --yes-tools {name} allows it"
    return PreapprovedTools(frozenset(settings.tools.allow), wishes.yes_tools, advice)
