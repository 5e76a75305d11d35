"""The options ``--stdin`` and ``-0``: session ids from another command, as ``sessions list --ids`` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.framework.options import SELECTION
from omniagent_cli.cli.framework.session_ids import escape_session_id
from omniagent_cli.errors import UsageError

_LARGEST_BYTES = 64 << 20

FromStdin = Annotated[
    bool,
    typer.Option(
        "--stdin", help="read full ids from stdin, one per line", rich_help_panel=SELECTION
    ),
]
Null = Annotated[
    bool,
    typer.Option(
        "--null", "-0", help="ids on stdin end with NUL, as for xargs -0", rich_help_panel=SELECTION
    ),
]
LongNull = Annotated[
    bool, typer.Option("--null", help="ids on stdin end with NUL", rich_help_panel=SELECTION)
]
"""`Null` for a command where ``-0`` removes the tag ``0``."""


def named_and_piped(
    context: Context, named: Sequence[str] | None, *, stdin: bool, null: bool
) -> list[str]:
    """Return the ids of the command line and those from stdin, escaped as on the command line.

    Ids from stdin are literal: neither options nor ``@`` are recognized in them. Blank lines are skipped.

    Raises:
        UsageError: the input is too long, ``-0`` comes without ``--stdin``, or NULs without ``-0``.
    """
    if null and not stdin:
        raise UsageError("-0 needs --stdin")
    return [*(named or ()), *(_piped(context, null=null) if stdin else ())]


def _piped(context: Context, *, null: bool) -> list[str]:
    stream = context.terminal.stdin
    data: bytes | str = (
        getattr(stream, "buffer", stream).read(_LARGEST_BYTES + 1) if stream else b""
    )
    if len(data) > _LARGEST_BYTES:
        raise UsageError(f"the input on stdin is longer than {_LARGEST_BYTES >> 20} MiB of ids")
    text = data if isinstance(data, str) else data.decode("utf-8", "surrogateescape")
    if not null and "\0" in text:
        raise UsageError("the ids on stdin end with NUL; use --null")
    found = text.split("\0") if null else [line.removesuffix("\r") for line in text.split("\n")]
    return [escape_session_id(session_id) for session_id in found if session_id.strip()]
