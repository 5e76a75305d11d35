"""``--stdin`` and ``-0``: session ids from another command, as ``sessions list --ids`` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.framework.options import WHICH
from omniagent_cli.cli.framework.session_ids import as_given
from omniagent_cli.errors import UsageError

_LARGEST_BYTES = 64 << 20

FromStdin = Annotated[
    bool,
    typer.Option(
        "--stdin", help="take whole ids from stdin, one on each line", rich_help_panel=WHICH
    ),
]
Null = Annotated[
    bool,
    typer.Option(
        "--null", "-0", help="ids on stdin end with NUL, as xargs -0", rich_help_panel=WHICH
    ),
]
LongNull = Annotated[
    bool, typer.Option("--null", help="ids on stdin end with NUL", rich_help_panel=WHICH)
]
"""The same for a command where ``-0`` takes the tag ``0`` away."""


def named_and_piped(
    context: Context, named: Sequence[str] | None, *, stdin: bool, null: bool
) -> list[str]:
    """Return the ids of the command line and those from stdin, as the command line would have them.

    Ids from stdin are meant as they are: neither an option nor ``@`` is read into them. Blank lines are none.

    Raises:
        UsageError: there is too much for a list of ids, ``-0`` without ``--stdin``, or NULs without ``-0``.
    """
    if null and not stdin:
        raise UsageError("-0 says how ids on stdin end; give --stdin too")
    return [*(named or ()), *(_piped(context, null=null) if stdin else ())]


def _piped(context: Context, *, null: bool) -> list[str]:
    stream = context.terminal.stdin
    data: bytes | str = (
        getattr(stream, "buffer", stream).read(_LARGEST_BYTES + 1) if stream else b""
    )
    if len(data) > _LARGEST_BYTES:
        raise UsageError("what came on stdin is too long to be a list of ids")
    text = data if isinstance(data, str) else data.decode("utf-8", "surrogateescape")
    if not null and "\0" in text:
        raise UsageError("the ids on stdin end with NUL; give --null too")
    found = text.split("\0") if null else [line.removesuffix("\r") for line in text.split("\n")]
    return [as_given(session_id) for session_id in found if session_id.strip()]
