"""Check of the MCP servers; ``--deep`` starts them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from importlib.util import find_spec

from omniagent_cli.cli.doctor.check_result import (
    INFO,
    OK,
    PROBLEM,
    CheckContext,
    Finding,
    format_finding,
)
from omniagent_cli.config.mcp import McpServer, mcp_servers
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.ui.views import counted


def check(context: CheckContext) -> Iterator[Finding]:
    """Check the configured servers; they are started only with ``--deep``."""
    if context.settings is None:
        return
    servers = mcp_servers(context.settings)
    if servers and find_spec("mcp") is None:
        what = (
            f"{counted(len(servers), 'MCP server')} cannot be used: the mcp extra is not installed"
        )
        yield Finding(PROBLEM, what, "pip install 'omniagent-cli[mcp]'")
        return
    for server in servers:
        yield _started(server) if context.deep else _run_checks(context, server)
    if not servers:
        yield Finding(INFO, "no MCP servers configured")


def _run_checks(context: CheckContext, server: McpServer) -> Finding:
    if server.url:
        return Finding(OK, f"{server.name} has a URL", "'omniagent doctor --deep' connects to it")
    program = server.argv[0]
    if shutil.which(program, path=context.context.environ.get("PATH")) is None:
        do = f"install it, or 'omniagent config unset mcp.servers.{server.name}'"
        return Finding(PROBLEM, f"the program {program} of {server.name} was not found", do)
    return Finding(
        OK, f"the program of {server.name} was found", "'omniagent doctor --deep' starts it"
    )


def _started(server: McpServer) -> Finding:
    try:
        tools = asyncio.run(_tools(server))
    except OmniAgentError as error:
        return format_finding(error)
    return Finding(OK, f"{server.name} starts, with {counted(tools, 'tool')}")


async def _tools(server: McpServer) -> int:
    from omniagent_cli.agent.mcp.skill import McpSkill

    skill = McpSkill(server)
    try:
        return len(await skill.open(None))
    finally:
        await skill.aclose()
