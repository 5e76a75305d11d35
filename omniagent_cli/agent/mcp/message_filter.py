"""What passes between a server and the SDK, checked on the way.

One tool that breaks the protocol makes the SDK refuse all of them; and a result schema of the server's choosing
would be run against its own results, where a hostile pattern takes for ever.
"""

from __future__ import annotations

import json
from typing import Any, Self

from mcp.types import JSONRPCError, JSONRPCRequest, JSONRPCResponse

from omniagent_cli.agent.mcp.server_log import ServerLog
from omniagent_cli.text.sanitize import cut, one_line, visible

MAX_SCHEMA_CHARACTERS = 64 * 1024
MAX_DESCRIPTION_CHARACTERS = 8 * 1024

MAX_PENDING_REQUESTS = 32
"""So many questions of a server may wait for their answer; more are not heard."""


class MessageFilter:
    """The messages from a server, with each list of tools reduced to what is right, and only so many of its questions.

    A server that asks and does not read the answers would otherwise make us keep them.

    Args:
        inner: the transport's stream of what arrives.
        log: hears what was left out.
    """

    def __init__(self, inner: Any, log: ServerLog) -> None:
        self._inner = inner
        self._log = log
        self._pending_requests = 0

    @property
    def last_context(self) -> Any:
        """What the SDK's HTTP transport hands over beside a message."""
        return getattr(self._inner, "last_context", None)

    def note_response(self) -> None:
        """Note that an answer to a question of the server has left."""
        self._pending_requests = max(0, self._pending_requests - 1)

    async def receive(self) -> Any:
        """Return the next message."""
        while not self._accept(item := await self._inner.receive()):
            pass
        return item

    async def aclose(self) -> None:
        """Close the stream."""
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._accept(item := await self._inner.__anext__()):
            pass
        return item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _accept(self, item: Any) -> bool:
        message = getattr(item, "message", None)
        if isinstance(message, JSONRPCRequest):
            if self._pending_requests >= MAX_PENDING_REQUESTS:
                return False
            self._pending_requests += 1
        elif isinstance(message, JSONRPCResponse) and isinstance(message.result.get("tools"), list):
            checked = (self._tool(raw) for raw in message.result["tools"])
            message.result["tools"] = [tool for tool in checked if tool is not None]
        return True

    def _tool(self, raw: Any) -> dict[str, Any] | None:
        try:
            return _tool(raw)
        except ValueError as error:
            name = raw.get("name") if isinstance(raw, dict) else None
            shown = cut(one_line(name), 60) if isinstance(name, str) else "a tool without a name"
            note = f"{shown}: {error}"
            if note not in self._log.excluded and len(self._log.excluded) < 20:
                self._log.excluded.append(note)
            return None


class ResponseTracker:
    """The messages to a server; tells the message_filter which of its questions are note_response.

    Args:
        inner: the transport's stream of what leaves.
        message_filter: of the same server.
    """

    def __init__(self, inner: Any, message_filter: MessageFilter) -> None:
        self._inner = inner
        self._filter = message_filter

    async def send(self, item: Any) -> None:
        """Send a message."""
        await self._inner.send(item)
        if isinstance(item.message, JSONRPCResponse | JSONRPCError):
            self._filter.note_response()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


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
