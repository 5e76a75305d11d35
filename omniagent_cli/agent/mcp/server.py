"""The configuration of an MCP server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from omniagent_cli.errors import ConfigError

CALL_SECONDS = 60.0
START_SECONDS = 30.0

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class McpServer(NamedTuple):
    """The configuration of one server.

    Attributes:
        name: as in ``[mcp.servers.NAME]``; the prefix of its tools.
        argv: program and arguments; empty if the server has a URL.
        env: variables added to its environment.
        url: its URL, or None if it is a program.
        headers: sent with each request.
        trust_hints: trust its hint that a tool is read-only.
        call_seconds: the timeout of a call.
        start_seconds: the timeout until its tools are listed.
    """

    name: str
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    url: str | None = None
    headers: Mapping[str, str] = {}
    trust_hints: bool = False
    call_seconds: float = CALL_SECONDS
    start_seconds: float = START_SECONDS

    def __repr__(self) -> str:
        # Arguments, environment and headers may hold keys, which must not appear in a traceback.
        return f"McpServer(name={self.name!r})"

    def expand_variables(self, environ: Mapping[str, str]) -> McpServer:
        """Return the server with each ``${NAME}`` in env, headers and URL replaced, so that keys need not be in the config.

        Raises:
            ConfigError: a variable is not set.
        """

        def fill(where: str, text: str) -> str:
            def value(match: re.Match[str]) -> str:
                if match[1] not in environ:
                    raise ConfigError(
                        f"mcp.servers.{self.name}.{where} refers to ${{{match[1]}}}, which is not set; set that variable"
                    )
                return environ[match[1]]

            return _VARIABLE.sub(value, text)

        return self._replace(
            env={name: fill(f"env.{name}", text) for name, text in self.env.items()},
            headers={name: fill(f"headers.{name}", text) for name, text in self.headers.items()},
            url=None if self.url is None else fill("url", self.url),
        )
