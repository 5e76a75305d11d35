"""``le-chat``: chats of a Mistral Le Chat account export, one JSON list of messages per chat.

Times and ids are those of the messages, whose order in the file is arbitrary; ``contentChunks`` holds text, tool calls and references
when the plain ``content`` is not all. Source: the types of the importer
https://github.com/Superkikim/nexus-ai-chat-importer (``src/providers/lechat``), written for real exports.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import list_entries, until_damage
from omniagent_cli.formats.json_stream import JsonReader
from omniagent_cli.formats.readers.answer_steps import AnswerSteps
from omniagent_cli.formats.readers.citations import markdown_link
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import (
    as_text,
    left_out,
    objects_of,
    session_header,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import MessageEntry, ReaderItem


class LeChat:
    """Reader of one chat per file."""

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the chat."""
        reader = JsonReader(source)
        chat_id, at, last = "", "", None
        times: dict[int, str] = {}
        with MessageTree() as tree:
            for entry in until_damage(reader, list_entries(reader)):
                if not isinstance(entry, MessageEntry):
                    yield entry  # type: ignore[misc]  # a list has no other entries than problems
                    continue
                raw = entry.record if isinstance(entry.record, dict) else {}
                chat_id = chat_id or text_of(raw.get("chatId"))
                at = text_of(raw.get("createdAt")) or at
                node_id = text_of(raw.get("id")) or f"message-{len(tree)}"
                tree.add(node_id, last, entry.location, _records(raw, node_id))
                times[tree.number_of(node_id)] = at
                last = node_id

            def header(branch: str) -> dict[str, Any]:
                return session_header(
                    "le-chat",
                    chat_id or source.name,
                    created=min(times.values(), default=""),
                    updated=max(times.values(), default=""),
                    branch=branch,
                )

            def in_time_order(thread: array[int]) -> array[int]:
                return array("q", sorted(thread, key=times.__getitem__))

            yield from session_threads(
                tree, last, source.name, header, branches=False, complete=in_time_order
            )


def _records(raw: dict[str, Any], node_id: str) -> list[dict[str, Any]]:
    role = text_of(raw.get("role"))
    if role not in ("system", "user", "assistant"):
        return [left_out("message of an unknown role")]
    steps, content = AnswerSteps(), text_of(raw.get("content"))
    chunks = objects_of(raw.get("contentChunks"))
    # The content repeats the texts between the calls, which only the chunks place.
    has_calls = any(one.get("type") == "tool_call" for one in chunks)
    if content and not (has_calls and any(text_of(one.get("text")) for one in chunks)):
        steps.add_part({"type": "text", "text": content})
        chunks = [one for one in chunks if one.get("type") == "tool_call"]
    for chunk in chunks:
        if chunk.get("type") != "tool_call":
            steps.add_part({"type": "text", "text": _chunk_text(chunk)})
            continue
        call = tool_call(chunk.get("id"), chunk.get("name"), chunk.get("publicArguments") or {})
        result = chunk.get("publicResult")
        steps.add_call(call, None if result is None else as_text(result), failed=chunk.get("success") is False)  # fmt: skip
    for one in objects_of(raw.get("files")):
        steps.add_part({"type": "text", "text": f"[file: {text_of(one.get('name')) or 'unnamed'}]"})
    model = text_of(raw.get("model"))
    named = f"mistral:{model}" if model and role == "assistant" else ""
    records = list(steps.records(role, node_id, raw.get("createdAt"), model=named))
    return records or [left_out(f"empty {role} message")]


def _chunk_text(chunk: dict[str, Any]) -> str:
    """Return text, or the link of a reference; a reference that only has numbers has no text."""
    if chunk.get("type") == "text":
        return text_of(chunk.get("text"))
    return markdown_link(chunk.get("title"), chunk.get("url"))
