"""Results of a server's tools, as text for a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from omniagent_cli.json_format import dump
from omniagent_cli.text.sanitize import one_line, visible

if TYPE_CHECKING:
    from mcp.types import CallToolResult


def result_text(result: CallToolResult) -> str:
    """Return the text blocks in order, a placeholder for each other block, and structured data as JSON.

    Servers repeat structured data as text for older clients; it is not included twice.
    """
    parts = [_block_text(block) for block in result.content]
    data = result.structured_content
    if data is not None and not any(_contains_data(part, data) for part in parts):
        parts.append(dump(data).decode())
    return "\n".join(visible(part) for part in parts)


def _contains_data(text: str, data: Any) -> bool:
    """Return True if the text is the structured data, which servers wrap in an object if it is a single value."""
    value = next(iter(data.values())) if isinstance(data, dict) and len(data) == 1 else data
    if text == value:
        return True
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return bool(parsed in (data, value))


def _block_text(block: Any) -> str:
    """Return the text of a block, or a placeholder."""
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
    facts = [kind, one_line(name), one_line(mime_type or "of unknown type") + ",", f"{size} bytes"]
    return f"[{' '.join(fact for fact in facts if fact)}: binary, not shown]"
