"""``librechat``: conversations exported from LibreChat, flat or with nested ``children``.

A message names its parent in ``parentMessageId``; its text is in ``text``, or in ``content`` as parts (text, think,
tool_call). Source: https://github.com/danny-avila/LibreChat (``api/server/utils/import``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.readers.answer_steps import AnswerSteps
from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.records import (
    as_text,
    left_out,
    object_of,
    objects_of,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import ReaderItem


class LibreChat(ConversationReader):
    """Reader of a LibreChat export."""

    format_name = "librechat"
    nested_keys = frozenset({"messages", "messagesTree", "children"})

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        messages = list(_flat(objects_of(raw.get("messages") or raw.get("messagesTree"))))
        times = [one.get("createdAt") for one in messages if one.get("createdAt")]
        model = text_of(object_of(raw.get("options")).get("model"))
        endpoint = text_of(raw.get("endpoint"))
        header = self._header(
            text_of(raw.get("conversationId")),
            title=raw.get("title"),
            created=times[0] if times else None,
            updated=times[-1] if times else None,
            model=f"{endpoint.lower()}:{model}" if model else "",
        )
        ids = {text_of(one.get("messageId")) for one in messages}
        nodes = (
            (
                text_of(one.get("messageId")) or f"message-{number}",
                parent if (parent := text_of(one.get("parentMessageId"))) in ids else None,
                list(_records(one)),
            )
            for number, one in enumerate(messages)
        )
        return self._tree(nodes, None, location, header)


def _flat(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield nested messages in order; a parent is before its children."""
    pending = list(reversed(messages))
    while pending:
        one = pending.pop()
        yield one
        pending += reversed(objects_of(one.get("children")))


def _records(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    role = "user" if raw.get("isCreatedByUser") is True else "assistant"
    id_, at = text_of(raw.get("messageId")), raw.get("createdAt")
    steps = AnswerSteps()
    steps.add_part({"type": "text", "text": text_of(raw.get("text"))})
    for part in objects_of(raw.get("content")):
        kind = part.get("type")
        if kind == "text":
            text = part.get("text")
            said = text if isinstance(text, str) else text_of(object_of(text).get("value"))
            steps.add_part({"type": "text", "text": said})
        elif kind == "think":
            steps.add_thinking(text_of(part.get("think")))
        elif kind == "tool_call":
            call = object_of(part.get("tool_call"))
            steps.add_call(
                tool_call(call.get("id"), call.get("name"), call.get("args") or {}), as_text(call.get("output"))
            )  # fmt: skip
    for one in objects_of(raw.get("files")):
        steps.add_part({"type": "text", "text": f"[file: {text_of(one.get('filename')) or 'unnamed'}]"})  # fmt: skip
    model = text_of(raw.get("model")) if role == "assistant" else ""
    status = "failed" if raw.get("error") is True else "interrupted" if raw.get("unfinished") is True else ""  # fmt: skip
    records = list(steps.records(role, id_, at, model=model, status=status))
    yield from records or [left_out(f"empty {role} message")]
