"""``jan``: threads of Jan, ``~/.local/share/Jan/data/threads/ID/messages.jsonl``, with their titles in ``thread.json``.

A line is a message in the form of OpenAI's threads: ``content`` is a list of ``{"type": "text", "text": {"value"}}``.
Source: https://github.com/janhq/jan (``core/src/types/message``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omniagent_cli.formats.byte_source import MAX_RECORD_BYTES, ByteSource
from omniagent_cli.formats.readers.records import (
    image_part,
    left_out,
    merge_parts,
    message,
    object_of,
    objects_of,
    text_of,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader


class Jan(TranscriptReader):
    """Reader of one thread per file."""

    format_name = "jan"

    def _header(self, source: ByteSource, branch: str) -> dict[str, Any]:
        thread = _thread_file(source.path)
        self.session_id = text_of(thread.get("id")) or self.session_id
        self.facts["title"] = thread.get("title")
        return super()._header(source, branch)

    def add_line(self, line: dict[str, Any]) -> None:
        """Add a message."""
        role, at = text_of(line.get("role")), line.get("created_at")
        self.session_id = self.session_id or text_of(line.get("thread_id"))
        self.add_time(at)
        content = merge_parts([_part(part) for part in objects_of(line.get("content"))])
        reasoning = object_of(line.get("metadata")).get("reasoning_content")
        if role not in ("system", "user", "assistant") or not (content or reasoning):
            self.add([left_out("empty message")])
            return
        model = text_of(object_of(line.get("metadata")).get("model")) if role == "assistant" else ""
        status = {"stopped": "interrupted", "error": "failed"}.get(text_of(line.get("status")), "")
        record = message(
            role, content, id_=line.get("id"), at=at, thinking=text_of(reasoning), status=status, model=model,
        )  # fmt: skip
        self.add([record], node_id=line.get("id"))


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "image_url":
        return image_part(text_of(object_of(part.get("image_url")).get("url")))
    text = part.get("text")
    return {
        "type": "text",
        "text": text if isinstance(text, str) else text_of(object_of(text).get("value")),
    }


def _thread_file(messages: Path | None) -> dict[str, Any]:
    """Return the file of the thread beside its messages; empty if there is none."""
    path = messages.with_name("thread.json") if messages else None
    try:
        if path is None or path.stat().st_size > MAX_RECORD_BYTES:
            return {}
        return object_of(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}
