"""Summaries: the text sent instead of a session's older messages, which remain stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from omniagent_cli.errors import InvalidRecord, SessionNotFound
from omniagent_cli.json_format import parse_time
from omniagent_cli.stores.store import SessionStore


@dataclass(frozen=True, slots=True)
class Summary:
    """A summary record.

    Attributes:
        up_to: the position of the last message it covers.
        messages: the number of messages it covers; None if unknown.
        usage: the token usage, as reported by the provider.
    """

    up_to: int
    text: str
    messages: int | None = None
    model: str = ""
    created_at: datetime | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)


def read_summary(record: Any) -> Summary | None:
    """Read a stored summary record, which may have been imported; None if it is invalid."""
    if not isinstance(record, Mapping):
        return None
    up_to, text = record.get("up_to"), record.get("text")
    if not isinstance(up_to, int) or up_to < 0 or not isinstance(text, str) or not text.strip():
        return None
    messages, model, usage = record.get("messages"), record.get("model"), record.get("usage")
    return Summary(
        up_to,
        text,
        messages if isinstance(messages, int) else None,
        model if isinstance(model, str) else "",
        _time(record.get("created_at")),
        usage if isinstance(usage, Mapping) else {},
    )


def _time(value: Any) -> datetime | None:
    try:
        return parse_time(value) if isinstance(value, str) else None
    except InvalidRecord:
        return None


def summary_of(store: SessionStore, session_id: str) -> Summary | None:
    """Return the newest summary of a session; None if it has none or does not exist."""
    try:
        return read_summary(store.last_summary(session_id))
    except SessionNotFound:
        return None


def summaries_of(store: SessionStore, session_id: str) -> list[Summary]:
    """Return all summaries of a session, oldest first."""
    try:
        found = [read_summary(record) for _, record in store.iter_records(session_id, "summary")]
    except SessionNotFound:
        return []
    return [summary for summary in found if summary is not None]
