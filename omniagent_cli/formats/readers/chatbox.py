"""``chatbox``: the data export of Chatbox, an object with the list ``chat-sessions``, or newer one entry per session.

Source: https://github.com/chatboxai/chatbox, ``src/shared/types/session.ts``: a message has ``contentParts`` (text, image,
reasoning, tool-call) or, before, ``content``; ``threads`` are earlier parts of a session that the user set apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.records import (
    as_text,
    left_out,
    message,
    objects_of,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import ReaderItem


class Chatbox(ConversationReader):
    """Reader of a Chatbox export."""

    format_name = "chatbox"
    list_key = "chat-sessions"
    nested_keys = frozenset({"messages"})

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        source_id = text_of(raw.get("id"))
        for thread in (*objects_of(raw.get("threads")), raw):
            messages = objects_of(thread.get("messages"))
            first = next((one.get("timestamp") for one in messages if one.get("timestamp")), None)
            thread_id = source_id if thread is raw else f"{source_id}/{text_of(thread.get('id'))}"
            header = self._header(
                thread_id,
                title=text_of(thread.get("name")) or raw.get("name"),
                created=thread.get("createdAt") or first,
                pinned=raw.get("starred"),
            )
            records = (record for one in messages for record in _records(one))
            yield from self._thread(records, location, header)


def _records(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    role, at = text_of(raw.get("role")), raw.get("timestamp")
    if role not in ("system", "user", "assistant", "tool"):
        yield left_out("message of an unknown role")
        return
    texts: list[str] = []
    thinking: list[str] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for part in objects_of(raw.get("contentParts")):
        kind = part.get("type")
        if kind == "tool-call":
            call_id = text_of(part.get("toolCallId"))
            calls.append(tool_call(call_id, part.get("toolName"), part.get("args", {})))
            if part.get("result") is not None:
                results.append(
                    message("tool", as_text(part["result"]), at=at, tool_call_id=call_id)
                )
        elif kind == "reasoning":
            thinking.append(text_of(part.get("text")))
        elif kind == "image":
            texts.append(f"[image: {text_of(part.get('storageKey')) or 'unnamed'}]")
        else:
            texts.append(text_of(part.get("text")))
    texts = texts or [as_text(raw.get("content"))]
    names = [text_of(one.get("name")) or "unnamed" for one in objects_of(raw.get("files"))]
    text = "\n\n".join(filter(None, [*texts, *(f"[file: {name}]" for name in names)]))
    thought = "\n\n".join(filter(None, thinking)) or text_of(raw.get("reasoningContent"))
    if not (text or thought or calls):
        yield left_out(f"empty {role} message")
        return
    model = raw.get("model") if role == "assistant" else ""
    yield message(
        role, text, id_=raw.get("id"), at=at, model=model, thinking=thought, tool_calls=calls
    )
    yield from results
