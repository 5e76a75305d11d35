"""A server that speaks Groq's API, as its documentation has it, and answers as a script says.

https://console.groq.com/docs/api-reference#chat-create: Chat Completions under ``/openai/v1``, with thinking in
``reasoning`` and the counts in ``x_groq`` of the last chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.servers.chat_server import ChatServer, Reply, chunk, status
from tests.servers.native import halves, said_in_chat

__all__ = ["GroqServer", "answer", "calls", "partial", "said", "status"]

MODEL = "openai/gpt-oss-120b"
USAGE = {
    "prompt_tokens": 112,
    "completion_tokens": 42,
    "total_tokens": 154,
    "queue_time": 0.01,
    "total_time": 0.2,
}
said = said_in_chat


def _end(finish: str) -> dict[str, Any]:
    return {**chunk(finish, model=MODEL), "x_groq": {"id": "req_1", "usage": USAGE}}


def _begin(thinking: Sequence[str]) -> list[Any]:
    first = {**chunk(model=MODEL, role="assistant", content=""), "x_groq": {"id": "req_1"}}
    return [first, *(chunk(model=MODEL, reasoning=text) for text in thinking)]


def answer(*texts: str, thinking: Sequence[str] = (), finish: str = "stop") -> Reply:
    """Answer with these pieces of text."""
    said = [chunk(model=MODEL, content=text) for text in texts]
    return Reply([*_begin(thinking), *said, _end(finish)])


def calls(*wanted: tuple[str, str], text: str = "", thinking: Sequence[str] = ()) -> Reply:
    """Call tools, given as (name, arguments in JSON)."""
    parts = _begin(thinking) + ([chunk(model=MODEL, content=text)] if text else [])
    for index, (name, arguments) in enumerate(wanted):
        first, second = halves(arguments)
        head = {"index": index, "id": f"call_{index}", "type": "function"}
        head["function"] = {"name": name, "arguments": first}
        tail = {"index": index, "function": {"arguments": second}}
        parts += [chunk(model=MODEL, tool_calls=[head]), chunk(model=MODEL, tool_calls=[tail])]
    return Reply([*parts, _end("tool_calls")])


def partial(*parts: Any) -> Reply:
    """Begin to answer with these texts and other parts of a reply, and do not end."""
    begun = [chunk(model=MODEL, content=part) if isinstance(part, str) else part for part in parts]
    return Reply([*_begin(()), *begun], done=False)


class GroqServer(ChatServer):
    """The server."""

    def knows(self, path: str) -> bool:
        return path == "/openai/v1/chat/completions"
