"""`omniagent tools`: list the tools of all skills, without a request to a model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import typer

from omniagent_cli.agent.tools.tool_toggles import SessionToolToggles, ToolToggles
from omniagent_cli.agent.tools.toolset import Toolset
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.cli.talk.skills import all_skills
from omniagent_cli.text.sanitize import first_line, plain_field
from omniagent_cli.ui.cells import Table
from omniagent_cli.ui.tools import tools_table


class _Row(NamedTuple):
    """A tool, or a disabled skill, which is not opened.

    Attributes:
        why_off: the setting that turns it off; None if it is on.
    """

    skill: str
    tool: str
    effect: str
    description: str
    source: str
    on: bool
    why_off: str | None


def list_tools(ctx: typer.Context) -> None:
    """List the tools of all skills; MCP servers are started to list theirs."""
    context = current_context(ctx)
    show_rows(
        context,
        asyncio.run(_rows(context)),
        record=_Row._asdict,
        fields=lambda row: [
            plain_field(row.skill),
            plain_field(row.tool),
            row.effect,
            "on" if row.on else "off",
            plain_field(row.source),
            plain_field(row.description),
        ],
        table=_table,
        empty="no tools",
    )


def _table(rows: Sequence[_Row]) -> Table:
    return tools_table(
        [(row.skill, row.tool, row.effect, row.why_off or "", row.description) for row in rows]
    )


async def _rows(context: Context) -> list[_Row]:
    """Open the enabled skills on a store of this command's own and list their tools."""
    from omniagent_cli.stores import open_store

    settings = context.settings
    disabled = frozenset(settings.tools.disabled)
    skills = all_skills(settings, tell=context.terminal.warn)
    wanted = [skill for skill in skills if settings.tools.enabled and skill.name not in disabled]
    origins = {skill.name: skill.origin for skill in skills}
    with open_store("memory:") as store:
        toolset = Toolset((), wanted, store=store, toggles=ToolToggles(disabled=disabled))
        try:
            known, notices = await toolset.tool_statuses(SessionToolToggles())
            details = [f"{skill.name}: {line}" for skill in wanted for line in skill.details]
        finally:
            await toolset.aclose()
    for notice in notices:
        context.terminal.warn(notice)
    for line in details:
        context.terminal.detail(line)
    rows = [
        _Row(
            entry.tool.skill,
            entry.tool.name,
            entry.tool.effect,
            first_line(entry.tool.description, 300),
            origins[entry.tool.skill],
            on=not entry.why_off,
            why_off="tools.disabled" if entry.why_off else None,
        )
        for entry in known
    ]
    why = "tools.disabled" if settings.tools.enabled else "tools.enabled"
    off = [skill for skill in skills if skill not in wanted]
    return rows + [
        _Row(s.name, "", "", s.description, s.origin, on=False, why_off=why) for s in off
    ]
