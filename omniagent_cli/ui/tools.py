"""Table of tools."""

from __future__ import annotations

from collections.abc import Iterable

from omniagent_cli.text.sanitize import first_line, one_line
from omniagent_cli.ui.cells import Column, Table


def tools_table(rows: Iterable[tuple[str, str, str, str, str]]) -> Table:
    """Return a table of skill, tool, effect, reason for being off (empty if on) and description; all untrusted."""
    columns = [
        Column("SKILL", "cyan"),
        Column("TOOL"),
        Column("EFFECT", "yellow"),
        Column("ON"),
        Column("DOES", shrink=True),
    ]
    return Table(
        columns,
        [
            [
                one_line(skill),
                one_line(tool),
                effect,
                f"off: {one_line(why_off)}" if why_off else "on",
                one_line(first_line(description, 200)),
            ]
            for skill, tool, effect, why_off, description in rows
        ],
    )
