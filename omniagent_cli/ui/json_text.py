"""JSON output that cannot drive a terminal and that any encoding can represent."""

from __future__ import annotations

import json
import re
from typing import Any

# JSON escapes the first 32 characters; these may drive a terminal or cannot be encoded as UTF-8.
_UNSAFE = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def json_text(value: Any, *, indent: bool = False, ascii_only: bool = False) -> str:
    r"""Return a JSON document; characters that a terminal may interpret are escaped as ``\uXXXX``."""
    text = json.dumps(
        value,
        ensure_ascii=ascii_only,
        indent=2 if indent else None,
        separators=None if indent else (",", ":"),
    )
    if text.isascii() and "\x7f" not in text:
        return text
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
