"""``chatgpt``: ``conversations.json`` of a ChatGPT account export, also split (``conversations-000.json``) and zipped.

Each conversation has its messages in ``mapping``, a tree by node id in arbitrary order: an edited question or a
regenerated answer is another child of the same parent. The visible thread is the path from ``current_node`` to the
root. OpenAI does not publish the format; this follows descriptions of exports of 2023 to 2026
(https://difegam.github.io/chatgpt-to-markdown/, https://whychose.com/seo/chatgpt-conversations-json-format).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.json_stream import JsonReader
from omniagent_cli.formats.json_values import BadValue
from omniagent_cli.formats.readers.account_export import AccountExport
from omniagent_cli.formats.readers.citations import markdown_link, with_links
from omniagent_cli.formats.readers.message_tree import MessageTree
from omniagent_cli.formats.readers.records import (
    as_text,
    left_out,
    list_of,
    message,
    object_of,
    objects_of,
    session_header,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import Problem, problem

_HIDDEN_TYPES = frozenset({"user_editable_context", "model_editable_context"})
_POINTER_KIND = re.compile(r"(image|audio|video)_(?:\w+_)?asset_pointer\Z")
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
    """Return the message records of a node; an omission for a hidden message or an empty tool result."""
    if not isinstance(raw, dict):
        return []
    author, content = object_of(raw.get("author")), object_of(raw.get("content"))
    metadata = object_of(raw.get("metadata"))
    role, kind = text_of(author.get("role")), text_of(content.get("content_type"))
    if role not in _ROLES:
        return []
    # Results of tools have weight 0 too, although the page displays them.
    weightless = raw.get("weight") == 0 and role in ("system", "user")
    if metadata.get("is_visually_hidden_from_conversation") or weightless or kind in _HIDDEN_TYPES:
        return [left_out(f"hidden {role} message")]
    found = _parse_content(content, kind)
    text = "\n".join(filter(None, [found.text, *_tool_sources(metadata)]))
    text, sources = with_links(text, metadata)
    media = [*found.media, *_plots(metadata)]
    attachments = _attachments(media, metadata)
    labels = [f"[{one['kind']}: {one['name']}]" for one in attachments]
    text = "\n".join(filter(None, [text, *labels]))
    extra = {
        key: value for key, value in (("attachments", attachments), ("sources", sources)) if value
    }
    id_, at = raw.get("id") or node_id, raw.get("create_time")
    if role == "assistant":
        return _assistant_records(
            raw, id_, text, found.thinking, _model(metadata.get("model_slug")), extra
        )
    if not text:
        return [left_out("empty tool result" if role == "tool" else f"empty {role} message")]
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


class _Content(NamedTuple):
    """Content of a message.

    Attributes:
        media: kind and pointer of each image, sound and video.
    """

    text: str = ""
    thinking: str = ""
    media: Sequence[tuple[str, str]] = ()


def _parse_content(content: dict[str, Any], kind: str) -> _Content:
    if kind == "thoughts":
        thoughts = list_of(content.get("thoughts")) or list_of(content.get("parts"))
        return _Content(thinking="\n\n".join(filter(None, map(_thought_text, thoughts))))
    if kind == "reasoning_recap":
        return _Content()  # "Thought for 5 seconds"
    if kind == "tether_quote":
        lines = [content.get(key) for key in ("title", "url", "text")]
        return _Content("\n".join(filter(None, map(text_of, lines))))
    if kind == "tether_browsing_display":
        return _Content(text_of(content.get("result")) or text_of(content.get("summary")))
    parts = content.get("parts")
    if not isinstance(parts, list):
        text = content.get("text")
        return _Content(text if isinstance(text, str) else _raw_text(content))
    texts: list[str] = []
    media: list[tuple[str, str]] = []
    for part in parts:
        text, named = _part(part)
        texts.append(text)
        media.extend(named)
    return _Content("\n".join(filter(None, texts)), media=media)


def _raw_text(content: dict[str, Any]) -> str:
    return as_text(content) if set(content) - {"content_type"} else ""


def _thought_text(thought: Any) -> str:
    if isinstance(thought, dict):
        lines = [text_of(thought.get("summary")), text_of(thought.get("content"))]
        return "\n".join(filter(None, lines))
    return text_of(thought)


def _part(part: Any) -> tuple[str, list[tuple[str, str]]]:
    """Return text and media of a content part."""
    if isinstance(part, str):
        return part, []
    if not isinstance(part, dict):
        return as_text(part), []
    kind = text_of(part.get("content_type"))
    if kind == "audio_transcription":
        return text_of(part.get("text")), []
    if kind == "real_time_user_audio_video_asset_pointer":
        sound = object_of(part.get("audio_asset_pointer"))
        return "", [("audio", _pointer_name(sound.get("asset_pointer")))]
    if found := _POINTER_KIND.match(kind):
        name = _pointer_name(part.get("asset_pointer"))
        return _transcription(part), [(found.group(1), name)]
    return (text_of(part.get("text")) or as_text(part)), []


def _transcription(part: dict[str, Any]) -> str:
    """Return the transcript of a recording, from the part or its metadata."""
    for holder in (part, object_of(part.get("metadata"))):
        for key in ("transcription", "transcript", "audio_transcription"):
            if text := text_of(holder.get(key)) or text_of(object_of(holder.get(key)).get("text")):
                return text
    return ""


def _pointer_name(pointer: Any) -> str:
    return text_of(pointer).rpartition("/")[2] or "unnamed"


def _plots(metadata: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the images that code displayed."""
    shown = objects_of(object_of(metadata.get("aggregate_result")).get("messages"))
    return [("image", _pointer_name(one["image_url"])) for one in shown if one.get("image_url")]


def _tool_sources(metadata: dict[str, Any]) -> Iterator[str]:
    """Yield one line per page that a search found, as a Markdown link."""
    for group in objects_of(metadata.get("search_result_groups")):
        for entry in objects_of(group.get("entries")):
            link = markdown_link(entry.get("title"), entry.get("url"))
            yield ": ".join(filter(None, [link, text_of(entry.get("snippet"))]))


def _attachments(media: list[tuple[str, str]], metadata: dict[str, Any]) -> list[dict[str, str]]:
    """Return kind, name and id of each attachment once; media are named by their file if its name is known."""
    files = {
        text_of(one.get("id")): text_of(one.get("name"))
        for one in objects_of(metadata.get("attachments"))
    }
    media = list(dict.fromkeys(media))
    shown = {pointer for _, pointer in media}
    found = [(kind, files.get(pointer) or pointer, pointer) for kind, pointer in media]
    found += [("file", name, key) for key, name in files.items() if name and key not in shown]
    return [
        {key: value for key, value in (("kind", kind), ("name", name), ("id", id_)) if value}
        for kind, name, id_ in found
    ]
