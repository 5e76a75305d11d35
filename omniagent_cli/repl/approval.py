"""Asking the person before a tool writes or destroys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from omniagent_cli.agent.tools import Tool
from omniagent_cli.canonical import dump
from omniagent_cli.text import cut, one_line

_ARGUMENTS_LENGTH = 300


class Approval:
    """Asks yes, no, or always in this chat; one question at a time, because tools of one answer run side by side.

    Args:
        ask: asks the person for a line; None when they leave.
        left: called when they leave the question: the turn is to be stopped.
        allowed: tools that were allowed beforehand.
    """

    def __init__(
        self,
        ask: Callable[[str], Awaitable[str | None]],
        *,
        left: Callable[[], None],
        allowed: Collection[str] = (),
    ) -> None:
        self._ask = ask
        self._left = left
        self._allowed = set(allowed)
        self._one_by_one = asyncio.Lock()

    async def __call__(self, tool: Tool, arguments: Mapping[str, Any]) -> bool:
        """Tell whether a tool may run with these arguments."""
        async with self._one_by_one:
            if tool.name in self._allowed:
                return True
            shown = cut(one_line(dump(dict(arguments)).decode()), _ARGUMENTS_LENGTH)
            does = "destroys" if tool.effect == "destroy" else "writes"
            answer = await self._ask(
                f"{one_line(tool.name)} {does}: {shown} - allow it? [y]es, [a]lways in this chat, [N]o: "
            )
            if answer is None:
                self._left()
                return False
            word = answer.strip().lower()
            if word in ("a", "always"):
                self._allowed.add(tool.name)
            return word in ("y", "yes", "a", "always")
