"""Answers whose parts mix text, thinking, tool calls and their results, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from omniagent_cli.formats.readers.records import merge_parts, message


@dataclass
class _Step:
    parts: list[dict[str, Any]] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)


class AnswerSteps:
    """Builder of the messages of an answer: what follows a tool call is a message of its own."""

    def __init__(self) -> None:
        self._steps = [_Step()]

    def add_part(self, part: dict[str, Any]) -> None:
        """Add a content part; an empty text is ignored."""
        if part.get("text") != "":
            self._open_step().parts.append(part)

    def add_thinking(self, text: str) -> None:
        """Add thinking; an empty one is ignored."""
        if text:
            self._open_step().thinking.append(text)

    def add_call(self, call: dict[str, Any], output: str | None, *, failed: bool = False) -> None:
        """Add a tool call; `output` is None if it has no result."""
        step = self._steps[-1]
        step.calls.append(call)
        if output is not None:
            name = call["function"]["name"]
            step.results.append(
                message("tool", output, tool_call_id=call["id"], name=name, failed=failed)
            )

    def _open_step(self) -> _Step:
        if self._steps[-1].calls:
            self._steps.append(_Step())
        return self._steps[-1]

    def records(
        self, role: str, id_: str, at: Any, *, model: str = "", status: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Yield the messages of the steps, each with the results of its calls; nothing for an empty answer.

        Args:
            role: role of the messages.
            id_: id of the first message, or empty.
            at: time of the messages.
            model: model of the messages.
            status: status of the last message.
        """
        for number, step in enumerate(self._steps):
            content, thinking = merge_parts(step.parts), "\n\n".join(step.thinking)
            if content or thinking or step.calls:
                yield message(
                    role, content, id_=f"{id_}-{number}" if id_ and number else id_, at=at, model=model, thinking=thinking,
                    tool_calls=step.calls, status=status if step is self._steps[-1] else "",
                )  # fmt: skip
                yield from step.results
