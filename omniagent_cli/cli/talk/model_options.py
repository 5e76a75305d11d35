"""The options ``-o KEY=VALUE`` of `ask` and `chat`, for model settings, and ``--meta KEY=VALUE`` of `ask`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.errors import UsageError
from omniagent_cli.parsing import did_you_mean, parse_json_or_text

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


MetadataOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=V",
        help="metadata of the question, as JSON if possible, else text; can be repeated",
    ),
]


def parse_metadata(given: Sequence[str] | None) -> dict[str, Any]:
    """Return the metadata of ``--meta``.

    Raises:
        UsageError: one is not ``KEY=VALUE``.
    """
    found = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(
                f"invalid --meta {pair!r}; write KEY=VALUE, for example --meta ticket=4711"
            )
        found[name.strip()] = parse_json_or_text(value)
    return found


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
