"""``zed``: agent threads of the editor Zed, ``~/.local/share/zed/threads/threads.db``.

The table ``threads`` has one JSON document per thread, packed with zstd. Messages are ``{"User": ...}`` and
``{"Agent": ...}`` with content blocks ``Text``, ``Thinking``, ``ToolUse``, ``Mention``, and ``tool_results`` by id; before, they had
``role`` and ``segments``. Source: https://github.com/zed-industries/zed (``crates/agent/src/db.rs``, ``thread.rs``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import MAX_RECORD_BYTES
from omniagent_cli.formats.readers.database import Database, Row
from omniagent_cli.formats.readers.database_sessions import (
    DatabaseReader,
    json_list,
    json_object,
)
from omniagent_cli.formats.readers.records import (
    as_text,
    left_out,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import ReaderItem


class Zed(DatabaseReader):
    """Reader of the thread database of Zed."""

    format_name = "zed"
    tables = frozenset({"threads"})

    def _sessions(self, database: Database) -> Iterator[ReaderItem]:
        columns = "id, summary, updated_at"
        for row in database.rows(f"SELECT {columns} FROM main.threads ORDER BY id"):  # noqa: S608  # a constant
            yield self._session(
                database, row, text_of(row["id"]), title=row.get("summary"), updated=row.get("updated_at"),
                created=row.get("updated_at"), cwd=_folder(database.one("threads", "id", row["id"])),
            )  # fmt: skip

    def _records(self, database: Database, row: Row) -> Iterator[dict[str, Any]]:
        document = _document(database.one("threads", "id", row["id"]))
        named = object_of(document.get("model"))
        model = f"{text_of(named.get('provider'))}:{text_of(named.get('model'))}".strip(":")
        for item in document.get("messages") or ():
            if user := object_of(object_of(item).get("User")):
                yield from _user(user)
            elif agent := object_of(object_of(item).get("Agent")):
                yield from _agent(agent, model)
            elif "role" in object_of(item):
                yield from _older(object_of(item), model)
            else:  # "Resume"
                yield left_out("notice")


def _folder(row: Row) -> str:
    folders = text_of(row.get("folder_paths"))
    listed = json_list(folders)
    return text_of(listed[0]) if listed else folders.partition("\n")[0]


def _document(row: Row) -> dict[str, Any]:
    data = row.get("data")
    if row.get("data_type") == "zstd" and isinstance(data, bytes):
        data = _decompressed(data)
    return json_object(data)


def _decompressed(data: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    decompressor = zstd.ZstdDecompressor()
    try:
        text: bytes = decompressor.decompress(data, max_length=MAX_RECORD_BYTES)
    except zstd.ZstdError as error:
        raise InvalidRecord(f"thread cannot be decompressed: {error}") from error
    if not decompressor.eof:
        raise InvalidRecord(f"thread is longer than {MAX_RECORD_BYTES >> 20} MiB")
    return text


def _user(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    text = "\n".join(filter(None, map(_text, objects_of(raw.get("content")))))
    yield message("user", text, id_=raw.get("id")) if text else left_out("empty user message")


def _text(block: dict[str, Any]) -> str:
    if "Mention" in block:
        mention = object_of(block["Mention"])
        uri = mention.get("uri")
        return f"[{text_of(uri) or next(iter(object_of(uri)), 'mention')}]"
    if "Image" in block:
        return "[image]"
    return text_of(block.get("Text"))


def _agent(raw: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
    blocks = objects_of(raw.get("content"))
    texts = [text_of(block.get("Text")) for block in blocks]
    thoughts = [text_of(object_of(block.get("Thinking")).get("text")) for block in blocks]
    uses = [object_of(block["ToolUse"]) for block in blocks if "ToolUse" in block]
    calls = [tool_call(use.get("id"), use.get("name"), use.get("input") or {}) for use in uses]
    text, thinking = "\n\n".join(filter(None, texts)), "\n\n".join(filter(None, thoughts))
    if not (text or thinking or calls):
        yield left_out("empty assistant message")
    else:
        yield message("assistant", text, model=model, thinking=thinking, tool_calls=calls)
    for call_id, result in object_of(raw.get("tool_results")).items():
        yield _result(object_of(result), call_id)


def _result(raw: dict[str, Any], call_id: str) -> dict[str, Any]:
    content = raw.get("content")
    text = object_of(content).get("Text", content)
    return message(
        "tool", as_text(text), tool_call_id=call_id, name=text_of(raw.get("tool_name")),
        failed=raw.get("is_error") is True,
    )  # fmt: skip


def _older(raw: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
    role, segments = text_of(raw.get("role")), objects_of(raw.get("segments"))
    if role not in ("system", "user", "assistant"):
        yield left_out("message of an unknown role")
        return
    text = "\n".join(text_of(one.get("text")) for one in segments if one.get("type") == "text")
    thoughts = [text_of(one.get("text")) for one in segments if one.get("type") == "thinking"]
    uses = objects_of(raw.get("tool_uses"))
    calls = [tool_call(use.get("id"), use.get("name"), use.get("input") or {}) for use in uses]
    thinking = "\n\n".join(filter(None, thoughts))
    if not (text or thinking or calls):
        yield left_out(f"empty {role} message")
        return
    answered_by = model if role == "assistant" else ""
    yield message(role, text, model=answered_by, thinking=thinking, tool_calls=calls)
    for result in objects_of(raw.get("tool_results")):
        yield _result(result, text_of(result.get("tool_use_id")))
