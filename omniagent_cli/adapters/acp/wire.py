"""Message transport over lines; a malformed line is answered with an error and does not end the connection."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Protocol


class LineWriter(Protocol):
    """The output of a `LineTransport`."""

    async def write(self, text: str) -> None:
        """Write one line and wait until it is written."""
        ...


class LineTransport:
    """JSON-RPC messages, one per line; implements the transport interface of the ACP library.

    Args:
        lines: the lines of the client.
        out: receives the lines of the agent.
    """

    def __init__(self, lines: AsyncIterator[str], out: LineWriter) -> None:
        self._lines = lines
        self._out = out

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message.

        Raises:
            OSError: the client has closed the pipe.
        """
        await self._out.write(json.dumps(message, default=str) + "\n")

    async def receive(self) -> dict[str, Any] | None:
        """Return the next valid message; None at the end of input."""
        async for line in self._lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                await self._reject(None, -32700, "Parse error")
                continue
            if isinstance(message, dict) and _is_valid(message):
                return message
            own_id = message.get("id") if isinstance(message, dict) else None
            await self._reject(own_id, -32600, "Invalid request")
        return None

    async def close(self) -> None:
        """Do nothing: the streams belong to the caller."""

    async def _reject(self, request_id: Any, code: int, message: str) -> None:
        known = request_id if isinstance(request_id, str | int) else None
        await self.send(
            {"jsonrpc": "2.0", "id": known, "error": {"code": code, "message": message}}
        )


def _is_valid(message: dict[str, Any]) -> bool:
    """Return True for a request, a notification or a response that the library can process."""
    own_id = message.get("id")
    if own_id is not None and not isinstance(own_id, str | int):
        return False
    if "method" in message:
        return isinstance(message["method"], str)
    return isinstance(own_id, int) and (
        "result" in message or isinstance(message.get("error"), dict)
    )
