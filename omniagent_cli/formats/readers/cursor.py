"""``cursor``: chats of the editor Cursor, ``User/globalStorage/state.vscdb``.

The table ``cursorDiskKV`` has JSON values: ``composerData:ID`` is a chat, whose ``fullConversationHeadersOnly`` orders
the messages ``bubbleId:ID:BUBBLE``; older chats hold their messages in ``conversation``. Cursor does not publish
the format; this follows public readers of versions 0.40 to 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.readers.database import Database, Row
from omniagent_cli.formats.readers.database_sessions import DatabaseReader, json_object
from omniagent_cli.formats.readers.records import (
    as_text,
    left_out,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
    usage_of,
)
from omniagent_cli.formats.types import ReaderItem

_USAGE = {"inputTokens": "input_tokens", "outputTokens": "output_tokens"}
_USER = 1


class Cursor(DatabaseReader):
    """Reader of the chats of Cursor."""

    format_name = "cursor"
    tables = frozenset({"cursorDiskKV"})

    def _sessions(self, database: Database) -> Iterator[ReaderItem]:
        keys = "SELECT key FROM main.cursorDiskKV WHERE key >= 'composerData:' AND key < 'composerData;' ORDER BY key"
        for row in database.rows(keys):
            composer = json_object(database.one("cursorDiskKV", "key", row["key"]).get("value"))
            source_id = text_of(row["key"]).partition(":")[2]
            name = object_of(composer.get("modelConfig")).get("modelName")
            yield self._session(
                database, row, source_id, title=composer.get("name"), created=composer.get("createdAt"),
                updated=composer.get("lastUpdatedAt"), model=text_of(name),
            )  # fmt: skip

    def _records(self, database: Database, row: Row) -> Iterator[dict[str, Any]]:
        key = text_of(row["key"])
        composer = json_object(database.one("cursorDiskKV", "key", key).get("value"))
        model = text_of(object_of(composer.get("modelConfig")).get("modelName"))
        source_id = key.partition(":")[2]
        for header in objects_of(composer.get("fullConversationHeadersOnly")):
            bubble_key = f"bubbleId:{source_id}:{text_of(header.get('bubbleId'))}"
            bubble = json_object(database.one("cursorDiskKV", "key", bubble_key).get("value"))
            yield from _bubble(bubble or header, model)
        for bubble in objects_of(composer.get("conversation")):
            yield from _bubble(bubble, model)


def _bubble(raw: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
    role = "user" if raw.get("type") == _USER else "assistant"
    id_, at = text_of(raw.get("bubbleId")), raw.get("createdAt")
    text, tool = text_of(raw.get("text")), object_of(raw.get("toolFormerData"))
    thinking = text_of(object_of(raw.get("thinking")).get("text"))
    calls = []
    if name := tool.get("name"):
        arguments = tool.get("rawArgs") or tool.get("params") or "{}"
        calls = [tool_call(tool.get("toolCallId") or id_, name, arguments)]
    if not (text or thinking or calls):
        yield left_out(f"empty {role} message")
        return
    yield message(
        role, text, id_=id_, at=at, model=model if role == "assistant" and model != "default" else "",
        thinking=thinking, tool_calls=calls, usage=usage_of(object_of(raw.get("tokenCount")), _USAGE),
    )  # fmt: skip
    if calls and tool.get("result") is not None:
        yield message(
            "tool", as_text(tool["result"]), id_=f"{id_}-result", at=at, tool_call_id=calls[0]["id"],
            failed=tool.get("status") == "error",
        )  # fmt: skip
