"""What a tool of a server answered, as text for a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from omniagent_cli.json_format import dump
from omniagent_cli.text.sanitize import one_line, visible

if TYPE_CHECKING:
    from mcp.types import CallToolResult


def result_text(result: CallToolResult) -> str:
    """Return the texts one after the other, what is no text by its kind and size, and structured data as JSON.

    Servers say structured data in text as well, for clients that cannot read it; it is not said twice.
    """
    parts = [_block_text(block) for block in result.content]
    data = result.structured_content
    if data is not None and not any(_contains_data(part, data) for part in parts):
        parts.append(dump(data).decode())
    return "\n".join(visible(part) for part in parts)


def _contains_data(text: str, data: Any) -> bool:
    """Tell whether a text says all there is in structured data, which servers wrap when it is one value."""
    value = next(iter(data.values())) if isinstance(data, dict) and len(data) == 1 else data
    if text == value:
        return True
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return bool(said in (data, value))


def _block_text(block: Any) -> str:
    """Return text as it is, and of anything else what it is."""
    if block.type == "text":
        return str(block.text)
    if block.type == "resource":
        resource = block.resource
        if (text := getattr(resource, "text", None)) is not None:
            return f"{one_line(str(resource.uri))}:\n{text}"
        return _placeholder("file", resource.mime_type, resource.blob, str(resource.uri))
    if block.type == "resource_link":
        size = f", {block.size} bytes" if block.size is not None else ""
        return f"[link to {one_line(str(block.uri))}{size}]"
    return _placeholder(block.type, block.mime_type, block.data)


def _placeholder(kind: str, mime_type: str | None, encoded: str, name: str = "") -> str:
    size = len(encoded) * 3 // 4 - encoded[-2:].count("=")
    told = [kind, one_line(name), one_line(mime_type or "of unknown type") + ",", f"{size} bytes"]
    return f"[{' '.join(word for word in told if word)}: not text, so it is not shown]"
