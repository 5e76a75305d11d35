"""JSON for people and programs: one document whose text cannot drive a terminal, and that any encoding holds."""

from __future__ import annotations

import json
import re
from typing import Any

# JSON escapes the first 32 characters by itself; these would reach a terminal, or no UTF-8 file.
_UNSAFE = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def json_text(value: Any, *, indent: bool = False, ascii_only: bool = False) -> str:
    r"""Return a JSON document; what a terminal could obey stands there as ``\uXXXX``, which means the same."""
    text = json.dumps(
        value,
        ensure_ascii=ascii_only,
        indent=2 if indent else None,
        separators=None if indent else (",", ":"),
    )
    if text.isascii() and "\x7f" not in text:
        return text
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
