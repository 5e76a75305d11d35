"""A server that speaks Google's Gemini API, as its documentation has it, and answers as a script says.

https://ai.google.dev/api/generate-content: ``streamGenerateContent`` with ``alt=sse`` sends whole responses, each with
the next parts; thoughts are parts marked so, calls come whole, and signatures stand on parts.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from tests.servers.chat_server import ChatServer, Reply

MODEL = "gemini-3.8-flash"
USAGE = {
    "promptTokenCount": 112,
    "cachedContentTokenCount": 100,
    "candidatesTokenCount": 38,
    "thoughtsTokenCount": 4,
    "totalTokenCount": 154,
}
SIGNATURE = b64encode(b"SIGNED").decode()


def piece(*parts: Mapping[str, Any], finish: str = "", **more: Any) -> dict[str, Any]:
    """Make one response of a stream."""
    candidate: dict[str, Any] = {"index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": [dict(part) for part in parts]}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": MODEL, "responseId": "r1", **more}


def answer(*texts: str, thinking: Sequence[str] = (), finish: str = "stop") -> Reply:
    """Answer with these pieces of text."""
    reasons = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
    thoughts = [piece({"text": text, "thought": True}) for text in thinking]
    said = [piece({"text": text}) for text in texts]
    signed = [piece({"text": "", "thoughtSignature": SIGNATURE})] if thinking else []
    last = piece(finish=reasons[finish], usageMetadata=USAGE)
    return Reply([*thoughts, *said, *signed, last], done=False)


def calls(*wanted: tuple[str, str], text: str = "", thinking: Sequence[str] = ()) -> Reply:
    """Call tools, given as (name, arguments in JSON); the first call is signed."""
    pieces = [piece({"text": thought, "thought": True}) for thought in thinking]
    pieces += [piece({"text": text})] if text else []
    for index, (name, arguments) in enumerate(wanted):
        call = {"functionCall": {"name": name, "args": json.loads(arguments)}}
        pieces.append(piece(call if index else {**call, "thoughtSignature": SIGNATURE}))
    return Reply([*pieces, piece(finish="STOP", usageMetadata=USAGE)], done=False)


def partial(*parts: Any) -> Reply:
    """Begin to answer with these texts and other parts of a reply, and do not end."""
    begun = [piece({"text": part}) if isinstance(part, str) else part for part in parts]
    return Reply(begun, done=False)


def status(code: int, text: str = "it went wrong", **headers: str) -> Reply:
    """Refuse."""
    names = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
    names |= {404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
    body = {"error": {"code": code, "message": text, "status": names.get(code, "INTERNAL")}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=code, headers=named, body=json.dumps(body).encode())


def said(body: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Return the messages of a request: who, and what in the protocol's own words."""
    return [(content["role"], content["parts"]) for content in body["contents"]]


class GoogleServer(ChatServer):
    """The server."""

    def knows(self, path: str) -> bool:
        return path.startswith("/v1beta/models/") and path.endswith(":streamGenerateContent")

    def streams(self, request: Any) -> bool:
        return "alt=sse" in request.path

    def frame(self, event: Any) -> bytes:
        return f"data: {json.dumps(event)}\r\n\r\n".encode()

    def echo(self, body: Any) -> Reply:
        return answer("You said something.")
