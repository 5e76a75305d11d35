"""Arguments and options shared by several commands, as `Annotated` types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

SELECTION = "Session selection"
"""Heading in ``--help`` of the options that select sessions."""

AnyId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="a session: its id, a prefix of its id, or @ for the last used",
        show_default=False,
    ),
]
"""One session to read."""

OneId = Annotated[
    str, typer.Argument(metavar="ID", help="the full id of a session", show_default=False)
]
"""One session to change."""

ChosenIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="full ids of sessions", show_default=False),
]
"""Sessions to change or to remove from; none when options select them."""

Yes = Annotated[bool, typer.Option("--yes", "-y", "--force", help="skip the confirmation")]
Replace = Annotated[
    bool, typer.Option("--yes", "-y", "--force", help="replace a file that no export wrote")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="show what would be done, and change nothing")
]
Purge = Annotated[bool, typer.Option("--purge", help="delete permanently, without the trash")]
Everything = Annotated[
    bool, typer.Option("--all", help="all sessions that are not pinned", rich_help_panel=SELECTION)
]
OlderThan = Annotated[
    str | None,
    typer.Option(
        metavar="AGE",
        help="sessions not used for this long, such as 90d",
        rich_help_panel=SELECTION,
    ),
]
Meta = Annotated[
    list[str] | None,
    typer.Option(
        metavar="K=V",
        help="sessions with this metadata; can be repeated",
        rich_help_panel=SELECTION,
    ),
]
Tag = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TAG", help="sessions with this tag; can be repeated", rich_help_panel=SELECTION
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="sessions used at or after this time: 2026-11-21, 7d, today",
        rich_help_panel=SELECTION,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="sessions used before this time", rich_help_panel=SELECTION),
]
Archived = Annotated[
    bool, typer.Option("--archived", help="only archived sessions", rich_help_panel=SELECTION)
]
IncludePinned = Annotated[
    bool,
    typer.Option("--include-pinned", help="include pinned sessions", rich_help_panel=SELECTION),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        "-n",
        metavar="N",
        help="at most N (default: 20 on a terminal, unlimited in a pipe)",
    ),
]
PrintNull = Annotated[
    bool, typer.Option("--null", "-0", help="end ids with NUL, for xargs -0; with --ids")
]


def completed_by(words: Iterable[str]) -> dict[str, Any]:
    """Return the keyword argument of `typer.Option` that declares the values of an option, for TAB."""
    return {"autocompletion": lambda ctx, args, incomplete: list(words)}
