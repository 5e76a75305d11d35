"""The option ``-o KEY=VALUE`` of `ask` and `chat`, which overrides model settings for one command."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated

import typer

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.errors import UsageError

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
            close = get_close_matches(name, PARAMETERS, n=1)
            hint = (
                f"did you mean {close[0]}?" if close else f"must be one of {', '.join(PARAMETERS)}"
            )
            raise UsageError(f"unknown -o {name!r}; {hint}")
        context.flags[f"agent.{name}"] = value.strip()
