"""A scripted model for tests of agents, skills and programs that use them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omniagent_cli.agent.events import EngineEvent, Finished, ModelSettings, TextDelta
from omniagent_cli.json_format import dump
from omniagent_cli.models import ToolCall


@dataclass(slots=True)
class Say:
    """One scripted response.

    Attributes:
        text: response text, streamed word by word.
        calls: tool calls as (name, arguments) pairs.
        reason: finish reason; by default "tool_calls" with calls, otherwise "stop".
        usage: token counts reported at the end.
        raises: exception raised after the text.
        delay_seconds: pause after each chunk.
        hang: wait after the text until cancelled.
    """

    text: str = ""
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    reason: str | None = None
    usage: Mapping[str, Any] = field(
        default_factory=lambda: {"input_tokens": 10, "output_tokens": 5}
    )
    raises: Exception | None = None
    delay_seconds: float = 0.0
    hang: bool = False


class ScriptedModel:
    """Engine that returns its scripted responses, one per request; see `agent.events.Engine`.

    Attributes:
        requests: the messages of every request, in order.
        tools: the tool definitions of every request.
    """

    def __init__(self, *script: str | Say, name: str = "scripted:model") -> None:
        self.name = name
        self.requests: list[list[dict[str, Any]]] = []
        self.tools: list[list[dict[str, Any]]] = []
        self._script = [Say(step) if isinstance(step, str) else step for step in script]
        self._numbers = itertools.count(1)

    async def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        settings: ModelSettings,
    ) -> AsyncIterator[EngineEvent]:
        """Stream the next scripted response."""
        del settings
        self.requests.append([dict(message) for message in messages])
        self.tools.append([dict(tool) for tool in tools])
        if not self._script:
            raise AssertionError("the scripted model got more requests than it has responses")
        step = self._script.pop(0)
        for piece in _pieces(step.text):
            yield TextDelta(piece)
            await asyncio.sleep(step.delay_seconds)
        if step.hang:
            await asyncio.Event().wait()
        if step.raises is not None:
            raise step.raises
        calls = tuple(self._call(name, arguments) for name, arguments in step.calls)
        reason = step.reason if step.reason is not None else ("tool_calls" if calls else "stop")
        yield Finished(reason, step.text, calls, step.usage, self.name)

    async def aclose(self) -> None:
        """Close the engine; it holds no resources."""

    def _call(self, name: str, arguments: Mapping[str, Any]) -> ToolCall:
        function = {"name": name, "arguments": dump(dict(arguments)).decode()}
        return {"id": f"call_{next(self._numbers)}", "type": "function", "function": function}


def _pieces(text: str) -> list[str]:
    return [piece for word in text.split(" ") for piece in (" ", word) if piece][1:] if text else []
