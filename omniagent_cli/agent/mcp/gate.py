"""What a server says of its tools, checked before the SDK reads it.

One tool that breaks the protocol makes the SDK refuse all of them; and a result schema of the server's choosing
would be run against its own results, where a hostile pattern takes for ever.
"""

from __future__ import annotations

import json
from typing import Any, Self

from omniagent_cli.agent.mcp.diary import Diary
from omniagent_cli.text import cut, one_line, visible

MAX_SCHEMA_CHARACTERS = 64 * 1024
MAX_DESCRIPTION_CHARACTERS = 8 * 1024


class Gate:
    """A stream of messages from a server, with each list of tools reduced to what is right.

    Args:
        inner: the transport's.
        diary: hears what was left out.
    """

    def __init__(self, inner: Any, diary: Diary) -> None:
        self._inner = inner
        self._diary = diary

    @property
    def last_context(self) -> Any:
        """What the SDK's HTTP transport hands over beside a message."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        """Return the next message."""
        return self._checked(await self._inner.receive())

    async def aclose(self) -> None:
        """Close the stream."""
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return self._checked(await self._inner.__anext__())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _checked(self, item: Any) -> Any:
        result = getattr(getattr(item, "message", None), "result", None)
        if isinstance(result, dict) and isinstance(result.get("tools"), list):
            result["tools"] = [
                tool for raw in result["tools"] if (tool := self._tool(raw)) is not None
            ]
        return item

    def _tool(self, raw: Any) -> dict[str, Any] | None:
        try:
            return _tool(raw)
        except ValueError as error:
            name = raw.get("name") if isinstance(raw, dict) else None
            shown = cut(one_line(name), 60) if isinstance(name, str) else "a tool without a name"
            note = f"{shown}: {error}"
            if note not in self._diary.left_out and len(self._diary.left_out) < 20:
                self._diary.left_out.append(note)
            return None


def _tool(raw: Any) -> dict[str, Any]:
    """Return the parts of a tool that are used, each of its type.

    Raises:
        ValueError: it cannot be offered; the text says why.
    """
    if not isinstance(raw, dict):
        raise ValueError("it is no object")  # noqa: TRY004  # a server's mistake, not a caller's
    name, description, hints = raw.get("name"), raw.get("description"), raw.get("annotations")
    if not isinstance(name, str) or not name:
        raise ValueError("it has no name")
    schema = _schema(raw.get("inputSchema"))
    tool: dict[str, Any] = {"name": name, "inputSchema": schema}
    if isinstance(description, str):
        tool["description"] = cut(visible(description), MAX_DESCRIPTION_CHARACTERS)
    if isinstance(hints, dict):
        names = ("readOnlyHint", "destructiveHint")
        tool["annotations"] = {
            hint: hints[hint] for hint in names if hints.get(hint) in (True, False)
        }
    return tool


def _schema(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict) or raw.get("type", "object") != "object":
        raise ValueError("its arguments are no object")
    if not isinstance(raw.get("properties", {}), dict):
        raise ValueError("its properties are no object")  # noqa: TRY004  # as above
    required = raw.get("required", [])
    if not isinstance(required, list) or not all(isinstance(key, str) for key in required):
        raise ValueError("its required arguments are no list of names")
    try:
        length = len(json.dumps(raw))
        cleaned: dict[str, Any] = _visible(raw)
    except RecursionError:
        raise ValueError("its schema is nested too deeply") from None
    if length > MAX_SCHEMA_CHARACTERS:
        raise ValueError(f"its schema has {length} characters, more than {MAX_SCHEMA_CHARACTERS}")
    return {"type": "object", "properties": {}, **cleaned}


def _visible(value: Any) -> Any:
    """Clean the texts of a schema; a model reads them, and a log may show them."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _visible(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_visible(item) for item in value]
    return value
