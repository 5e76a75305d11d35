"""MCP servers: whether they could be started, and with ``--deep`` whether they can."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from importlib.util import find_spec

from omniagent_cli.cli.doctor.check_result import OK, PROBLEM, Finding, Patient, told
from omniagent_cli.config import McpServer, mcp_servers
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.ui.views import counted


def check(patient: Patient) -> Iterator[Finding]:
    """Look at the servers of the settings; they are started with ``--deep`` only, for they are others' programs."""
    if patient.settings is None:
        return
    servers = mcp_servers(patient.settings)
    if servers and find_spec("mcp") is None:
        what = (
            f"{counted(len(servers), 'MCP server')} cannot be used: their protocol is not installed"
        )
        yield Finding(PROBLEM, what, "pip install 'omniagent-cli[mcp]'")
        return
    for server in servers:
        yield _started(server) if patient.deep else _looked_at(patient, server)
    if not servers:
        yield Finding(OK, "no MCP server is in the settings")


def _looked_at(patient: Patient, server: McpServer) -> Finding:
    if server.url:
        return Finding(OK, f"{server.name} has an address", "'omniagent doctor --deep' asks it")
    program = server.argv[0]
    if shutil.which(program, path=patient.context.environ.get("PATH")) is None:
        do = f"install it, or 'omniagent config unset mcp.servers.{server.name}'"
        return Finding(PROBLEM, f"the program {program} of {server.name} is not there", do)
    return Finding(
        OK, f"the program of {server.name} is there", "'omniagent doctor --deep' starts it"
    )


def _started(server: McpServer) -> Finding:
    try:
        tools = asyncio.run(_tools(server))
    except OmniAgentError as error:
        return told(error)
    return Finding(OK, f"{server.name} starts, with {counted(tools, 'tool')}")


async def _tools(server: McpServer) -> int:
    from omniagent_cli.agent.mcp.skill import McpSkill

    skill = McpSkill(server)
    try:
        return len(await skill.open(None))
    finally:
        await skill.aclose()
