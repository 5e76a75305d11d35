"""``grok``: ``prod-grok-backend.json`` of a Grok (x.ai) account export.

``conversations`` is a list of ``{"conversation", "responses": [{"response"}]}``. A response names its parent when it
is a regenerated or edited one; times are extended JSON of MongoDB (``{"$date": {"$numberLong"}}``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.records import (
    left_out,
    message,
    object_of,
    objects_of,
    text_of,
)
from omniagent_cli.formats.types import ReaderItem


class Grok(ConversationReader):
    """Reader of a Grok account export."""

    format_name = "grok"
    list_key = "conversations"
    nested_keys = frozenset({"responses"})

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        facts = object_of(raw.get("conversation"))
        header = self._header(
            text_of(facts.get("id")),
            title=facts.get("title"),
            created=_time(facts.get("create_time")),
            updated=_time(facts.get("modify_time")),
            pinned=facts.get("starred"),
        )
        return self._tree(_nodes(objects_of(raw.get("responses"))), None, location, header)


def _nodes(
    responses: list[dict[str, Any]],
) -> Iterator[tuple[str, str | None, list[dict[str, Any]]]]:
    previous: str | None = None
    for number, one in enumerate(responses):
        raw = object_of(one.get("response"))
        node_id = text_of(raw.get("_id")) or f"response-{number}"
        parent = text_of(raw.get("parent_response_id")) or previous
        yield node_id, parent, [_record(raw, node_id)]
        previous = node_id


def _record(raw: dict[str, Any], node_id: str) -> dict[str, Any]:
    role = "user" if text_of(raw.get("sender")).lower() == "human" else "assistant"
    files = [text_of(one) for one in raw.get("file_attachments") or () if text_of(one)]
    pages = objects_of(raw.get("web_search_results"))
    sources = [{"title": text_of(p.get("title")), "url": text_of(p.get("url"))} for p in pages]
    text = "\n".join(
        filter(None, [text_of(raw.get("message")), *(f"[file: {name}]" for name in files)])
    )
    thinking = text_of(raw.get("thinking_trace"))
    if not (text or thinking):
        return left_out("empty message")
    model = text_of(raw.get("model"))
    return message(
        role, text, id_=node_id, at=_time(raw.get("create_time")), thinking=thinking,
        model=f"xai:{model}" if model and role == "assistant" else "",
        extra={"sources": sources} if sources else None,
    )  # fmt: skip


def _time(value: Any) -> Any:
    """Return a time as text or milliseconds."""
    date = object_of(value).get("$date", value)
    number = object_of(date).get("$numberLong", date)
    return int(number) if isinstance(number, str) and number.isdigit() else number
