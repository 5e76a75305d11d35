"""``typingmind``: data exports of TypingMind: an object with ``data.chats``, or lists of chats (``chunks/chats_part_1.json``).

TypingMind does not publish the format; this follows exports of 2024 to 2026: a chat has ``chatTitle``, ``model`` and
``messages`` in the form of Chat Completions, also grouped in threads of several models. In a large export, ``data.json``
only names the lists. Sources: the importers https://github.com/enricoros/big-AGI (``src/modules/data``) and
https://github.com/K2daOz/chatgpt2typingmind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.json_stream import JsonReader
from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.records import (
    image_part,
    left_out,
    merge_parts,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
    usage_of,
)
from omniagent_cli.formats.types import ReaderItem

_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}


class TypingMind(ConversationReader):
    """Reader of a data export of TypingMind."""

    format_name = "typingmind"
    list_key = "chats"
    nested_keys = frozenset({"messages"})

    def _document(self, reader: JsonReader) -> Iterator[ReaderItem]:
        if reader.peek() == "[":
            yield from super()._document(reader)
            return
        for key in reader.members():
            if key == "data" and reader.peek() == "{":
                yield from super()._document(reader)
            elif key == self.list_key and reader.peek() == "[":
                yield from self._document(reader)
            else:
                reader.skip()

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        model = raw.get("model")
        header = self._header(
            text_of(raw.get("id")) or text_of(raw.get("chatID")),
            title=text_of(raw.get("chatTitle")) or raw.get("title"),
            created=raw.get("createdAt"),
            updated=raw.get("updatedAt"),
            model=model if isinstance(model, str) else object_of(model).get("id"),
        )
        records = (record for one in objects_of(raw.get("messages")) for record in _records(one))
        return self._thread(records, location, header)


def _records(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if threads := objects_of(
        raw.get("threads")
    ):  # answers of several models; the first is displayed
        for one in objects_of(threads[0].get("messages")):
            yield from _records(one)
        if threads[1:]:
            yield left_out("answer of another model")
        return
    role = text_of(raw.get("role"))
    if role not in ("system", "user", "assistant", "tool"):
        yield left_out("message of an unknown role")
        return
    content = raw.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else [_part(p) for p in objects_of(content)]  # fmt: skip
    said = merge_parts([part for part in parts if part.get("text") != ""])
    calls = [
        tool_call(one.get("id"), object_of(one.get("function")).get("name"), object_of(one.get("function")).get("arguments", {}))
        for one in objects_of(raw.get("tool_calls"))
    ]  # fmt: skip
    if not (said or calls):
        yield left_out(f"empty {role} message")
        return
    model = text_of(raw.get("model")) if role == "assistant" else ""
    yield message(
        role, said, id_=raw.get("uuid"), at=raw.get("createdAt"), model=model, tool_calls=calls,
        thinking=text_of(raw.get("reasoning_content")), usage=usage_of(object_of(raw.get("usage")), _USAGE), tool_call_id=text_of(raw.get("tool_call_id")),
    )  # fmt: skip


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "image_url":
        return image_part(text_of(object_of(part.get("image_url")).get("url")))
    return {"type": "text", "text": text_of(part.get("text"))}
