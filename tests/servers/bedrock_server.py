"""A server that speaks Amazon Bedrock's Converse API, as its documentation has it, and answers as a script says.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html: the events are in Amazon's
binary framing (https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html), each with two checksums.
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from tests.servers.chat_server import ChatServer, Reply, document
from tests.servers.native import halves

MODEL = "us.anthropic.claude-sonnet-4-6"
_PROFILES = "/inference-profiles"
USAGE = {
    "inputTokens": 5,
    "cacheReadInputTokens": 100,
    "cacheWriteInputTokens": 7,
    "outputTokens": 42,
    "totalTokens": 154,
}


def _string(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def event(kind: str, payload: Mapping[str, Any], *, message: str = "event") -> bytes:
    """Return one event in the binary framing."""
    names = {
        ":event-type" if message == "event" else ":exception-type": kind,
        ":content-type": "application/json",
        ":message-type": message,
    }
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + _string(value)
        for name, value in names.items()
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(head) + len(body), len(head))
    whole = prelude + struct.pack(">I", crc32(prelude)) + head + body
    return whole + struct.pack(">I", crc32(whole))


def delta(index: int, **what: Any) -> bytes:
    """Return a piece of a block."""
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": what})


def stop(index: int) -> bytes:
    """End a block."""
    return event("contentBlockStop", {"contentBlockIndex": index})


def thinking_block(index: int, signature: str, *texts: str) -> list[bytes]:
    """Think, and sign it."""
    pieces = [delta(index, reasoningContent={"text": text}) for text in texts]
    return [*pieces, delta(index, reasoningContent={"signature": signature}), stop(index)]


def redacted_block(index: int, data: bytes) -> list[bytes]:
    """Think what nobody may read."""
    content = {"redactedContent": b64encode(data).decode()}
    return [delta(index, reasoningContent=content), stop(index)]


def _message(events: Sequence[bytes], reason: str) -> Reply:
    first = event("messageStart", {"role": "assistant"})
    last = event("messageStop", {"stopReason": reason})
    counts = event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 5}})
    return Reply([first, *events, last, counts], done=False)


def answer(*texts: str, thinking: Sequence[str] = (), finish: str = "stop") -> Reply:
    """Answer with these pieces of text."""
    reasons = {"stop": "end_turn", "length": "max_tokens", "content_filter": "content_filtered"}
    events = thinking_block(0, "SIGNED", *thinking) if thinking else []
    index = 1 if thinking else 0
    events += [*(delta(index, text=text) for text in texts), stop(index)]
    return _message(events, reasons[finish])


def calls(*wanted: tuple[str, str], text: str = "", thinking: Sequence[str] = ()) -> Reply:
    """Call tools, given as (name, arguments in JSON)."""
    events = thinking_block(0, "SIGNED", *thinking) if thinking else []
    index = 1 if thinking else 0
    if text:
        events += [delta(index, text=text), stop(index)]
        index += 1
    for number, (name, arguments) in enumerate(wanted, index):
        start = {"toolUse": {"toolUseId": f"tooluse_{number}", "name": name}}
        events.append(event("contentBlockStart", {"contentBlockIndex": number, "start": start}))
        events += [delta(number, toolUse={"input": piece}) for piece in halves(arguments)]
        events.append(stop(number))
    return _message(events, "tool_use")


def partial(*parts: Any) -> Reply:
    """Begin to answer with these texts and other parts of a reply, and do not end."""
    begun = [delta(0, text=part) if isinstance(part, str) else part for part in parts]
    return Reply([event("messageStart", {"role": "assistant"}), *begun], done=False)


def status(code: int, text: str = "it went wrong", **headers: str) -> Reply:
    """Refuse."""
    kinds = {400: "ValidationException", 403: "AccessDeniedException", 429: "ThrottlingException"}
    kinds |= {404: "ResourceNotFoundException", 503: "ServiceUnavailableException"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named["x-amzn-ErrorType"] = kinds.get(code, "InternalServerException")
    return Reply(status=code, headers=named, body=json.dumps({"message": text}).encode())


def said(body: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Return the messages of a request: who, and what in the protocol's own words."""
    return [(message["role"], message["content"]) for message in body["messages"]]


class BedrockServer(ChatServer):
    """The server; its list of models, which is another service's, too."""

    stream_type = "application/vnd.amazon.eventstream"

    def knows(self, path: str) -> bool:
        return path.endswith("/converse-stream") or path in ("/foundation-models", _PROFILES)

    def streams(self, request: Any) -> bool:
        return True

    def reply_to(self, request: Any) -> Reply:
        if request.method == "GET":
            if self.models_reply:
                return self.models_reply
            listing: dict[str, Any] = {
                "modelSummaries": [{"modelId": name, "modelName": name} for name in self.models]
            }
            if request.path.startswith(_PROFILES):
                profiles = [{"inferenceProfileId": f"us.{name}"} for name in self.models]
                listing = {"inferenceProfileSummaries": profiles}
            return document(json.dumps(listing).encode(), "application/json")
        return super().reply_to(request)

    def echo(self, body: Any) -> Reply:
        return answer("You said something.")
