"""HTML escaping of untrusted text: no markup, no control characters, no direction overrides."""

from __future__ import annotations

import re
from html import escape

from omniagent_cli.text.sanitize import one_line, visible

_DIRECTION_MARKS = re.compile("([\u061c\u200e\u200f])")
"""Direction marks needed by Hebrew and Arabic text. They act in one place, and blocks are isolated; embeddings,
overrides and isolates become U+FFFD, as everywhere: https://www.unicode.org/reports/tr9/"""


def sanitize(text: str) -> str:
    """Return displayable text; newlines and direction marks are kept."""
    if text.isascii() or not _DIRECTION_MARKS.search(text):
        return visible(text)
    return "".join(
        p if _DIRECTION_MARKS.fullmatch(p) else visible(p) for p in _DIRECTION_MARKS.split(text)
    )


def escape_text(text: str) -> str:
    """Return sanitized text escaped for element content."""
    return escape(text, quote=False)


def quote_attribute(text: str) -> str:
    """Return sanitized text as a quoted attribute value."""
    return f'"{escape(text, quote=True)}"'


def escape_line(text: object) -> str:
    """Return any text sanitized and escaped on one line; empty if the value is not text."""
    return escape(one_line(text), quote=True) if isinstance(text, str) else ""
