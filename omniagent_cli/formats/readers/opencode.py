"""``opencode``: sessions of opencode: its database (``~/.local/share/opencode/opencode.db``) and ``opencode export``.

A message has a role, and parts: text, reasoning, tool (call and result), file. The export is one object with ``info`` and
``messages``; the database has the tables ``session``, ``message`` and ``part`` with the same objects as JSON. Source:
https://github.com/sst/opencode (``packages/opencode/src/session``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.database import Database, Row, is_database
from omniagent_cli.formats.readers.database_sessions import DatabaseReader, json_object
from omniagent_cli.formats.readers.records import (
    as_text,
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

_USAGE = {"input": "input_tokens", "output": "output_tokens", "reasoning": "reasoning_tokens"}
_CACHE = {"read": "cache_read_tokens", "write": "cache_write_tokens"}


class OpenCode:
    """Reader of exports and databases of opencode."""

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the sessions of the file."""
        reader = _Sessions() if is_database(source.head()) else _Export()
        return reader.read(source)


class _Export(ConversationReader):
    format_name = "opencode"
    nested_keys = frozenset({"messages"})

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        info = object_of(raw.get("info"))
        times = object_of(info.get("time"))
        header = self._header(
            text_of(info.get("id")),
            title=_title(info.get("title")),
            created=times.get("created"),
            updated=times.get("updated"),
            model=_model(info),
            cwd=text_of(info.get("directory")),
        )
        records = (
            record
            for one in objects_of(raw.get("messages"))
            for record in _records(object_of(one.get("info")), objects_of(one.get("parts")))
        )
        return self._thread(records, location, header)


class _Sessions(DatabaseReader):
    format_name = "opencode"
    tables = frozenset({"session", "message", "part"})

    def _sessions(self, database: Database) -> Iterator[ReaderItem]:
        database.create_index("said", "message", "session_id", "time_created")
        database.create_index("parted", "part", "message_id", "time_created")
        for row in database.rows("SELECT * FROM main.session ORDER BY id"):
            yield self._session(
                database, row, text_of(row["id"]), title=_title(row.get("title")), created=row.get("time_created"),
                updated=row.get("time_updated"), model=_model({"model": json_object(row.get("model"))}), cwd=text_of(row.get("directory")), parent=text_of(row.get("parent_id")),
            )  # fmt: skip

    def _records(self, database: Database, row: Row) -> Iterator[dict[str, Any]]:
        for one in database.owned_rows("said", "message", row["id"]):
            parts = database.owned_rows("parted", "part", one["id"])
            info = {"id": one["id"], **json_object(one.get("data"))}
            yield from _records(info, [json_object(part.get("data")) for part in parts])


def _title(title: Any) -> str:
    """Return a title; empty for the one of a session without a title."""
    text = text_of(title)
    return "" if text.startswith(("New session - ", "Child session - ")) else text


def _records(info: dict[str, Any], parts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    role, id_, at = text_of(info.get("role")), info.get("id"), object_of(info.get("time")).get("created")  # fmt: skip
    if role not in ("user", "assistant"):
        yield left_out("message of an unknown role")
        return
    shown = [part for part in parts if part.get("synthetic") is not True and part.get("ignored") is not True]  # fmt: skip
    content = merge_parts([_part(part) for part in shown if part.get("type") in ("text", "file")])
    thoughts = [text_of(part.get("text")) for part in parts if part.get("type") == "reasoning"]
    tools = [part for part in parts if part.get("type") == "tool"]
    calls = [tool_call(one.get("callID"), one.get("tool"), _state(one).get("input", {})) for one in tools]  # fmt: skip
    thinking = "\n\n".join(filter(None, thoughts))
    if not (content or thinking or calls):
        yield left_out(f"empty {role} message")
        return
    tokens = object_of(info.get("tokens"))
    yield message(
        role, content, id_=id_, at=at, model=_model(info) if role == "assistant" else "", thinking=thinking,
        tool_calls=calls, usage=usage_of(tokens, _USAGE) | usage_of(object_of(tokens.get("cache")), _CACHE),
        status="failed" if info.get("error") else "",
    )  # fmt: skip
    for one in tools:
        state = _state(one)
        if state.get("status") in ("completed", "error"):
            output = state.get("output", state.get("error"))
            yield message(
                "tool", as_text(output), id_=one.get("id"), at=at, tool_call_id=text_of(one.get("callID")),
                name=text_of(one.get("tool")), failed=state.get("status") == "error",
            )  # fmt: skip


def _state(part: dict[str, Any]) -> dict[str, Any]:
    return object_of(part.get("state"))


def _model(info: dict[str, Any]) -> str:
    named = object_of(info.get("model")) or {**info, "id": None}
    provider, name = (
        text_of(named.get("providerID")),
        text_of(named.get("modelID") or named.get("id")),
    )
    return f"{provider}:{name}".strip(":") if name else ""


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "file":
        name, url = text_of(part.get("filename")), text_of(part.get("url"))
        if text_of(part.get("mime")).startswith("image/"):
            return image_part(url, name)
        return {"type": "text", "text": f"[file: {name or 'unnamed'}]"}
    return {"type": "text", "text": text_of(part.get("text"))}
