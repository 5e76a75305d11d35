"""``codex`` export: a rollout file that ``codex resume`` and ``codex exec resume`` continue.

The file belongs in ``~/.codex/sessions/YYYY/MM/DD/``, under the name of `file_name`. Messages are items of the Responses
API, repeated as events for display. Source: https://github.com/openai/codex (``codex-rs/protocol/src/protocol.rs``);
tried with codex-cli 0.171.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from omniagent_cli.formats.interchange.call_order import in_call_order
from omniagent_cli.formats.types import OutgoingSession
from omniagent_cli.formats.writers.transcript_ids import (
    bare_model,
    session_uuid,
    working_directory,
)
from omniagent_cli.json_format import dump
from omniagent_cli.models import content_text, inlined, plain_text


class CodexRollout:
    """Rollout of one session."""

    def file_name(self, header: dict[str, Any]) -> str:
        """Return the name by which Codex finds the session."""
        at = header["created_at"][:19].replace(":", "-")
        return f"rollout-{at}-{session_uuid(header, 'codex')}.jsonl"

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield one line per item; system messages are not part of a rollout."""
        for session in sessions:
            yield from (dump(line) + b"\n" for line in _lines(session))


def _lines(session: OutgoingSession) -> Iterator[dict[str, Any]]:
    header = session.header
    started = header["created_at"]
    directory = working_directory(header)
    meta = {
        "id": session_uuid(header, "codex"),
        "timestamp": started,
        "cwd": directory,
        "originator": "codex_cli_rs",
        "cli_version": "0.0.0",
        "source": "cli",
    }
    yield {"timestamp": started, "type": "session_meta", "payload": meta}
    if title := header.get("title"):
        named = {"type": "thread_name_updated", "thread_id": meta["id"], "thread_name": title}
        yield {"timestamp": started, "type": "event_msg", "payload": named}
    model = ""
    for message in in_call_order(session.messages):
        at = message.get("created_at", started)
        used = bare_model(message.get("model"))
        if used and used != model:
            model = used
            context = {"cwd": directory, "model": model, "approval_policy": "on-request", "sandbox_policy": {"type": "read-only"}, "summary": "auto"}  # fmt: skip
            yield {"timestamp": at, "type": "turn_context", "payload": context}
        for kind, payload in _payloads(message, session):
            yield {"timestamp": at, "type": kind, "payload": payload}


def _payloads(
    message: dict[str, Any], session: OutgoingSession
) -> Iterator[tuple[str, dict[str, Any]]]:
    role, text = message["role"], plain_text(message.get("content") or "")
    if role == "user":
        yield "response_item", {"type": "message", "role": "user", "content": _input_parts(message, session)}  # fmt: skip
        yield "event_msg", {"type": "user_message", "message": text, "images": []}
    elif role == "assistant":
        if text:
            content = [{"type": "output_text", "text": text}]
            yield "response_item", {"type": "message", "role": "assistant", "content": content}
            yield "event_msg", {"type": "agent_message", "message": text}
        for call in message.get("tool_calls") or ():
            function = {key: call["function"].get(key) or "" for key in ("name", "arguments")}
            yield "response_item", {"type": "function_call", "call_id": call["id"], **function}
    elif role == "tool":
        output = content_text(message.get("content") or "")
        yield "response_item", {"type": "function_call_output", "call_id": message["tool_call_id"], "output": output}  # fmt: skip


def _input_parts(message: dict[str, Any], session: OutgoingSession) -> list[dict[str, Any]]:
    content = message.get("content") or ""
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}]
    content, _ = inlined(content, session.attachment or (lambda _: None), why="left out of this export")  # fmt: skip
    return [
        {"type": "input_image", "image_url": part["image_url"]["url"]}
        if part.get("type") == "image_url"
        else {"type": "input_text", "text": content_text([part])}
        for part in content
        if isinstance(part, dict)
    ]
