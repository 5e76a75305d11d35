"""``csv``: one row per message, for spreadsheets: RFC 4180, UTF-8 with a byte order mark for Excel.

A spreadsheet evaluates a cell that looks like a formula, so such text is prefixed with an apostrophe:
https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from omniagent_cli.formats.types import OutgoingSession
from omniagent_cli.formats.writers.markdown import attachment_labels, format_timestamp
from omniagent_cli.models import plain_text
from omniagent_cli.text.sanitize import one_line, visible

COLUMNS = (
    "session",
    "title",
    "position",
    "time_utc",
    "role",
    "name",
    "model",
    "status",
    "text",
    "tool_calls",
    "attachments",
    "input_tokens",
    "output_tokens",
)

_BOM = b"\xef\xbb\xbf"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # noqa: RUF001  # full-width forms are evaluated too


class Csv:
    """One table for all sessions with a header row; summaries are not included."""

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield the table row by row."""
        yield _BOM + _row(COLUMNS)
        for session in sessions:
            header = session.header
            facts = [
                safe_cell(one_line(header["id"])),
                safe_cell(one_line(header.get("title") or "")),
            ]
            for record in session.messages:
                yield _row([*facts, str(session.position), *_cells(record)])


def safe_cell(text: str) -> str:
    """Return text that a spreadsheet does not evaluate."""
    return f"'{text}" if text.lstrip(" \n").startswith(_FORMULA) else text


def _row(cells: Iterable[str]) -> bytes:
    """Return an encoded row; the csv module needs three times as long for long texts."""
    return ",".join(map(_quoted, cells)).encode() + b"\r\n"


def _quoted(text: str) -> str:
    if "," in text or '"' in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def _cells(record: dict[str, Any]) -> Iterator[str]:
    yield format_timestamp(record.get("created_at")).removesuffix(" UTC")
    yield record["role"]
    yield safe_cell(one_line(record.get("name") or ""))
    yield safe_cell(one_line(record.get("model") or ""))
    yield record.get("status", "complete")
    content = record.get("content", "")
    yield safe_cell(visible(plain_text(content)))
    calls = (call["function"] for call in record.get("tool_calls") or [])
    yield safe_cell("\n".join(visible(f"{c['name']}({c.get('arguments', '')})") for c in calls))
    yield safe_cell("\n".join(map(one_line, attachment_labels(content))))
    usage = record.get("usage") or {}
    yield _count(usage.get("input_tokens"))
    yield _count(usage.get("output_tokens"))


def _count(value: object) -> str:
    return str(value) if type(value) is int and value >= 0 else ""
