"""``claude-code`` export: a transcript that ``claude --resume ID`` continues.

The file belongs in ``~/.claude/projects/DIRECTORY/``, under the name of `file_name`; DIRECTORY is the working directory
with ``-`` for each character that is not a letter or digit. Follows transcripts of Claude Code 2.1; tried with 2.1.197.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from omniagent_cli.formats.interchange.call_order import in_call_order
from omniagent_cli.formats.readers.records import object_of, text_of
from omniagent_cli.formats.types import OutgoingSession
from omniagent_cli.formats.writers.transcript_ids import (
    bare_model,
    message_uuid,
    session_uuid,
    working_directory,
)
from omniagent_cli.json_format import dump
from omniagent_cli.models import content_text, inlined

_VERSION = "2.1.0"


class ClaudeCodeTranscript:
    """Transcript of one session."""

    def file_name(self, header: dict[str, Any]) -> str:
        """Return the name by which Claude Code finds the session."""
        return f"{session_uuid(header, 'claude-code')}.jsonl"

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield one line per message; system messages and unsigned thinking are not part of a transcript."""
        for session in sessions:
            yield from (dump(line) + b"\n" for line in _lines(session))


def _lines(session: OutgoingSession) -> Iterator[dict[str, Any]]:
    header = session.header
    session_id = session_uuid(header, "claude-code")
    common = {
        "isSidechain": False,
        "userType": "external",
        "cwd": working_directory(header),
        "sessionId": session_id,
        "version": _VERSION,
        "gitBranch": "",
    }
    parent: str | None = None
    for number, message in enumerate(in_call_order(session.messages)):
        body = _body(message, session, number)
        if body is None:
            continue
        uuid = message_uuid(session_id, number, text_of(message.get("id")))
        at = message.get("created_at", header["created_at"])
        kind = "assistant" if message["role"] == "assistant" else "user"
        yield {"parentUuid": parent, **common, "type": kind, "message": body, "uuid": uuid, "timestamp": at}  # fmt: skip
        parent = uuid
    if title := header.get("title"):
        yield {"type": "custom-title", "customTitle": title, "sessionId": session_id}


def _body(message: dict[str, Any], session: OutgoingSession, number: int) -> dict[str, Any] | None:
    role = message["role"]
    if role == "tool":
        result = {
            "type": "tool_result",
            "tool_use_id": message["tool_call_id"],
            "content": content_text(message.get("content") or ""),
            "is_error": object_of(message.get("extra")).get("failed") is True,
        }
        return {"role": "user", "content": [result]}
    blocks = list(_blocks(message, session))
    if role == "user":
        content = message.get("content") or ""
        return {"role": "user", "content": content if isinstance(content, str) else blocks}
    if role != "assistant":
        return None
    calls = message.get("tool_calls") or ()
    blocks += [
        {
            "type": "tool_use",
            "id": call["id"],
            "name": call["function"]["name"],
            "input": _input(call),
        }
        for call in calls
    ]
    usage = object_of(message.get("usage"))
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": bare_model(message.get("model")) or "unknown",
        "content": blocks or [{"type": "text", "text": "(empty answer)"}],
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": {key: usage.get(key, 0) for key in ("input_tokens", "output_tokens")},
    }


def _blocks(message: dict[str, Any], session: OutgoingSession) -> Iterator[dict[str, Any]]:
    content = message.get("content") or ""
    if isinstance(content, str):
        if content:
            yield {"type": "text", "text": content}
        return
    content, _ = inlined(content, session.attachment or (lambda _: None), why="left out of this export")  # fmt: skip
    for part in content:
        url = text_of(object_of(object_of(part).get("image_url")).get("url"))
        prefix, found, data = url.partition(";base64,")
        if found and prefix.startswith("data:"):
            media_type = prefix.removeprefix("data:")
            source = {"type": "base64", "media_type": media_type, "data": data}
            yield {"type": "image", "source": source}
        elif isinstance(part, dict) and (text := content_text([part])):
            yield {"type": "text", "text": text}


def _input(call: dict[str, Any]) -> dict[str, Any]:
    try:
        return object_of(json.loads(call["function"].get("arguments") or "{}"))
    except (ValueError, RecursionError):
        return {"input": call["function"]["arguments"]}
