"""What may write or destroy without anybody being asked, and what becomes of the rest where nobody is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omniagent_cli.agent.tools.tool import Decision, Tool

ALL = "all"
"""Stands for every tool."""


@dataclass(frozen=True, slots=True)
class PreapprovedTools:
    """Tools that were allowed beforehand; an `Approve` for where nobody can be asked.

    Attributes:
        config: names in ``tools.allow``.
        flag: names on the command line: of tools, of skills, or `ALL`.
        advice: what to do about a refusal, the end of a sentence with ``{name}`` in it.
    """

    config: frozenset[str] = frozenset()
    flag: frozenset[str] = frozenset()
    advice: str = "nobody is here to allow it"

    def decision(self, tool: Tool) -> Decision | None:
        """Return the decision that was made beforehand; None when the person has to be asked."""
        if tool.name in self.config:
            return Decision(allowed=True, by="config")
        if {tool.name, tool.skill, ALL} & (self.flag - {""}):
            return Decision(allowed=True, by="flag")
        return None

    async def __call__(self, tool: Tool, _arguments: Mapping[str, Any]) -> Decision:
        """Allow what was allowed beforehand, and refuse the rest."""
        if found := self.decision(tool):
            return found
        does = "destroys" if tool.effect == "destroy" else "writes"
        reason = f"{tool.name} {does}, and {self.advice.format(name=tool.name)}"
        return Decision(allowed=False, by="nobody", reason=reason)
