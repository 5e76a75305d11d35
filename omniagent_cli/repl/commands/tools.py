"""The slash command for tools."""

from __future__ import annotations

from typing import Annotated

from omniagent_cli.errors import UsageError
from omniagent_cli.repl.arguments import Kind
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import command
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.tools import tools_table

Switch = Annotated[str, Kind("on|off", "switches")]
ToolName = Annotated[str, Kind("NAME", "tools")]

_WHY_OFF = {
    "disabled": "tools.disabled",
    "not chosen": "not in --tools",
    "session": "in this session",
}


@command("tools")
async def tools(chat: Chat, switch: Switch = "", name: ToolName = "") -> None:
    """List the tools of this session, or turn a tool or a whole skill on or off in it.

    The choice is stored with the session and applies from the next question on.
    """
    agent = await chat.ready_agent()
    if switch and (switch not in ("on", "off") or not name):
        raise UsageError(
            "/tools takes on or off and a name; use /tools off NAME, or /tools to list the names"
        )
    if switch:
        if switch == "on":
            agent.toolset.retry_failed_skills()
        await agent.toggle_tool(chat.session_id, name, on=switch == "on")
        chat.terminal.note(f"{one_line(name)} is {switch} in this session")
        return
    known, notices = await agent.tool_statuses(chat.session_id)
    for notice in notices:
        chat.terminal.warn(notice)
    if not known:
        chat.terminal.note("No tools are offered in this chat")
        return
    chat.terminal.table(
        tools_table(
            (
                entry.tool.skill,
                entry.tool.name,
                entry.tool.effect,
                _WHY_OFF.get(entry.why_off, ""),
                entry.tool.description,
            )
            for entry in known
        )
    )
    if not getattr(agent.engine, "uses_tools", True):
        chat.terminal.note(f"{one_line(agent.engine.name)} uses no tools")
