"""``open-webui``: exports of Open WebUI (all chats, or one chat), a list of ``{"chat": {"history": {"messages", "currentId"}}}``.

Messages are a tree by ``parentId``; ``currentId`` ends the visible thread. Source: https://github.com/open-webui/open-webui,
``backend/open_webui/models/chats.py`` and ``src/lib/components/chat/Chat.svelte``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.records import (
    as_text,
    image_part,
    left_out,
    list_of,
    merge_parts,
    message,
    object_of,
    objects_of,
    text_of,
)
from omniagent_cli.formats.types import ReaderItem


class OpenWebUi(ConversationReader):
    """Reader of an Open WebUI export."""

    format_name = "open-webui"
    nested_keys = frozenset({"chat", "history", "messages"})

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        chat = object_of(raw.get("chat")) or raw
        history = object_of(chat.get("history"))
        models = [text_of(model) for model in list_of(chat.get("models"))]
        header = self._header(
            text_of(raw.get("id")) or text_of(chat.get("id")),
            title=text_of(raw.get("title")) or chat.get("title"),
            created=raw.get("created_at") or chat.get("timestamp"),
            updated=raw.get("updated_at"),
            model=models[0] if models else "",
            pinned=raw.get("pinned"),
            archived=raw.get("archived"),
        )
        if messages := object_of(history.get("messages")):
            nodes = (
                (key, parent, [_record(one, key)] if one else [])
                for key, parent, one in self._mapping(messages, "parentId", "childrenIds")
            )
            return self._tree(nodes, text_of(history.get("currentId")) or None, location, header)
        listed = objects_of(chat.get("messages"))
        return self._thread(
            (_record(one, text_of(one.get("id"))) for one in listed), location, header
        )


def _record(raw: dict[str, Any], node_id: str) -> dict[str, Any]:
    role = text_of(raw.get("role"))
    if role not in ("system", "user", "assistant", "tool"):
        return left_out("message of an unknown role")
    parts = [{"type": "text", "text": as_text(raw.get("content"))}]
    for one in objects_of(raw.get("files")):
        url, name = text_of(one.get("url")), text_of(one.get("name"))
        if one.get("type") == "image":
            parts.append(image_part(url, name))
        else:
            parts.append({"type": "text", "text": f"[file: {name or 'unnamed'}]"})
    content = merge_parts(parts)
    if not content:
        return left_out(f"empty {role} message")
    return message(
        role, content, id_=node_id, at=raw.get("timestamp"),
        model=raw.get("model") if role == "assistant" else "", failed=bool(raw.get("error")),
    )  # fmt: skip
