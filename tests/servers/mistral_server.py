"""A server that speaks Mistral's API, as its documentation has it, and answers as a script says.

https://docs.mistral.ai/api/#tag/chat: much like Chat Completions, with thinking as parts of the content, ids of calls
of nine letters and digits, and the counts in the last chunk beside its finish reason.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.servers.chat_server import ChatServer, Reply, chunk
from tests.servers.native import said_in_chat

MODEL = "magistral-medium-latest"
USAGE = {"prompt_tokens": 112, "completion_tokens": 42, "total_tokens": 154}
said = said_in_chat


def _end(finish: str, **delta: Any) -> dict[str, Any]:
    return {**chunk(finish, model=MODEL, **(delta or {"content": ""})), "usage": USAGE}


def _begin(thinking: Sequence[str]) -> list[Any]:
    first = chunk(model=MODEL, role="assistant", content="")
    thoughts = [{"type": "thinking", "thinking": [{"type": "text", "text": t}]} for t in thinking]
    return [first, *(chunk(model=MODEL, content=[thought]) for thought in thoughts)]


def answer(*texts: str, thinking: Sequence[str] = (), finish: str = "stop") -> Reply:
    """Answer with these pieces of text."""
    said = [chunk(model=MODEL, content=text) for text in texts]
    return Reply([*_begin(thinking), *said, _end(finish)])


def calls(*wanted: tuple[str, str], text: str = "", thinking: Sequence[str] = ()) -> Reply:
    """Call tools, given as (name, arguments in JSON); all calls come in the last chunk."""
    made = [
        {"index": index, "id": f"Ab3dE6gH{index}", "function": {"name": name, "arguments": given}}
        for index, (name, given) in enumerate(wanted)
    ]
    spoken = [chunk(model=MODEL, content=text)] if text else []
    return Reply([*_begin(thinking), *spoken, _end("tool_calls", content="", tool_calls=made)])


def partial(*parts: Any) -> Reply:
    """Begin to answer with these texts and other parts of a reply, and do not end."""
    begun = [chunk(model=MODEL, content=part) if isinstance(part, str) else part for part in parts]
    return Reply([*_begin(()), *begun], done=False)


def status(code: int, text: str = "it went wrong", **headers: str) -> Reply:
    """Refuse."""
    body = {"object": "error", "message": text, "type": "invalid_request", "code": "1"}
    if code == 401:
        body = {"detail": text}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=code, headers=named, body=json.dumps(body).encode())


class MistralServer(ChatServer):
    """The server."""

    def knows(self, path: str) -> bool:
        return path == "/v1/chat/completions"
