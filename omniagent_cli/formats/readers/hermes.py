"""``hermes``: sessions of Hermes Agent: ``~/.hermes/state.db``, ``sessions/*.jsonl`` or ``.json``, ``hermes sessions export``.

The lines are Chat Completions messages after a ``session_meta`` line; the export has one object per session with
``messages``. Source: https://github.com/NousResearch/hermes-agent (``hermes_state.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import embedded_value
from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.database import Database, Row, is_database
from omniagent_cli.formats.readers.database_sessions import DatabaseReader
from omniagent_cli.formats.readers.records import (
    as_text,
    left_out,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader
from omniagent_cli.formats.types import ReaderItem


class Hermes:
    """Reader of session files and exports of Hermes Agent."""

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the sessions of the file."""
        if is_database(source.head()):
            return _Sessions().read(source)
        first, _, _ = source.head().lstrip().partition(b"\n")
        is_log = b'"session_meta"' in first
        return _Log().read(source) if is_log else _Export().read(source)


class _Log(TranscriptReader):
    format_name = "hermes"

    def add_line(self, line: dict[str, Any]) -> None:
        if line.get("role") == "session_meta":
            self.session_id = text_of(line.get("session_id"))
            self.facts |= {
                "model": text_of(line.get("model")),
                "platform": text_of(line.get("platform")),
            }
            self.add_time(line.get("timestamp"))
            return
        self.add_time(line.get("timestamp"))
        self.add([_record(line)])


class _Export(ConversationReader):
    format_name = "hermes"
    nested_keys = frozenset({"messages"})

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        header = self._header(
            text_of(raw.get("session_id")) or text_of(raw.get("id")),
            title=raw.get("title"),
            created=raw.get("session_start") or raw.get("started_at"),
            updated=raw.get("last_updated") or raw.get("ended_at"),
            model=text_of(raw.get("model")),
            platform=text_of(raw.get("platform")) or text_of(raw.get("source")),
        )
        return self._thread(map(_record, objects_of(raw.get("messages"))), location, header)


class _Sessions(DatabaseReader):
    format_name = "hermes"
    tables = frozenset({"sessions", "messages"})

    def _sessions(self, database: Database) -> Iterator[ReaderItem]:
        database.create_index("said", "messages", "session_id", "id")
        for row in database.rows("SELECT * FROM main.sessions ORDER BY id"):
            yield self._session(
                database, row, text_of(row["id"]), title=row.get("title"), created=row.get("started_at"),
                updated=row.get("ended_at"), model=text_of(row.get("model")), platform=text_of(row.get("source")),
            )  # fmt: skip

    def _records(self, database: Database, row: Row) -> Iterator[dict[str, Any]]:
        for one in database.owned_rows("said", "messages", row["id"]):
            yield _record(one)


def _record(raw: dict[str, Any]) -> dict[str, Any]:
    role, at = text_of(raw.get("role")), raw.get("timestamp")
    if role not in ("system", "user", "assistant", "tool"):
        return left_out("message of an unknown role")
    content = raw.get("content")
    text = "\n".join(text_of(part.get("text")) for part in objects_of(content)) if isinstance(content, list) else as_text(content)  # fmt: skip
    calls = [_call(call) for call in objects_of(_parsed(raw.get("tool_calls")))]
    thinking = text_of(raw.get("reasoning")) or text_of(raw.get("reasoning_content"))
    if not (text or calls or thinking):
        return left_out(f"empty {role} message")
    return message(
        role, text, at=at, thinking=thinking, tool_calls=calls, tool_call_id=text_of(raw.get("tool_call_id")),
        name=text_of(raw.get("tool_name")) if role == "tool" else "",
    )  # fmt: skip


def _parsed(value: Any) -> Any:
    """Return a list that the database holds as JSON text."""
    return embedded_value(value) if isinstance(value, str) else value


def _call(raw: dict[str, Any]) -> dict[str, Any]:
    function = object_of(raw.get("function")) or raw
    return tool_call(raw.get("id"), function.get("name"), function.get("arguments", {}))
