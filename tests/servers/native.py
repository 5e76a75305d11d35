"""What the servers of the providers' own protocols share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def halves(text: str) -> tuple[str, str]:
    """Cut arguments in two pieces, as servers do."""
    return text[: len(text) // 2], text[len(text) // 2 :]


def said_in_chat(body: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Return the messages of a request in the shape of Chat Completions: who, and what."""
    said = []
    for message in body["messages"]:
        content = message.get("content") or []
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        said.append((message["role"], [*parts, *(message.get("tool_calls") or ())]))
    return said
