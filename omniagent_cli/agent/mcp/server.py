"""Which server, and how it is reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from omniagent_cli.errors import ConfigError

CALL_SECONDS = 60.0
START_SECONDS = 30.0

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class McpServer(NamedTuple):
    """One server.

    Attributes:
        name: as in ``[mcp.servers.NAME]``; stands before the names of its tools.
        argv: program and arguments; empty when the server has a URL.
        env: variables added to its environment.
        url: its address, or None when it is a program.
        headers: sent with each request.
        trust_hints: believe it when it says that a tool only reads.
        call_seconds: how long a call may take.
        start_seconds: how long it may take until its tools are known.
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
        # Arguments, environment and headers hold keys; none of them belongs in a traceback.
        return f"McpServer(name={self.name!r})"

    def expand_variables(self, environ: Mapping[str, str]) -> McpServer:
        """Return the server with each ``${NAME}`` in variables, headers and URL replaced, so that no file holds keys.

        Raises:
            ConfigError: a variable is not set.
        """

        def fill(where: str, text: str) -> str:
            def value(match: re.Match[str]) -> str:
                if match[1] not in environ:
                    raise ConfigError(
                        f"mcp.servers.{self.name}.{where} names ${{{match[1]}}}, which is not set; set that variable"
                    )
                return environ[match[1]]

            return _VARIABLE.sub(value, text)

        return self._replace(
            env={name: fill(f"env.{name}", text) for name, text in self.env.items()},
            headers={name: fill(f"headers.{name}", text) for name, text in self.headers.items()},
            url=None if self.url is None else fill("url", self.url),
        )
