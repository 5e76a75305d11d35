"""``goose``: sessions of goose: its database (``~/.local/share/goose/sessions/sessions.db``), older ``.jsonl`` files, exports.

A message is a role and a list of content blocks: text, thinking, toolRequest, toolResponse, image. A result is in a user
message. Source: https://github.com/block/goose (``crates/goose/src/conversation/message.rs``,
``session/session_manager.rs``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.database import Database, Row, is_database
from omniagent_cli.formats.readers.database_sessions import (
    DatabaseReader,
    json_list,
    json_object,
)
from omniagent_cli.formats.readers.records import (
    image_part,
    left_out,
    merge_parts,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
    tool_output,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader
from omniagent_cli.formats.types import ReaderItem


class Goose:
    """Reader of databases, session files and exports of goose."""

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the sessions of the file."""
        head = source.head().lstrip()
        if is_database(head):
            return _Sessions().read(source)
        first, _, rest = head.partition(b"\n")
        is_log = bool(rest) and first.rstrip().endswith(b"}") and b'"conversation"' not in first
        return _Log().read(source) if is_log else _Export().read(source)


class _Log(TranscriptReader):
    format_name = "goose"

    def add_line(self, line: dict[str, Any]) -> None:
        if "role" not in line:
            self.facts |= {
                "title": line.get("description"),
                "cwd": text_of(line.get("working_dir")),
            }
            return
        self.add_time(line.get("created"))
        self.add(list(_records(line, objects_of(line.get("content")))), node_id=line.get("id"))


class _Export(ConversationReader):
    format_name = "goose"
    nested_keys = frozenset({"conversation", "messages"})

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        header = self._header(
            text_of(raw.get("id")),
            title=text_of(raw.get("name")) or raw.get("description"),
            created=raw.get("created_at"),
            updated=raw.get("updated_at"),
            cwd=text_of(raw.get("working_dir")),
        )
        conversation = raw.get("conversation") or raw.get("messages")
        if isinstance(conversation, dict):
            conversation = conversation.get("messages")
        records = (
            record
            for one in objects_of(conversation)
            for record in _records(one, objects_of(one.get("content")))
        )
        return self._thread(records, location, header)


class _Sessions(DatabaseReader):
    format_name = "goose"
    tables = frozenset({"sessions", "messages"})

    def _sessions(self, database: Database) -> Iterator[ReaderItem]:
        database.create_index("said", "messages", "session_id", "id")
        for row in database.rows("SELECT * FROM main.sessions ORDER BY id"):
            model = json_object(row.get("model_config_json")).get("model_name")
            yield self._session(
                database, row, text_of(row["id"]), title=text_of(row.get("name")) or row.get("description"),
                created=row.get("created_at"), updated=row.get("updated_at"), cwd=text_of(row.get("working_dir")),
                model=f"{text_of(row.get('provider_name'))}:{text_of(model)}".strip(":"),
            )  # fmt: skip

    def _records(self, database: Database, row: Row) -> Iterator[dict[str, Any]]:
        for one in database.owned_rows("said", "messages", row["id"]):
            raw = {
                "id": one.get("message_id"),
                "role": one.get("role"),
                "created": one.get("created_timestamp"),
                "metadata": json_object(one.get("metadata_json")),
            }
            yield from _records(raw, objects_of(json_list(one.get("content_json"))))


def _records(raw: dict[str, Any], blocks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    role, id_, at = text_of(raw.get("role")), text_of(raw.get("id")), raw.get("created")
    if role not in ("user", "assistant"):
        yield left_out("message of an unknown role")
        return
    if object_of(raw.get("metadata")).get("userVisible") is False:
        yield left_out("hidden message")
        return
    results = [block for block in blocks if block.get("type") == "toolResponse"]
    for number, block in enumerate(results):
        yield _result(block, f"{id_}-{number}" if id_ and number else id_, at)
    parts = [_part(block) for block in blocks if block.get("type") in ("text", "image")]
    thoughts = [
        text_of(block.get("thinking")) for block in blocks if block.get("type") == "thinking"
    ]
    calls = [
        tool_call(block.get("id"), value.get("name"), value.get("arguments", {}))
        for block in blocks
        if block.get("type") in ("toolRequest", "frontendToolRequest")
        and (value := object_of(object_of(block.get("toolCall")).get("value")))
    ]
    content, thinking = merge_parts(parts), "\n\n".join(filter(None, thoughts))
    if content or thinking or calls:
        yield message(
            role, content, id_=f"{id_}-text" if id_ and results else id_, at=at, thinking=thinking, tool_calls=calls,
        )  # fmt: skip
    elif not results:
        yield left_out(f"empty {role} message")


def _part(block: dict[str, Any]) -> dict[str, Any]:
    if block.get("type") == "image":
        return image_part(
            f"data:{text_of(block.get('mimeType'))};base64,{text_of(block.get('data'))}"
        )
    return {"type": "text", "text": text_of(block.get("text"))}


def _result(block: dict[str, Any], id_: str, at: Any) -> dict[str, Any]:
    outcome = object_of(block.get("toolResult"))
    value = outcome.get("value")
    content = value.get("content") if isinstance(value, dict) else value
    text = text_of(outcome.get("error")) or tool_output(content)
    return message(
        "tool", text, id_=id_, at=at, tool_call_id=text_of(block.get("id")), failed=outcome.get("status") == "error",
    )  # fmt: skip
