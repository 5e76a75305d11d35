"""``claude``: ``conversations.json`` of a Claude.ai account export, also zipped.

Each conversation has its messages in ``chat_messages``. If messages name their parents and the conversation names its
last message, the visible thread is the path between them; otherwise it is the order of the list. Anthropic does not
publish the format; this follows https://whychose.com/seo/claude-conversation-export-format and public readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.json_helpers import list_entries
from omniagent_cli.formats.json_stream import JsonReader
from omniagent_cli.formats.readers.account_export import AccountExport
from omniagent_cli.formats.readers.citations import markdown_link, site_name
from omniagent_cli.formats.readers.message_tree import MessageTree
from omniagent_cli.formats.readers.records import (
    as_text,
    left_out,
    message,
    object_of,
    objects_of,
    session_header,
    text_of,
    tool_call,
    tool_output,
)
from omniagent_cli.formats.types import MessageEntry, Problem, problem

_ROLES = {"human": "user", "assistant": "assistant"}


class Claude(AccountExport):
    """Reader of a Claude.ai account export."""

    messages_key = "chat_messages"
    header_keys = frozenset(
        {"uuid", "name", "summary", "model", "created_at", "updated_at", "is_starred"}
        | {"project_uuid", "current_leaf_message_uuid"}
    )
    id_keys = ("uuid",)
    leaf_key = "current_leaf_message_uuid"

    def _messages(
        self, reader: JsonReader, fields: dict[str, Any], tree: MessageTree
    ) -> Iterator[Problem]:
        previous: str | None = None
        has_unreadable = False
        for number, entry in enumerate(list_entries(reader)):
            if not isinstance(entry, MessageEntry):
                if isinstance(entry, Problem):
                    has_unreadable = True
                    yield entry
                continue
            raw = entry.record
            if not isinstance(raw, dict):
                yield problem(entry.location, "message must be an object")
                continue
            node_id = text_of(raw.get("uuid")) or f"message-{number}"
            parent: str | None = text_of(raw.get("parent_message_uuid")) or previous
            if parent not in tree and has_unreadable:
                parent = previous
            try:
                records = _records(raw, node_id, text_of(fields.get("model")))
                tree.add(node_id, parent, entry.location, records)
            except InvalidRecord as error:
                yield problem(entry.location, error)
                tree.add(node_id, parent, entry.location, [])
            previous = node_id

    def _header(self, fields: dict[str, Any], source_id: str, branch: str) -> dict[str, Any]:
        return session_header(
            "claude",
            source_id,
            title=fields.get("name"),
            created=fields.get("created_at"),
            updated=fields.get("updated_at"),
            model=_model(fields.get("model")),
            pinned=fields.get("is_starred"),
            branch=branch,
            project=fields.get("project_uuid"),
            summary=fields.get("summary"),
        )


def _model(name: Any) -> str:
    return f"anthropic:{name}" if name and isinstance(name, str) else ""


def _records(raw: dict[str, Any], node_id: str, model: str) -> list[dict[str, Any]]:
    """Return the records of a message; a tool result in the middle of an answer splits it."""
    role = _ROLES.get(text_of(raw.get("sender")))
    if role is None:
        return []
    at, attachments = raw.get("created_at"), _attachments(raw)
    # Exports contain no files, but the text of documents and pasted text.
    pasted = [
        f"[{one['kind']}: {one['name']}]\n{one.pop('text', '')}".strip() for one in attachments
    ]
    extra = {"attachments": attachments} if attachments else {}
    if role == "user":
        text = "\n".join(filter(None, [_text(raw), *pasted]))
        if not text:
            return [left_out("empty user message")]
        return [message("user", text, id_=node_id, at=at, extra=extra)]
    answer = _AnswerBuilder(node_id, at, _model(model), extra)
    blocks = objects_of(raw.get("content"))
    for block in blocks or [{"type": "text", "text": raw.get("text")}]:
        answer.add_block(block)
    return answer.finish()


def _text(raw: dict[str, Any]) -> str:
    blocks = objects_of(raw.get("content"))
    texts = [text_of(block.get("text")) for block in blocks if block.get("type") == "text"]
    return "\n\n".join(filter(None, texts)) or text_of(raw.get("text"))


class _AnswerBuilder:
    """Builder of an answer from its blocks."""

    def __init__(self, node_id: str, at: Any, model: str, extra: dict[str, Any]) -> None:
        self._common = (node_id, at, model, extra)
        self._records: list[dict[str, Any]] = []
        self._texts: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[dict[str, Any]] = []

    def add_block(self, block: dict[str, Any]) -> None:
        """Add the next block."""
        kind = block.get("type")
        if kind == "text":
            if self._calls:
                self._flush()
            self._texts.append(_with_sources(block))
        elif kind == "thinking":
            if self._calls:
                self._flush()
            self._thinking.append(text_of(block.get("thinking")))
        elif kind == "tool_use":
            self._calls.append(
                tool_call(block.get("id"), block.get("name"), object_of(block.get("input")))
            )
        elif kind == "tool_result":
            self._flush()
            self._result(block)
        elif kind not in (None, "token_budget"):
            self._texts.append(as_text(block))

    def finish(self) -> list[dict[str, Any]]:
        """Return the message records."""
        self._flush()
        return self._records

    def _id(self) -> str:
        node_id = self._common[0]
        return f"{node_id}-{len(self._records)}" if self._records else node_id

    def _flush(self) -> None:
        _, at, model, extra = self._common
        text = "\n\n".join(filter(None, self._texts))
        thinking = "\n\n".join(filter(None, self._thinking))
        if text or thinking or self._calls:
            self._records.append(
                message(
                    "assistant", text, id_=self._id(), at=at, model=model, thinking=thinking, tool_calls=self._calls, extra=extra,
                )
            )  # fmt: skip
        self._texts, self._thinking, self._calls = [], [], []

    def _result(self, block: dict[str, Any]) -> None:
        self._records.append(
            message(
                "tool", _output(block.get("content")), id_=self._id(), at=self._common[1], name=text_of(block.get("name")),
                tool_call_id=text_of(block.get("tool_use_id")), failed=block.get("is_error") is True,
            )
        )  # fmt: skip


def _output(content: Any) -> str:
    """Return the output of a tool; pages that it found are Markdown links with their text."""
    if not isinstance(content, list):
        return tool_output(content)
    return "\n".join(
        "\n".join(filter(None, [_link(part), tool_output([part])])) for part in objects_of(content)
    )


def _link(page: dict[str, Any]) -> str:
    return markdown_link(page.get("title"), page["url"]) if text_of(page.get("url")) else ""


def _with_sources(block: dict[str, Any]) -> str:
    """Return the text of a block with a link after each cited passage."""
    text, links = text_of(block.get("text")), []
    for citation in objects_of(block.get("citations")):
        source = object_of(citation.get("details")) | citation
        url = text_of(source.get("url"))
        end = citation.get("end_index")
        if url and url not in text:
            link = markdown_link(source.get("title") or site_name(url), url)
            links.append((end if isinstance(end, int) else len(text), link))
    for end, link in sorted(dict.fromkeys(links), reverse=True):
        text = f"{text[:end]} ({link}){text[end:]}"
    return text


def _attachments(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the attachments: kind, name, and the text of pasted text and documents."""
    items = []
    for item in objects_of(raw.get("attachments")):
        fields = {
            "kind": "file",
            "name": text_of(item.get("file_name")) or "pasted text",
            "media_type": text_of(item.get("file_type")),
            "size": item.get("file_size"),
            "text": text_of(item.get("extracted_content")),
        }
        items.append({key: value for key, value in fields.items() if value})
    files = objects_of(raw.get("files_v2")) or objects_of(raw.get("files"))
    items += [
        {
            "kind": text_of(f.get("file_kind")) or "file",
            "name": text_of(f.get("file_name")) or "unnamed",
        }
        for f in files
    ]
    return items
