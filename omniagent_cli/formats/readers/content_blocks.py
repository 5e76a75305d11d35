"""Content blocks of Anthropic's Messages API, as transcripts and requests contain them."""

from __future__ import annotations

from typing import Any

from omniagent_cli.formats.readers.records import (
    as_text,
    image_part,
    message,
    object_of,
    objects_of,
    text_of,
)


def content_blocks(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the content of a message as a list of blocks."""
    content = raw.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else objects_of(content)


def block_media(block: dict[str, Any]) -> dict[str, Any]:
    """Return the content part of an image or document block; a document is named."""
    source = object_of(block.get("source"))
    data, media_type = text_of(source.get("data")), text_of(source.get("media_type"))
    if block.get("type") == "image" and data and media_type:
        return image_part(f"data:{media_type};base64,{data}")
    return {
        "type": "text",
        "text": f"[{block.get('type')}: {text_of(block.get('title')) or media_type or 'unnamed'}]",
    }


def block_result(block: dict[str, Any], id_: str, at: Any) -> dict[str, Any]:
    """Return the message of a ``tool_result`` block."""
    content = block.get("content")
    if isinstance(content, list):
        parts = [
            text_of(part.get("text")) or f"[{part.get('type')}]" for part in objects_of(content)
        ]
        content = "\n".join(parts)
    return message(
        "tool",
        as_text(content),
        id_=id_,
        at=at,
        tool_call_id=text_of(block.get("tool_use_id")),
        failed=block.get("is_error") is True,
    )
