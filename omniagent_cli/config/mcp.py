"""The MCP servers of the settings, complete enough to start."""

from __future__ import annotations

import shlex
from typing import Any, NamedTuple

from omniagent_cli.config.dotted import join_key
from omniagent_cli.config.settings import Settings
from omniagent_cli.errors import ConfigError


class McpServer(NamedTuple):
    """One server.

    Attributes:
        name: as in ``[mcp.servers.NAME]``.
        argv: program and arguments; empty when the server has a URL.
        env: variables added to its environment.
        url: its address, or None when it is a program.
        headers: sent with each request.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    url: str | None
    headers: dict[str, str]

    def __repr__(self) -> str:
        # Arguments, environment and headers hold keys; none of them belongs in a traceback.
        return f"McpServer(name={self.name!r})"


def mcp_servers(settings: Settings) -> list[McpServer]:
    """Return the servers that are not disabled, in the order of their names.

    Raises:
        ConfigError: one has neither a command nor a URL, or both.
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
        raise ConfigError(f"{key} has {has}; give it one of them")
    unused = ("headers",) if command else ("args", "env")
    for option in unused:
        if option in table:
            other = "url" if command else "command"
            raise ConfigError(f"{key}.{option} is for servers with a {other}; remove it")
    return McpServer(name, _argv(key, table), table.get("env", {}), url, table.get("headers", {}))


def _argv(key: str, table: dict[str, Any]) -> tuple[str, ...]:
    """Return the program with its arguments; a line without ``args`` is split as a shell would."""
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
            f"{key}.command cannot be split into words: {error}; give a list"
        ) from error
