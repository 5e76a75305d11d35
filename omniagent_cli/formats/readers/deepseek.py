"""``deepseek``: ``conversations.json`` of a DeepSeek account export, also zipped.

Like an export of ChatGPT a tree in ``mapping``, but a message is a list of ``fragments``: ``REQUEST``, ``THINK``,
``RESPONSE``, ``SEARCH``. The newest leaf is the visible thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.readers.citations import markdown_link
from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.records import (
    left_out,
    message,
    object_of,
    objects_of,
    text_of,
)
from omniagent_cli.formats.types import ReaderItem


class DeepSeek(ConversationReader):
    """Reader of a DeepSeek account export."""

    format_name = "deepseek"
    nested_keys = frozenset({"mapping"})

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        header = self._header(
            text_of(raw.get("id")),
            title=raw.get("title"),
            created=raw.get("inserted_at"),
            updated=raw.get("updated_at"),
        )
        mapping = object_of(raw.get("mapping"))
        nodes = (
            (key, parent, _records(node))
            for key, parent, node in self._mapping(mapping, "parent", "children")
        )
        return self._tree(nodes, None, location, header)


def _records(node: dict[str, Any]) -> list[dict[str, Any]]:
    raw = object_of(node.get("message"))
    texts: list[str] = []
    thinking: list[str] = []
    role = "assistant"
    for fragment in objects_of(raw.get("fragments")):
        kind, text = text_of(fragment.get("type")), text_of(fragment.get("content"))
        if kind == "REQUEST":
            role = "user"
        if kind == "THINK":
            thinking.append(text)
        elif kind in ("SEARCH", "READ_LINK"):
            pages = objects_of(fragment.get("results")) or [fragment]
            texts += [markdown_link(page.get("title"), page.get("url")) for page in pages]
        else:
            texts.append(text)
    texts += [
        f"[file: {text_of(one.get('file_name')) or 'unnamed'}]"
        for one in objects_of(raw.get("files"))
    ]
    text, thought = "\n\n".join(filter(None, texts)), "\n\n".join(filter(None, thinking))
    if not (text or thought):
        return [left_out("empty message")] if raw else []
    model = text_of(raw.get("model"))
    return [
        message(
            role, text, at=raw.get("inserted_at"), thinking=thought,
            model=f"deepseek:{model}" if model and role == "assistant" else "",
        )
    ]  # fmt: skip
