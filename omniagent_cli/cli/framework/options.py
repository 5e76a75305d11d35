"""Arguments and options shared by several commands, as `Annotated` types."""

from __future__ import annotations

from typing import Annotated

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
    str, typer.Argument(metavar="ID", help="the whole id of a session", show_default=False)
]
"""One session to change."""

ChosenIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="whole ids of sessions", show_default=False),
]
"""Sessions to change or to remove from; none when options select them."""

Yes = Annotated[bool, typer.Option("--yes", "-y", "--force", help="skip the confirmation")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only show what would be done")]
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
IncludePinned = Annotated[
    bool,
    typer.Option("--include-pinned", help="include pinned sessions", rich_help_panel=SELECTION),
]
