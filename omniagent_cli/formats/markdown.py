"""``markdown``: a conversation to read, in which nothing that was said can pass for the document around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from omniagent_cli.formats.exchange import Outgoing
from omniagent_cli.models import other_parts, part_label, plain_text
from omniagent_cli.text import one_line, visible

ROLE_NAMES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_SWALLOWING_HTML = re.compile(r"( {0,3})<(?=[!?]|(?:script|pre|style|textarea)\b)", re.IGNORECASE)
_MARKUP = re.compile(r"([\\`*_\[\]<>#|])")


class Markdown:
    """Headings for sessions and messages; answers as they are, tool calls and results fenced."""

    def write(self, sessions: Iterable[Outgoing]) -> Iterator[bytes]:
        """Yield one document with a part for each session."""
        for number, session in enumerate(sessions):
            if number:
                yield b"\n---\n\n"
            yield "\n".join(_header(session.header)).encode()
            for message in session.messages:
                yield _message(message).encode()


def escape(text: str) -> str:
    """Write text on one line so that no character of it is markup."""
    return _MARKUP.sub(r"\\\1", one_line(text))


def fenced(text: str, language: str = "") -> str:
    """Put text into a code block whose fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def closed(text: str) -> str:
    """Return markdown that ends whatever it begins: an open code block, or HTML that would swallow the rest."""
    lines, fence = [], ""
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence) and not match[2].strip():
                fence = ""
        elif match and not ("`" in match[1] and "`" in match[2]):
            fence = match[1]
        else:
            line = _SWALLOWING_HTML.sub(r"\1\\<", line)  # noqa: PLW2901  # the line as it is written
        lines.append(line)
    return "\n".join([*lines, fence] if fence else lines)


def shown_time(text: object) -> str:
    """Write a record's time for people: to the second."""
    return f"{text[:10]} {text[11:19]} UTC" if isinstance(text, str) and len(text) > 19 else ""


def attached(content: object) -> Iterator[str]:
    """Name the parts of a content that are no text: ``[image: cat.png, 120 kB]``; not yet made harmless."""
    for part in other_parts(content) if isinstance(content, list) else []:
        yield part_label(part, sized=True)


def pretty_arguments(arguments: object) -> tuple[str, str]:
    """Return a tool call's arguments to read, and the language to colour them as."""
    text = arguments if isinstance(arguments, str) else ""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2), "json"
    except (ValueError, RecursionError):
        return text, ""


def _header(header: dict[str, Any]) -> Iterator[str]:
    yield f"# {escape(header.get('title') or header['id'])}"
    yield ""
    yield f"- Session: {escape(header['id'])}"
    if header.get("model"):
        yield f"- Model: {escape(header['model'])}"
    for key, name in (("created_at", "Created"), ("updated_at", "Updated")):
        if key in header:
            yield f"- {name}: {shown_time(header[key])}"
    yield ""


def _message(message: dict[str, Any]) -> str:
    role = ROLE_NAMES.get(message["role"], "Message")
    if message.get("name"):
        role += f" {escape(message['name'])}"
    facts = [role, shown_time(message.get("created_at")), escape(message.get("model") or "")]
    if message.get("status"):
        facts.append(escape(message["status"]))
    parts = [f"\n## {' · '.join(fact for fact in facts if fact)}"]
    if text := visible(plain_text(message.get("content", ""))).strip("\n"):
        parts.append(fenced(text) if message["role"] == "tool" else closed(text))
    parts.extend(f"*{escape(name)}*" for name in attached(message.get("content")))
    for call in message.get("tool_calls") or []:
        arguments, language = pretty_arguments(call["function"].get("arguments"))
        parts.append(f"Tool call: **{escape(call['function']['name'])}**")
        parts.append(fenced(visible(arguments), language))
    return "\n\n".join(parts) + "\n"
