"""``markdown``: readable conversations; message text cannot be mistaken for the surrounding document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from omniagent_cli.formats.types import OutgoingSession
from omniagent_cli.models import other_parts, part_label, plain_text
from omniagent_cli.text.sanitize import one_line, visible

ROLE_NAMES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_SWALLOWING_HTML = re.compile(r"( {0,3})<(?=[!?]|(?:script|pre|style|textarea)\b)", re.IGNORECASE)
_MARKUP = re.compile(r"([\\`*_\[\]<>#|])")
_ESCAPES = {'"': '\\"', "\\": "\\\\"}


class Markdown:
    """Headings for sessions and messages; answers unchanged, tool calls and results in code blocks."""

    def __init__(self, *, front_matter: bool = False) -> None:
        self._front_matter = front_matter

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield one document with a section per session."""
        for number, session in enumerate(sessions):
            if number:
                yield b"\n---\n\n"
            if self._front_matter:
                yield "\n".join(_front_matter(session.header)).encode()
            else:
                yield "\n".join(_header(session.header)).encode()
            for kind, record in session.reading_order():
                yield (_message(record) if kind == "message" else _summary(record)).encode()


@lru_cache(maxsize=16)  # the model repeats with each message
def escape(text: str) -> str:
    """Escape text on one line so that it contains no markup."""
    return _MARKUP.sub(r"\\\1", one_line(text))


def fenced(text: str, language: str = "") -> str:
    """Return a code block whose fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def close_blocks(text: str) -> str:
    """Return Markdown with open code blocks closed and block-level HTML escaped."""
    if "```" not in text and "~~~" not in text:  # fast path for most messages
        return _SWALLOWING_HTML.sub(r"\1\\<", text) if "<" in text else text
    lines, fence = [], ""
    for line in text.split("\n"):
        marked = line.lstrip(" ").startswith(("```", "~~~"))
        match = FENCE.match(line) if marked else None
        if fence:
            if match and match[1].startswith(fence) and not match[2].strip():
                fence = ""
        elif match and not ("`" in match[1] and "`" in match[2]):
            fence = match[1]
        elif "<" in line:
            line = _SWALLOWING_HTML.sub(r"\1\\<", line)  # noqa: PLW2901  # replaced before it is appended
        lines.append(line)
    return "\n".join([*lines, fence] if fence else lines)


def format_timestamp(text: object) -> str:
    """Format a record's time to the second, in UTC."""
    return f"{text[:10]} {text[11:19]} UTC" if isinstance(text, str) and len(text) > 19 else ""


def attachment_labels(content: object) -> Iterator[str]:
    """Yield a label for each part that is not text, such as ``[image: cat.png, 120 kB]``; not sanitized."""
    for part in other_parts(content) if isinstance(content, list) else []:
        yield part_label(part, sized=True)


def pretty_arguments(arguments: object) -> tuple[str, str]:
    """Return the formatted arguments of a tool call and their language for highlighting."""
    text = arguments if isinstance(arguments, str) else ""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2), "json"
    except (ValueError, RecursionError):
        return text, ""


def _header(header: dict[str, Any]) -> Iterator[str]:
    yield _title(header)
    yield ""
    yield f"- Session: {escape(header['id'])}"
    if header.get("model"):
        yield f"- Model: {escape(header['model'])}"
    for key, name in (("created_at", "Created"), ("updated_at", "Updated")):
        if key in header:
            yield f"- {name}: {format_timestamp(header[key])}"
    yield ""


def _title(header: dict[str, Any]) -> str:
    return f"# {escape(header.get('title') or header['id'])}"


def _front_matter(header: dict[str, Any]) -> Iterator[str]:
    """Yield the header as YAML with all text quoted as in JSON, which every reader parses alike."""
    yield "---"
    for key in ("title", "id", "model", "created_at", "updated_at"):
        if header.get(key):
            yield f"{key}: {_quoted(header[key])}"
    metadata = header.get("metadata") or {}
    if isinstance(tags := metadata.get("tags"), list) and tags:
        yield f"tags: {_yaml(tags)}"
    if rest := {key: value for key, value in metadata.items() if key != "tags"}:
        yield f"metadata: {_yaml(rest)}"
    yield "---"
    yield ""
    yield _title(header)
    yield ""


def _yaml(value: Any) -> str:
    """Return a JSON value in YAML flow style."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_quoted(k)}: {_yaml(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return json.dumps(value)


def _quoted(text: str) -> str:
    """Return text in YAML double quotes; unprintable characters are escaped, since most readers reject them.

    https://yaml.org/spec/1.2.2/#57-escaped-characters
    """
    escaped = (
        _ESCAPES.get(c, c) if c.isprintable() else f"\\U{ord(c):08x}" for c in _encodable(text)
    )
    return f'"{"".join(escaped)}"'


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _heading(*facts: str) -> str:
    return f"\n## {' · '.join(fact for fact in facts if fact)}"


def _message(message: dict[str, Any]) -> str:
    role = ROLE_NAMES.get(message["role"], "Message")
    if name := message.get("name"):
        role += f" {escape(name)}"
    model, status = message.get("model") or "", message.get("status") or ""
    parse_timestamp = format_timestamp(message.get("created_at"))
    parts = [_heading(role, parse_timestamp, escape(model), escape(status))]
    content = message.get("content", "")
    if text := visible(plain_text(content)).strip("\n"):
        parts.append(fenced(text) if message["role"] == "tool" else close_blocks(text))
    parts.extend(f"*{escape(name)}*" for name in attachment_labels(content))
    for call in message.get("tool_calls") or []:
        arguments, language = pretty_arguments(call["function"].get("arguments"))
        parts.append(f"Tool call: **{escape(call['function']['name'])}**")
        parts.append(fenced(visible(arguments), language))
    return "\n\n".join(parts) + "\n"


def _summary(record: dict[str, Any]) -> str:
    model, text = record.get("model"), record.get("text")
    parse_timestamp = format_timestamp(record.get("created_at"))
    shown = close_blocks(visible(text).strip("\n")) if isinstance(text, str) else ""
    heading = _heading("Summary", parse_timestamp, escape(model) if isinstance(model, str) else "")
    return f"{heading}\n\n{shown}\n"
