"""Validation of the messages between a server and the SDK.

The SDK rejects a whole list of tools if one of them violates the protocol, and it validates results against the
server's own result schema, in which a hostile pattern can run forever.
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
"""The maximum number of unanswered requests of a server; more are dropped."""


class MessageFilter:
    """The messages from a server: lists of tools are reduced to the valid ones, and pending requests are limited.

    A server that sends requests and does not read the responses would otherwise fill the memory.

    Args:
        inner: the transport's stream of incoming messages.
        log: records the tools that were excluded.
    """

    def __init__(self, inner: Any, log: ServerLog) -> None:
        self._inner = inner
        self._log = log
        self._pending_requests = 0

    @property
    def last_context(self) -> Any:
        """The context that the SDK's HTTP transport attaches to a message."""
        return getattr(self._inner, "last_context", None)

    def note_response(self) -> None:
        """Record that a request of the server was answered."""
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
    """The messages to a server; reports responses to the filter.

    Args:
        inner: the transport's stream of outgoing messages.
        message_filter: the filter of the same server.
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
    """Return the fields of a tool that are used, each validated.

    Raises:
        ValueError: the tool cannot be offered; gives the reason.
    """
    if not isinstance(raw, dict):
        raise ValueError("not an object")  # noqa: TRY004  # the server's mistake, not the caller's
    name, description, hints = raw.get("name"), raw.get("description"), raw.get("annotations")
    if not isinstance(name, str) or not name:
        raise ValueError("no name")
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
        raise ValueError("the input schema is not an object")
    if not isinstance(raw.get("properties", {}), dict):
        raise ValueError("the properties are not an object")  # noqa: TRY004  # the server's mistake, not the caller's
    required = raw.get("required", [])
    if not isinstance(required, list) or not all(isinstance(key, str) for key in required):
        raise ValueError("required is not a list of names")
    try:
        length = len(json.dumps(raw))
        cleaned: dict[str, Any] = _visible(raw)
    except RecursionError:
        raise ValueError("the schema is nested too deeply") from None
    if length > MAX_SCHEMA_CHARACTERS:
        raise ValueError(
            f"the schema is too long: {length} characters, at most {MAX_SCHEMA_CHARACTERS}"
        )
    return {"type": "object", "properties": {}, **cleaned}


def _visible(value: Any) -> Any:
    """Sanitize the text of a schema, which models read and logs show."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _visible(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_visible(item) for item in value]
    return value
