"""``chatgpt``: ``conversations.json`` of a ChatGPT account export, also split (``conversations-000.json``) and zipped.

Each conversation has its messages in ``mapping``, a tree by node id in arbitrary order: an edited question or a
regenerated answer is another child of the same parent. The visible thread is the path from ``current_node`` to the
root. OpenAI does not publish the format; this follows descriptions of exports of 2023 to 2026
(https://difegam.github.io/chatgpt-to-markdown/, https://whychose.com/seo/chatgpt-conversations-json-format).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.json_stream import BadValue, JsonReader
from omniagent_cli.formats.readers.account_export import AccountExport
from omniagent_cli.formats.readers.message_tree import MessageTree
from omniagent_cli.formats.readers.records import (
    as_text,
    list_of,
    message,
    object_of,
    objects_of,
    session_header,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import Problem, problem

_CITATION = re.compile("\ue200([^\ue200\ue201]*)\ue201|[\ue200-\ue2ff]")
"""Citation marks of the web page, such as ``\\ue200cite\\ue202turn0search1\\ue201``; not part of the text."""

_HIDDEN_TYPES = frozenset({"user_editable_context", "model_editable_context"})
_POINTER_KINDS = {
    "image_asset_pointer": "image",
    "audio_asset_pointer": "audio",
    "video_container_asset_pointer": "video",
}
_ROLES = frozenset({"system", "user", "assistant", "tool"})


class ChatGpt(AccountExport):
    """Reader of a ChatGPT account export."""

    messages_key = "mapping"
    header_keys = frozenset(
        {"id", "conversation_id", "title", "create_time", "update_time", "current_node"}
        | {"default_model_slug", "gizmo_id", "is_archived", "is_starred"}
    )
    id_keys = ("id", "conversation_id")
    leaf_key = "current_node"

    def _messages(
        self, reader: JsonReader, fields: dict[str, Any], tree: MessageTree
    ) -> Iterator[Problem]:
        del fields
        if reader.peek() != "{":
            location = reader.location
            reader.skip()
            yield problem(location, "mapping must be an object")
            return
        for key in reader.members():
            location = reader.location
            try:
                node = reader.value()
            except BadValue as error:
                yield problem(location, f"unreadable message: {error}")
                tree.add_unreadable(key, location)
                continue
            if not isinstance(node, dict):
                yield problem(location, "node must be an object")
                continue
            parent = node.get("parent")
            children = [child for child in list_of(node.get("children")) if isinstance(child, str)]
            try:
                records = _records(node.get("message"), key)
                tree.add(
                    key, parent if isinstance(parent, str) else None, location, records, children
                )
            except InvalidRecord as error:
                yield problem(location, error)
                tree.add_unreadable(key, location)

    def _header(self, fields: dict[str, Any], source_id: str, branch: str) -> dict[str, Any]:
        return session_header(
            "chatgpt",
            source_id,
            title=fields.get("title"),
            created=fields.get("create_time"),
            updated=fields.get("update_time"),
            pinned=fields.get("is_starred"),
            archived=fields.get("is_archived"),
            branch=branch,
            model=_model(fields.get("default_model_slug")),
            gizmo_id=fields.get("gizmo_id"),
        )


def _model(slug: Any) -> str:
    return f"openai:{slug}" if slug and isinstance(slug, str) and slug != "auto" else ""


def _records(raw: Any, node_id: str) -> list[dict[str, Any]]:
    """Return the message records of a node; none for a hidden message."""
    if not isinstance(raw, dict):
        return []
    author, content = object_of(raw.get("author")), object_of(raw.get("content"))
    metadata = object_of(raw.get("metadata"))
    role, kind = text_of(author.get("role")), text_of(content.get("content_type"))
    hidden = metadata.get("is_visually_hidden_from_conversation") or raw.get("weight") == 0
    if role not in _ROLES or hidden or kind in _HIDDEN_TYPES:
        return []
    text, thinking, media = _parse_content(content, kind)
    names = _attachment_names(media, metadata)
    if names:
        labels = [f"[{kind}: {name}]" for kind, name in names]
        text = "\n".join(filter(None, [text, *labels]))
    extra = {"attachments": [{"kind": k, "name": n} for k, n in names]} if names else {}
    id_, at = raw.get("id") or node_id, raw.get("create_time")
    if role == "assistant":
        return _assistant_records(
            raw, id_, text, thinking, _model(metadata.get("model_slug")), extra
        )
    if not text:
        return []
    name = text_of(author.get("name")) if role == "tool" else ""
    return [message(role, text, id_=id_, at=at, name=name, extra=extra)]


def _assistant_records(
    raw: dict[str, Any], id_: Any, text: str, thinking: str, model: str, extra: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return an answer; one that is addressed to a tool becomes a tool call."""
    at = raw.get("create_time")
    recipient = text_of(raw.get("recipient")) or "all"
    calls, status = [], ""
    if recipient != "all":
        text, calls = "", [tool_call(id_, recipient, text)]
    elif not text and not thinking:
        return []
    elif raw.get("status") == "in_progress" or _is_interrupted(raw):
        status = "interrupted"
    return [
        message(
            "assistant", text, id_=id_, at=at, model=model, thinking=thinking, extra=extra, tool_calls=calls, status=status,
        )
    ]  # fmt: skip


def _is_interrupted(raw: dict[str, Any]) -> bool:
    details = object_of(object_of(raw.get("metadata")).get("finish_details"))
    return details.get("type") == "interrupted"


def _parse_content(content: dict[str, Any], kind: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Return text, thinking, and kind and name of the media of a message's content."""
    if kind == "thoughts":
        thoughts = list_of(content.get("thoughts")) or list_of(content.get("parts"))
        return "", "\n\n".join(filter(None, map(_thought_text, thoughts))), []
    if kind == "reasoning_recap":
        return "", "", []  # "Thought for 5 seconds"
    if kind == "tether_quote":
        lines = [content.get(key) for key in ("title", "url", "text")]
        return "\n".join(filter(None, map(text_of, lines))), "", []
    if kind == "tether_browsing_display":
        return text_of(content.get("result")) or text_of(content.get("summary")), "", []
    parts = content.get("parts")
    if not isinstance(parts, list):
        text = content.get("text")
        return (
            (_strip_citations(text), "", [])
            if isinstance(text, str)
            else (_raw_text(content), "", [])
        )
    texts: list[str] = []
    media: list[tuple[str, str]] = []
    for part in parts:
        text, named = _part(part)
        texts.append(text)
        media.extend(named)
    return "\n".join(filter(None, texts)), "", media


def _raw_text(content: dict[str, Any]) -> str:
    return as_text(content) if set(content) - {"content_type"} else ""


def _thought_text(thought: Any) -> str:
    if isinstance(thought, dict):
        lines = [text_of(thought.get("summary")), text_of(thought.get("content"))]
        return "\n".join(filter(None, lines))
    return text_of(thought)


def _part(part: Any) -> tuple[str, list[tuple[str, str]]]:
    if isinstance(part, str):
        return _strip_citations(part), []
    if not isinstance(part, dict):
        return as_text(part), []
    kind = text_of(part.get("content_type"))
    if kind == "audio_transcription":
        return text_of(part.get("text")), []
    if kind == "real_time_user_audio_video_asset_pointer":
        sound = object_of(part.get("audio_asset_pointer"))
        return "", [("audio", _pointer_name(sound.get("asset_pointer")))]
    if kind in _POINTER_KINDS:
        return "", [(_POINTER_KINDS[kind], _pointer_name(part.get("asset_pointer")))]
    return (text_of(part.get("text")) or as_text(part)), []


def _pointer_name(pointer: Any) -> str:
    return text_of(pointer).rpartition("/")[2] or "unnamed"


def _strip_citations(text: str) -> str:
    """Return text without citation marks, but with the words that some of them display."""
    return text if text.isascii() else _CITATION.sub(_citation_text, text)


def _citation_text(match: re.Match[str]) -> str:
    kind, *fields = (match.group(1) or "").split("\ue202")
    if kind == "url" and fields:
        return fields[0]
    if kind != "entity" or not fields:
        return ""
    try:
        names = json.loads(fields[0])
    except (ValueError, RecursionError):
        return ""
    return text_of(names[1]) if isinstance(names, list) and len(names) > 1 else ""


def _attachment_names(
    media: list[tuple[str, str]], metadata: dict[str, Any]
) -> list[tuple[str, str]]:
    """Return kind and name of each attachment once; media are named by their file if its name is known."""
    files = {
        text_of(one.get("id")): text_of(one.get("name"))
        for one in objects_of(metadata.get("attachments"))
    }
    shown = {pointer for _, pointer in media}
    named = [(kind, files.get(pointer) or pointer) for kind, pointer in media]
    return named + [("file", name) for key, name in files.items() if name and key not in shown]
