"""Display forms of untrusted text: no control characters, no direction overrides, safe cuts.

Titles, ids, messages and tool output come from users, models and imported files. Stored text is never
changed; these functions return the copies that are shown.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# C0 and C1 controls except tab and newline, DEL, line and paragraph separators, and all characters that
# change the text direction. https://www.unicode.org/reports/tr9/ lists the last group.
_UNSAFE = dict.fromkeys(
    (
        *range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F,
        *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF, *range(0xFFF9, 0xFFFC),
    ),
    0xFFFD,
)  # fmt: skip
_UNSAFE_ASCII = bytes(code for code in _UNSAFE if code < 0x80)
_ESCAPED = {code: f"\\u{code:04x}" for code in _UNSAFE}
_ONE_LINE = {**_UNSAFE, 0x09: 0x20, 0x0A: 0x20, 0x2028: 0x20, 0x2029: 0x20}


def is_storable(text: str) -> bool:
    """Return True if every backend can store a text in a column: no NUL, no lone surrogates."""
    if "\x00" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=1)
def _unsafe() -> re.Pattern[str]:
    return re.compile(f"[{re.escape(''.join(map(chr, _UNSAFE)))}]")


def visible(text: str) -> str:
    """Return text that cannot drive a terminal: newlines and tabs are kept, other control characters become U+FFFD.

    Exports call this for every message: `str.translate` alone takes three times as long for plain ASCII, and twelve
    times as long for other text.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        return _unsafe().sub("\ufffd", _encodable(text))
    data = text.encode()
    harmless = len(data.translate(None, _UNSAFE_ASCII)) == len(data)
    return text if harmless else text.translate(_UNSAFE)


def one_line(text: str) -> str:
    """Return `visible` text on one line, for ids, titles and table cells."""
    return _encodable(text.replace("\r\n", "\n").replace("\r", "\n")).translate(_ONE_LINE)


def plain_field(text: str) -> str:
    r"""Return text as a field of a tab-separated line, escaped and never shortened.

    Backslash, tab, newline and unsafe characters become ``\\``, ``\t``, ``\n`` and ``\uXXXX``.
    """
    if "\\" not in text and text.isprintable():
        return text  # unsafe characters are never printable
    escaped = (
        text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    )
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8").translate(_ESCAPED)


def cut(text: str, length: int) -> str:
    """Return at most `length` characters, with an ellipsis if shortened, never inside a combined character."""
    if len(text) <= length:
        return text
    end = max(0, length - 1)
    while end and (
        is_mark(text[end])
        or "\u200d" in text[end - 1 : end + 1]
        or 0x1F3FB <= ord(text[end]) <= 0x1F3FF
    ):
        end -= 1
    return text[:end].rstrip() + "…"


def first_line(text: str, length: int) -> str:
    """Return the first non-blank line, white space collapsed, shortened to `length` characters."""
    lines = text[: length * 20].lstrip()[: length * 2].splitlines()
    return cut(" ".join(lines[0].split()), length) if lines else ""


@lru_cache(maxsize=4096)
def is_mark(character: str) -> bool:
    """Return True for a combining mark."""
    return unicodedata.category(character)[0] == "M"
