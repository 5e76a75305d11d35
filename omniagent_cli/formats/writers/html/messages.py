"""Sessions, messages and summaries -> HTML, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.writers.html.code import block
from omniagent_cli.formats.writers.html.escaping import line, shown
from omniagent_cli.formats.writers.html.images import Pictures
from omniagent_cli.formats.writers.html.markdown import markdown, plain
from omniagent_cli.formats.writers.markdown import ROLE_NAMES, pretty_arguments, shown_time
from omniagent_cli.models import plain_text
from omniagent_cli.text.sanitize import cut

_ARGUMENTS_LENGTH = 80


def header(record: dict[str, Any], anchor: str) -> str:
    """Return the beginning of a session: its title and facts; `ending` closes it."""
    facts = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(record) if value
    )
    title = line(record.get("title") or record["id"])
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">\n'
        f'<h1 id="{anchor}-title" dir="auto">{title}</h1>\n'
        f'<dl class="facts">{facts}</dl>\n{_metadata(record)}'
    )


ENDING = "</section>\n"


def message(record: dict[str, Any], anchor: str, position: int, pictures: Pictures) -> str:
    """Return a message; what tools were asked and said is folded."""
    role, content = record["role"], record.get("content", "")
    who = ROLE_NAMES.get(role, "Message")
    name = f" <bdi>{line(record.get('name'))}</bdi>" if record.get("name") else ""
    model = f"<span>{line(record['model'])}</span>" if record.get("model") else ""
    status = f'<span class="status">{line(record["status"])}</span>' if _status(record) else ""
    opening = (
        f'<article id="{anchor}" class="{role if role in ROLE_NAMES else "other"}">\n'
        f"<header><h2>{who}{name}</h2>{_time(record)}{model}{status}"
        f'<a class="anchor" href="#{anchor}" aria-label="message {position}">#{position}</a></header>\n'
    )
    parts = [
        opening,
        *_thinking(record),
        _said(role, plain_text(content)),
        *pictures.html(content, anchor),
        *(_call(call) for call in record.get("tool_calls") or []),
        *_error(record),
        "</article>\n",
    ]
    return "".join(parts)


def summary(record: dict[str, Any], anchor: str) -> str:
    """Return a summary, which is sent to the model instead of the messages up to it."""
    model = f"<span>{line(record.get('model'))}</span>" if record.get("model") else ""
    text = record.get("text")
    said = markdown(shown(text).strip("\n")) if isinstance(text, str) else ""
    return (
        f'<article id="{anchor}" class="summary">\n<header><h2>Summary of what stands above</h2>'
        f"{_time(record)}{model}</header>\n<div>{said}</div></article>\n"
    )


def _facts(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Session", f"<bdi>{line(record['id'])}</bdi>"
    yield "Model", line(record.get("model"))
    for key, name in (("created_at", "Created"), ("updated_at", "Updated")):
        yield name, line(shown_time(record.get(key)))
    tags = (record.get("metadata") or {}).get("tags")
    if isinstance(tags, list):
        yield "Tags", ", ".join(f"<bdi>{line(tag)}</bdi>" for tag in tags if isinstance(tag, str))


def _metadata(record: dict[str, Any]) -> str:
    rest = {key: v for key, v in (record.get("metadata") or {}).items() if key != "tags"}
    if not rest:
        return ""
    text = shown(json.dumps(rest, ensure_ascii=False, indent=2))
    return f"<details><summary>Metadata</summary>{block(text, 'json')}</details>\n"


def _status(record: dict[str, Any]) -> bool:
    return record.get("status") in ("interrupted", "failed")


def _time(record: dict[str, Any]) -> str:
    moment = record.get("created_at")
    return f'<time datetime="{line(moment)}">{shown_time(moment)}</time>' if moment else ""


def _thinking(record: dict[str, Any]) -> Iterator[str]:
    thought = (record.get("extra") or {}).get("thinking")
    if isinstance(thought, str) and thought.strip():
        inside = plain(shown(thought).strip("\n"))
        yield f'<details class="thinking"><summary>Thinking</summary>{inside}</details>\n'


def _said(role: str, text: str) -> str:
    text = shown(text).strip("\n")
    if not text.strip():
        return ""
    if role == "assistant":
        return markdown(text)
    if role == "tool":
        size = f"{len(text):,} characters"
        return f"<details><summary><b>Result</b> {size}</summary>{block(text)}</details>\n"
    return plain(text)


def _call(call: dict[str, Any]) -> str:
    arguments, language = pretty_arguments(call["function"].get("arguments"))
    name = f"<b><bdi>{line(call['function']['name'])}</bdi></b>"
    told = line(cut(" ".join(arguments[:400].split()), _ARGUMENTS_LENGTH))
    return (
        f"<details><summary>Tool call {name} <bdi>{told}</bdi></summary>"
        f"{block(shown(arguments), language)}</details>\n"
    )


def _error(record: dict[str, Any]) -> Iterator[str]:
    error = (record.get("extra") or {}).get("error")
    if isinstance(error, str) and error:
        yield f'<p class="error" dir="auto">{line(error)}</p>\n'
