"""Functions a model may call: what they are, who may run them, and how a call becomes a result."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from omniagent_cli.canonical import dump
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import ToolCall

Effect = Literal["read", "write", "destroy"]

MAX_RESULT_CHARACTERS = 100_000
"""The longest result a model is told; the rest would not fit its window anyway."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One function a model may call.

    Attributes:
        parameters: JSON schema of the arguments, an object.
        run: called with the arguments as keywords, sync or async; what it returns becomes the result: text as it is,
            anything else as JSON.
        effect: whether it reads, writes or destroys; only reading needs no approval.
        timeout_seconds: how long it may take.
    """

    name: str
    description: str
    run: Callable[..., Any]
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {}}
    )
    effect: Effect = "read"
    timeout_seconds: float = 60.0

    def definition(self) -> dict[str, Any]:
        """Return the chat-completions form of the tool."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}


Approve = Callable[[Tool, Mapping[str, Any]], Awaitable[bool]]
"""Asked before a tool that writes or destroys runs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    Attributes:
        failed: the tool was refused, unknown, or raised; the model is told as well.
        approved: what the person said; None when nobody had to be asked.
    """

    text: str
    failed: bool = False
    approved: bool | None = None


class Toolbox:
    """The tools of an agent, by name."""

    def __init__(self, tools: Sequence[Tool], approve: Approve | None = None) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._approve = approve

    def definitions(self) -> list[dict[str, Any]]:
        """Return the chat-completions form of every tool."""
        return [tool.definition() for tool in self._tools.values()]

    async def run(self, call: ToolCall) -> Outcome:
        """Run one call; whatever goes wrong is the result, so that the turn goes on."""
        function = call["function"]
        tool = self._tools.get(function["name"])
        if tool is None:
            known = ", ".join(self._tools) or "none"
            return Outcome(
                f"error: there is no tool {function['name']!r}; the tools are: {known}", failed=True
            )
        try:
            arguments = _arguments(function.get("arguments") or "{}")
        except ValueError as error:
            return Outcome(f"error: the arguments are not a JSON object: {error}", failed=True)
        approved = None
        if tool.effect != "read":
            approved = self._approve is not None and await self._approve(tool, arguments)
            if not approved:
                return Outcome(
                    f"error: the person did not allow {tool.name}", failed=True, approved=False
                )
        return await _result(tool, arguments, approved)


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(arguments, dict):
        raise ValueError("they are " + type(arguments).__name__)  # noqa: TRY004  # a model's mistake, not a caller's
    return arguments


async def _result(tool: Tool, arguments: Mapping[str, Any], approved: bool | None) -> Outcome:  # noqa: FBT001
    try:
        async with asyncio.timeout(tool.timeout_seconds):
            if inspect.iscoroutinefunction(tool.run):
                value = await tool.run(**arguments)
            else:
                value = await asyncio.to_thread(tool.run, **arguments)
        text = value if isinstance(value, str) else dump(value).decode()
    except TimeoutError:
        return Outcome(
            f"error: {tool.name} took longer than {tool.timeout_seconds:g} s",
            failed=True,
            approved=approved,
        )
    except OmniAgentError as error:
        return Outcome(f"error: {error}", failed=True, approved=approved)
    except Exception as error:  # noqa: BLE001  # somebody's code: it is told, and the turn goes on
        return Outcome(f"error: {type(error).__name__}: {error}", failed=True, approved=approved)
    if len(text) > MAX_RESULT_CHARACTERS:
        text = f"{text[:MAX_RESULT_CHARACTERS]}\n(cut: {len(text) - MAX_RESULT_CHARACTERS} more characters)"
    return Outcome(text, approved=approved)
