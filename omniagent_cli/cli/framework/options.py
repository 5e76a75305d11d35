"""Arguments and options that several commands share, as `Annotated` types."""

from __future__ import annotations

from typing import Annotated

import typer

WHICH = "Which sessions"
"""Heading in the help, of the options that choose sessions."""

AnyId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="a session: its id, the beginning of one, or @ for the last used",
        show_default=False,
    ),
]
"""One session to read."""

OneId = Annotated[
    str, typer.Argument(metavar="ID", help="a session's whole id", show_default=False)
]
"""One session to change."""

ChosenIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="sessions' whole ids", show_default=False),
]
"""Sessions to change or to remove from, or none when options choose them."""

Yes = Annotated[bool, typer.Option("--yes", "-y", "--force", help="do not ask")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would happen")]
Purge = Annotated[bool, typer.Option("--purge", help="remove for good: nothing goes to the trash")]
Everything = Annotated[
    bool, typer.Option("--all", help="every session that is not pinned", rich_help_panel=WHICH)
]
OlderThan = Annotated[
    str | None,
    typer.Option(
        metavar="AGE", help="sessions not used for this long, such as 90d", rich_help_panel=WHICH
    ),
]
Meta = Annotated[
    list[str] | None,
    typer.Option(
        metavar="K=V", help="sessions with this metadata; may be repeated", rich_help_panel=WHICH
    ),
]
Tag = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TAG", help="sessions with this tag; may be repeated", rich_help_panel=WHICH
    ),
]
IncludePinned = Annotated[
    bool, typer.Option("--include-pinned", help="pinned sessions too", rich_help_panel=WHICH)
]
