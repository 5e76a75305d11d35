"""``-o KEY=VALUE`` of `ask` and `chat`: how the model is asked this once, over what the settings say."""

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
        help=f"how the model is asked this once: {', '.join(PARAMETERS)}",
    ),
]


def set_parameters(context: Context, given: Sequence[str] | None) -> None:
    """Let options win over the settings.

    Raises:
        UsageError: there is no such parameter, or a value is wrong.
    """
    for pair in given or ():
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise UsageError(
                f"-o needs a name and a value, as in -o temperature=0; this is {pair!r}"
            )
        if name not in PARAMETERS:
            close = get_close_matches(name, PARAMETERS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"give {', '.join(PARAMETERS)}"
            raise UsageError(f"-o knows no {name!r}; {hint}")
        context.flags[f"agent.{name}"] = value.strip()
