"""Sessions, messages and summaries as HTML, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.writers.html.code import code_block
from omniagent_cli.formats.writers.html.escaping import escape_line, sanitize
from omniagent_cli.formats.writers.html.images import ImageEmbedder
from omniagent_cli.formats.writers.html.markdown import render_markdown, render_plain
from omniagent_cli.formats.writers.markdown import (
    ROLE_NAMES,
    format_timestamp,
    pretty_arguments,
)
from omniagent_cli.models import plain_text
from omniagent_cli.text.sanitize import cut

_ARGUMENTS_LENGTH = 80


def header(record: dict[str, Any], anchor: str) -> str:
    """Return the start of a session with title and properties; `ENDING` closes it."""
    facts = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(record) if value
    )
    title = escape_line(record.get("title") or record["id"])
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">\n'
        f'<h1 id="{anchor}-title" dir="auto">{title}</h1>\n'
        f'<dl class="facts">{facts}</dl>\n{_metadata(record)}'
    )


ENDING = "</section>\n"


def message(record: dict[str, Any], anchor: str, position: int, images: ImageEmbedder) -> str:
    """Return a message; tool calls and results are collapsed."""
    role, content = record["role"], record.get("content", "")
    who = ROLE_NAMES.get(role, "Message")
    name = f" <bdi>{escape_line(record.get('name'))}</bdi>" if record.get("name") else ""
    model = f"<span>{escape_line(record['model'])}</span>" if record.get("model") else ""
    status = (
        f'<span class="status">{escape_line(record["status"])}</span>' if _status(record) else ""
    )
    opening = (
        f'<article id="{anchor}" class="{role if role in ROLE_NAMES else "other"}">\n'
        f"<header><h2>{who}{name}</h2>{_time(record)}{model}{status}"
        f'<a class="anchor" href="#{anchor}" aria-label="message {position}">#{position}</a></header>\n'
    )
    parts = [
        opening,
        *_thinking(record),
        _message_body(role, plain_text(content)),
        *images.html(content, anchor),
        *(_call(call) for call in record.get("tool_calls") or []),
        *_error(record),
        "</article>\n",
    ]
    return "".join(parts)


def summary(record: dict[str, Any], anchor: str) -> str:
    """Return a summary, which is sent to the model instead of the messages it covers."""
    model = f"<span>{escape_line(record.get('model'))}</span>" if record.get("model") else ""
    text = record.get("text")
    body = render_markdown(sanitize(text).strip("\n")) if isinstance(text, str) else ""
    return (
        f'<article id="{anchor}" class="summary">\n<header><h2>Summary of the messages above</h2>'
        f"{_time(record)}{model}</header>\n<div>{body}</div></article>\n"
    )


def _facts(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Session", f"<bdi>{escape_line(record['id'])}</bdi>"
    yield "Model", escape_line(record.get("model"))
    for key, name in (("created_at", "Created"), ("updated_at", "Updated")):
        yield name, escape_line(format_timestamp(record.get(key)))
    tags = (record.get("metadata") or {}).get("tags")
    if isinstance(tags, list):
        yield (
            "Tags",
            ", ".join(f"<bdi>{escape_line(tag)}</bdi>" for tag in tags if isinstance(tag, str)),
        )


def _metadata(record: dict[str, Any]) -> str:
    rest = {key: v for key, v in (record.get("metadata") or {}).items() if key != "tags"}
    if not rest:
        return ""
    text = sanitize(json.dumps(rest, ensure_ascii=False, indent=2))
    return f"<details><summary>Metadata</summary>{code_block(text, 'json')}</details>\n"


def _status(record: dict[str, Any]) -> bool:
    return record.get("status") in ("interrupted", "failed")


def _time(record: dict[str, Any]) -> str:
    parse_timestamp = record.get("created_at")
    return (
        f'<time datetime="{escape_line(parse_timestamp)}">{format_timestamp(parse_timestamp)}</time>'
        if parse_timestamp
        else ""
    )


def _thinking(record: dict[str, Any]) -> Iterator[str]:
    thinking = (record.get("extra") or {}).get("thinking")
    if isinstance(thinking, str) and thinking.strip():
        inside = render_plain(sanitize(thinking).strip("\n"))
        yield f'<details class="thinking"><summary>Thinking</summary>{inside}</details>\n'


def _message_body(role: str, text: str) -> str:
    text = sanitize(text).strip("\n")
    if not text.strip():
        return ""
    if role == "assistant":
        return render_markdown(text)
    if role == "tool":
        size = f"{len(text):,} characters"
        return f"<details><summary><b>Result</b> {size}</summary>{code_block(text)}</details>\n"
    return render_plain(text)


def _call(call: dict[str, Any]) -> str:
    arguments, language = pretty_arguments(call["function"].get("arguments"))
    name = f"<b><bdi>{escape_line(call['function']['name'])}</bdi></b>"
    preview = escape_line(cut(" ".join(arguments[:400].split()), _ARGUMENTS_LENGTH))
    return (
        f"<details><summary>Tool call {name} <bdi>{preview}</bdi></summary>"
        f"{code_block(sanitize(arguments), language)}</details>\n"
    )


def _error(record: dict[str, Any]) -> Iterator[str]:
    error = (record.get("extra") or {}).get("error")
    if isinstance(error, str) and error:
        yield f'<p class="error" dir="auto">{escape_line(error)}</p>\n'
