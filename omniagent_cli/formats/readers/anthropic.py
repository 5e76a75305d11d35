"""``anthropic``: messages of Anthropic's Messages API: a list of them, or a request or ``{"messages": [...]}`` with them.

Content is text or blocks: text, thinking, tool_use, tool_result, image, document.
https://docs.claude.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_stream import JsonReader
from omniagent_cli.formats.key_paths import key_paths
from omniagent_cli.formats.readers.content_blocks import block_media, block_result, content_blocks
from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.records import (
    left_out,
    merge_parts,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import Omission, ReaderItem


class Anthropic(ConversationReader):
    """Reader of messages of Anthropic's API."""

    format_name = "anthropic"
    nested_keys = frozenset({"messages"})

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the conversations; a copy that Cline keeps beside its own transcript is left out."""
        path = source.path
        if path and path.name == "api_conversation_history.json" and path.with_name("ui_messages.json").exists():  # fmt: skip
            yield Omission("copy of ui_messages.json")
            return
        yield from super().read(source)

    def _document(self, reader: JsonReader) -> Iterator[ReaderItem]:
        if reader.peek() == "[" and "messages" not in key_paths(self._source.head().lstrip()):
            location = reader.location
            problems: list[Any] = []
            messages = self._list(reader, problems)
            yield from problems
            yield from self._conversation({"messages": messages}, location)
        else:
            yield from super()._document(reader)

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        name = Path(self._source.name)
        stem = name.parent.name if name.name == "api_conversation_history.json" else name.stem
        number = location.rpartition(":")[2]
        model = text_of(raw.get("model"))
        header = self._header(
            text_of(raw.get("id")) or (stem if number == "1" else f"{stem}-{number}"),
            title=raw.get("title") or raw.get("name"),
            created=raw.get("created_at"),
            model=f"anthropic:{model}" if model else "",
        )
        return self._thread(_records(raw, model), location, header)


def _records(raw: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
    system = raw.get("system")
    text = system if isinstance(system, str) else "\n".join(text_of(b.get("text")) for b in objects_of(system))  # fmt: skip
    if text.strip():
        yield message("system", text)
    for one in objects_of(raw.get("messages")):
        yield from _message(one, model)


def _message(raw: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
    role, at = text_of(raw.get("role")), raw.get("ts") or raw.get("created_at")
    if role not in ("system", "user", "assistant"):
        yield left_out("message of an unknown role")
        return
    parts: list[dict[str, Any]] = []
    thinking: list[str] = []
    calls: list[dict[str, Any]] = []
    results = 0
    for block in content_blocks(raw):
        kind = block.get("type")
        if kind == "text":
            parts.append({"type": "text", "text": text_of(block.get("text"))})
        elif kind == "thinking":
            thinking.append(text_of(block.get("thinking")))
        elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            calls.append(
                tool_call(block.get("id"), block.get("name"), object_of(block.get("input")))
            )
        elif kind in ("image", "document"):
            parts.append(block_media(block))
        elif text_of(kind).endswith("tool_result"):
            results += 1
            yield block_result(block, "", at)
    content, thought = merge_parts(parts), "\n\n".join(filter(None, thinking))
    if content or thought or calls:
        named = text_of(raw.get("model")) or model
        yield message(
            role, content, at=at, thinking=thought, tool_calls=calls,
            model=f"anthropic:{named}" if named and role == "assistant" else "",
        )  # fmt: skip
    elif not results:
        yield left_out(f"empty {role} message")
