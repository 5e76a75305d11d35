"""Messages of a session for terminals, pipes and JSON. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from omniagent_cli.agent.context.summary import Summary
from omniagent_cli.durations import format_moment
from omniagent_cli.json_format import format_time
from omniagent_cli.models import Message, Session, SessionSummary
from omniagent_cli.text.sanitize import one_line, plain_field, visible
from omniagent_cli.ui.json_text import json_text
from omniagent_cli.ui.views import counted, marks

ROLE_STYLES = {
    "user": "bold cyan",
    "assistant": "bold green",
    "tool": "bold yellow",
    "system": "bold",
}
"""Styles of message headings by role."""

SUMMARY_STYLE = "bold magenta"


def host_of(message: Message) -> str:
    """Return the machine on which a message was typed; "" if that is not recorded."""
    origin = message.record.get("origin")
    host = origin.get("host") if isinstance(origin, dict) else None
    return host if isinstance(host, str) else ""


def hosts_of(messages: Iterable[Message]) -> dict[str | None, str]:
    """Return the machine of each turn by its id; empty if all were typed on the same one."""
    asked = (message for message in messages if message.role == "user")
    hosts = {message.turn_id or message.id: host_of(message) for message in asked}
    return hosts if len(set(hosts.values())) > 1 else {}


def heading(message: Message, now: datetime, host: str = "") -> str:
    """Return author, position, time and, if given, machine of a message on one line."""
    who = message.role if not message.name else f"{message.role} {message.name}"
    parts = [who, f"#{message.position}", *([host] if host else [])]
    if message.created_at:
        parts.append(format_moment(message.created_at, now))
    if message.status != "complete":
        parts.append(message.status)
    return one_line(" · ".join(parts))


_SPEAKERS = {"user": "You", "assistant": "Answer", "tool": "Tool", "system": "System prompt"}


def spoken_heading(message: Message) -> str:
    """Return the author of a message in words, for screen readers."""
    parts = [_SPEAKERS.get(message.role, message.role), message.name or ""]
    if message.status != "complete":
        parts.append(f"({message.status})")
    return one_line(f"{' '.join(filter(None, parts))}:")


def body(message: Message) -> str:
    """Return a message as text, with attachments by name and a line per tool call; not sanitized."""
    parts = [message.text] if message.text else []
    parts += [call_line(call) for call in message.tool_calls or []]
    return "\n".join(parts)


def call_line(call: dict[str, Any]) -> str:
    """Return a tool call as ``→ name(arguments)``."""
    function = call.get("function", {})
    return f"→ {function.get('name', '')}({function.get('arguments', '')})"


def terminal_body(message: Message) -> str:
    """Return the sanitized `body`."""
    return visible(body(message))


def summary_heading(summary: Summary, now: datetime) -> str:
    """Return range, model and time of a summary on one line."""
    parts = ["summary", f"sent instead of the messages up to #{summary.up_to}", summary.model]
    if summary.created_at:
        parts.append(format_moment(summary.created_at, now))
    return one_line(" · ".join(part for part in parts if part))


def message_fields(message: Message) -> list[str]:
    """Return position, creation time, role, status and text."""
    return [
        str(message.position),
        format_time(message.created_at) if message.created_at else "",
        message.role,
        message.status,
        plain_field(body(message)),
    ]


def message_record(message: Message) -> dict[str, Any]:
    """Return the JSON form of a message: its record and position."""
    return {"position": message.position, **message.to_record()}


def summary_record(summary: Summary) -> dict[str, Any]:
    """Return the JSON form of a summary."""
    record: dict[str, Any] = {"up_to": summary.up_to, "text": summary.text, "model": summary.model}
    if summary.messages is not None:
        record["messages"] = summary.messages
    if summary.created_at:
        record["created_at"] = format_time(summary.created_at)
    return record | ({"usage": dict(summary.usage)} if summary.usage else {})


def session_record(
    session: Session,
    messages: list[Message],
    count: int,
    *,
    usage: dict[str, Any],
    summary: Summary | None,
) -> dict[str, Any]:
    """Return the JSON form of a session with some or all of its messages.

    Args:
        session: session header.
        messages: messages to include.
        count: total number of messages.
        usage: total token usage.
        summary: summary that is sent instead of the messages it covers.
    """
    summary_part = {} if summary is None else {"summary": summary_record(summary)}
    return {
        **session.header_record(),
        "message_count": count,
        "usage": usage,
        **summary_part,
        "messages": [message_record(message) for message in messages],
    }


def header_lines(summary: SessionSummary, now: datetime, used: str = "") -> Iterator[str]:
    """Yield the lines above the messages on a terminal: the title, then properties and usage."""
    yield one_line(summary.title or summary.id)
    facts = [summary.id] if summary.title else []
    facts += [counted(summary.message_count, "message"), summary.model]
    facts.append(f"updated {format_moment(summary.updated_at, now)}")
    facts.append(f"created {format_moment(summary.created_at, now)}")
    if summary.expires_at:
        facts.append(f"expires {format_moment(summary.expires_at, now)}")
    facts.append(used)
    facts += [*marks(summary), *(f"#{tag}" for tag in summary.tags)]
    yield one_line(" · ".join(fact for fact in facts if fact))
    for key, value in summary.metadata.items():
        if key not in ("pinned", "archived", "tags"):
            yield one_line(f"{key}: {value if isinstance(value, str) else json_text(value)}")


def header_fields(summary: SessionSummary) -> Iterator[list[str]]:
    """Yield name and value pairs above the messages in a pipe."""
    yield ["id", plain_field(summary.id)]
    yield ["title", plain_field(summary.title)]
    yield ["model", plain_field(summary.model)]
    yield ["messages", str(summary.message_count)]
    yield ["created", format_time(summary.created_at)]
    yield ["updated", format_time(summary.updated_at)]
    yield ["expires", format_time(summary.expires_at) if summary.expires_at else ""]
    yield ["metadata", json_text(summary.metadata)]
