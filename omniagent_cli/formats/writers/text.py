"""``text``: plain text; message text is indented, so it cannot be mistaken for a heading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from omniagent_cli.formats.types import OutgoingSession
from omniagent_cli.formats.writers.markdown import (
    ROLE_NAMES,
    attachment_labels,
    format_timestamp,
    pretty_arguments,
)
from omniagent_cli.models import plain_text
from omniagent_cli.text.sanitize import one_line, visible

_RULE = "=" * 72


class PlainText:
    """Title, then for each message a line with author and time, and its text."""

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield one document with a section per session."""
        for number, session in enumerate(sessions):
            yield f"{_separator(number)}{_header(session.header)}".encode()
            for kind, record in session.reading_order():
                yield (_message(record) if kind == "message" else _summary(record)).encode()


def _separator(number: int) -> str:
    return "\n\n" if number else ""


def _header(header: dict[str, Any]) -> str:
    facts = [one_line(header["id"]), one_line(header.get("model") or "")]
    if "created_at" in header:
        facts.append(format_timestamp(header["created_at"]))
    title = one_line(header.get("title") or header["id"])
    return f"{_RULE}\n{title}\n{' · '.join(fact for fact in facts if fact)}\n{_RULE}\n"


def _message(message: dict[str, Any]) -> str:
    author = ROLE_NAMES.get(message["role"], "Message")
    if message.get("name"):
        author += f" {one_line(message['name'])}"
    facts = [format_timestamp(message.get("created_at")), one_line(message.get("status") or "")]
    heading = " · ".join([author, *(fact for fact in facts if fact)])
    content = message.get("content", "")
    blocks = [plain_text(content), "\n".join(attachment_labels(content))]
    for call in message.get("tool_calls") or []:
        arguments, _ = pretty_arguments(call["function"].get("arguments"))
        blocks.append(f"→ {one_line(call['function']['name'])}\n{arguments}")
    body = "\n".join(_indented(block) for block in blocks if block.strip())
    return f"\n{heading}\n{body}\n" if body else f"\n{heading}\n"


def _summary(record: dict[str, Any]) -> str:
    text = record.get("text")
    body = _indented(text) if isinstance(text, str) else ""
    heading = " · ".join(filter(None, ["Summary", format_timestamp(record.get("created_at"))]))
    return f"\n{heading}\n{body}\n"


def _indented(text: str) -> str:
    lines = visible(text).strip("\n").split("\n")
    return "\n".join([f"    {line}".rstrip() for line in lines])
