"""The option ``-o KEY=VALUE`` of `ask` and `chat`, which overrides model settings for one command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.errors import UsageError
from omniagent_cli.parsing import did_you_mean

PARAMETERS = ("temperature", "max_tokens", "seed", "reasoning_effort")

ParametersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="KEY=V",
        help=f"model settings for this command: {', '.join(PARAMETERS)}",
    ),
]


def set_parameters(context: Context, given: Sequence[str] | None) -> None:
    """Override settings with options.

    Raises:
        UsageError: a parameter is unknown or not ``KEY=VALUE``.
    """
    for pair in given or ():
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"invalid -o {pair!r}; write KEY=VALUE, for example -o temperature=0")
        if name not in PARAMETERS:
            otherwise = f"must be one of {', '.join(PARAMETERS)}"
            hint = did_you_mean(name, PARAMETERS, otherwise, at_most=1)
            raise UsageError(f"unknown -o {name!r}; {hint}")
        context.flags[f"agent.{name}"] = value.strip()
