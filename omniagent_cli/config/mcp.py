"""MCP servers of the settings."""

from __future__ import annotations

import shlex
from datetime import timedelta
from math import inf
from typing import Any

from omniagent_cli.agent.mcp.server import CALL_SECONDS, START_SECONDS, McpServer
from omniagent_cli.config.setting_names import join_key
from omniagent_cli.config.settings import Settings
from omniagent_cli.errors import ConfigError

__all__ = ["McpServer", "mcp_servers"]


def mcp_servers(settings: Settings) -> list[McpServer]:
    """Return the enabled servers, sorted by name.

    Raises:
        ConfigError: a server has neither a command nor a URL, or both.
    """
    tables: dict[str, dict[str, Any]] = settings.table(("mcp", "servers"))
    return [
        _server(name, table) for name, table in sorted(tables.items()) if table.get("enabled", True)
    ]


def _server(name: str, table: dict[str, Any]) -> McpServer:
    key = join_key(("mcp", "servers", name))
    command, url = table.get("command"), table.get("url")
    if (command is None) == (url is None):
        has = "neither a command nor a url" if url is None else "both a command and a url"
        raise ConfigError(f"{key} has {has}; set exactly one")
    unused = ("headers",) if command else ("args", "env")
    for option in unused:
        if option in table:
            other = "url" if command else "command"
            raise ConfigError(f"{key}.{option} is for servers with a {other}; remove it")
    return McpServer(
        name,
        _argv(key, table),
        table.get("env", {}),
        url,
        table.get("headers", {}),
        trust_hints=table.get("trust_hints", False),
        call_seconds=_seconds(table.get("timeout", timedelta(seconds=CALL_SECONDS))),
        start_seconds=_seconds(table.get("start_timeout", timedelta(seconds=START_SECONDS))),
    )


def _seconds(length: timedelta | None) -> float:
    return inf if length is None else length.total_seconds()


def _argv(key: str, table: dict[str, Any]) -> tuple[str, ...]:
    """Return the program with its arguments; a line without ``args`` is split as a shell does."""
    command, args = table.get("command"), tuple(table.get("args", ()))
    if command is None:
        return ()
    if not isinstance(command, str):
        return (*command, *args)
    if "args" in table:
        return (command, *args)
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise ConfigError(
            f"{key}.command cannot be split into words: {error}; use a list"
        ) from error
