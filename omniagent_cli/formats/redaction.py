"""What ``--redact`` does to a session on its way out: best effort, counted by kind."""

from __future__ import annotations

import json
from typing import Any

from omniagent_cli.json_format import dump
from omniagent_cli.text import redact

_IDENTITIES = frozenset({"id", "role", "turn_id", "tool_call_id", "created_at", "format", "type"})


class Redactor:
    """Masks what looks like a secret in texts, titles, metadata, tool arguments and results.

    Attributes:
        counts: how often something of each kind was masked.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a masked copy of a header or message record; ids, roles and times stay."""
        return {
            key: value if key in _IDENTITIES else self.value(value, key)
            for key, value in record.items()
        }

    def value(self, value: Any, key: str = "") -> Any:
        """Return a masked copy of a JSON value; `key` is the name it stands under."""
        if isinstance(value, str):
            return self._arguments(value) if key == "arguments" else self._text(value, key)
        if isinstance(value, dict):
            return {
                redact(name, self.counts): self.value(inner, name) for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self.value(inner, key) for inner in value]
        return value

    def _text(self, text: str, key: str) -> str:
        """Mask a text, also one whose secrecy only the name it stands under tells."""
        told: dict[str, int] = {}
        if key and "\n" not in text and len(text) >= 4:
            redact(f"{key}={text[:4]}xxxx", told)
        if "password" in told:
            self.counts["password"] = self.counts.get("password", 0) + 1
            return "[redacted: password]"
        return redact(text, self.counts)

    def _arguments(self, text: str) -> str:
        """Mask inside a tool call's JSON text, so that it is JSON text afterwards."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return redact(text, self.counts)
        masked = self.value(value)
        return text if masked == value else dump(masked).decode()
