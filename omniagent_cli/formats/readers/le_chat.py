"""``le-chat``: chats of a Mistral Le Chat account export, one JSON list of messages per chat.

Times and ids are those of the messages; ``contentChunks`` holds text, references and files when the plain ``content``
is not all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import list_entries, until_damage
from omniagent_cli.formats.json_stream import JsonReader
from omniagent_cli.formats.readers.citations import markdown_link
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import (
    left_out,
    message,
    objects_of,
    session_header,
    text_of,
)
from omniagent_cli.formats.types import MessageEntry, ReaderItem


class LeChat:
    """Reader of one chat per file."""

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the chat."""
        reader = JsonReader(source)
        chat_id, first_at, last_at, last = "", None, None, None
        with MessageTree() as tree:
            for entry in until_damage(reader, list_entries(reader)):
                if not isinstance(entry, MessageEntry):
                    yield entry  # type: ignore[misc]  # a list has no other entries than problems
                    continue
                raw = entry.record if isinstance(entry.record, dict) else {}
                chat_id = chat_id or text_of(raw.get("chatId"))
                first_at, last_at = (
                    first_at or raw.get("createdAt"),
                    raw.get("createdAt") or last_at,
                )
                node_id = text_of(raw.get("id")) or f"message-{len(tree)}"
                tree.add(node_id, last, entry.location, [_record(raw, node_id)])
                last = node_id

            def header(branch: str) -> dict[str, Any]:
                return session_header(
                    "le-chat",
                    chat_id or source.name,
                    created=first_at,
                    updated=last_at,
                    branch=branch,
                )

            yield from session_threads(tree, last, source.name, header, branches=False)


def _record(raw: dict[str, Any], node_id: str) -> dict[str, Any]:
    role = text_of(raw.get("role"))
    if role not in ("system", "user", "assistant"):
        return left_out("message of an unknown role")
    chunks = objects_of(raw.get("contentChunks"))
    text = text_of(raw.get("content")) or "\n".join(filter(None, map(_chunk_text, chunks)))
    names = [text_of(one.get("name")) or "unnamed" for one in objects_of(raw.get("files"))]
    text = "\n".join(filter(None, [text, *(f"[file: {name}]" for name in names)]))
    if not text:
        return left_out(f"empty {role} message")
    model = text_of(raw.get("model"))
    return message(
        role, text, id_=node_id, at=raw.get("createdAt"),
        model=f"mistral:{model}" if model and role == "assistant" else "",
    )  # fmt: skip


def _chunk_text(chunk: dict[str, Any]) -> str:
    if chunk.get("type") == "text":
        return text_of(chunk.get("text"))
    return markdown_link(chunk.get("title") or chunk.get("type"), chunk.get("url"))
