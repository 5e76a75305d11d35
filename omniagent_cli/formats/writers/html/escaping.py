"""Text -> what stands for it in HTML: no character of it is markup, drives anything, or turns what follows around."""

from __future__ import annotations

import re
from html import escape

from omniagent_cli.text.sanitize import one_line, visible

_DIRECTION_MARKS = re.compile("([\u061c\u200e\u200f])")
"""Marks of direction that Hebrew and Arabic texts need. They act on one place, and each block of ours stands alone;
what embeds, overrides or isolates is shown as U+FFFD, as everywhere: https://www.unicode.org/reports/tr9/"""


def sanitize(text: str) -> str:
    """Return text without what is not for showing; lines and marks of direction stay."""
    if text.isascii() or not _DIRECTION_MARKS.search(text):
        return visible(text)
    return "".join(
        p if _DIRECTION_MARKS.fullmatch(p) else visible(p) for p in _DIRECTION_MARKS.split(text)
    )


def escape_text(text: str) -> str:
    """Return text, shown already, for between tags."""
    return escape(text, quote=False)


def quote_attribute(text: str) -> str:
    """Return text, shown already, as the value of an attribute with its quotes."""
    return f'"{escape(text, quote=True)}"'


def escape_line(text: object) -> str:
    """Return any text on one line, harmless, for between tags or in a quoted attribute; empty when it is none."""
    return escape(one_line(text), quote=True) if isinstance(text, str) else ""
