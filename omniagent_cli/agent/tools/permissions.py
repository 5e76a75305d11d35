"""Permissions given in advance, for tools that write or destroy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omniagent_cli.agent.tools.tool import Decision, Tool

ALL = "all"
"""Selects every tool."""


@dataclass(frozen=True, slots=True)
class PreapprovedTools:
    """Tools allowed in advance; usable as `Approve` where there is no user to ask.

    Attributes:
        config: names in ``tools.allow``.
        flag: names on the command line: tools, skills, or `ALL`.
        advice: the end of the message of a denial; ``{name}`` is the tool's name.
    """

    config: frozenset[str] = frozenset()
    flag: frozenset[str] = frozenset()
    advice: str = "there is no user to ask"

    def decision(self, tool: Tool) -> Decision | None:
        """Return the decision made in advance; None if the user has to be asked."""
        if tool.name in self.config:
            return Decision(allowed=True, by="config")
        if {tool.name, tool.skill, ALL} & (self.flag - {""}):
            return Decision(allowed=True, by="flag")
        return None

    async def __call__(self, tool: Tool, _arguments: Mapping[str, Any]) -> Decision:
        """Allow the tools allowed in advance and deny all others."""
        if found := self.decision(tool):
            return found
        effect = "destroys" if tool.effect == "destroy" else "writes"
        reason = f"{tool.name} {effect}, and {self.advice.format(name=tool.name)}"
        return Decision(allowed=False, by="default", reason=reason)
