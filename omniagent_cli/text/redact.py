"""Redaction of secrets in text and in records: best effort, counted by kind."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from omniagent_cli.json_format import dump

# Patterns of `--redact`, public so that users can judge them. Best effort: a secret that looks like
# ordinary text is not found. Prefixes are the providers' documented ones.
REDACTIONS: tuple[tuple[str, str], ...] = (
    (
        "private-key",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    ),
    ("openai-key", r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}"),
    ("anthropic-key", r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    ("aws-access-key", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("google-key", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("github-token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("gitlab-token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("slack-token", r"\bxox[abposr]-[A-Za-z0-9-]{10,}"),
    ("stripe-key", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("hugging-face-token", r"\bhf_[A-Za-z0-9]{30,}"),
    ("npm-token", r"\bnpm_[A-Za-z0-9]{36}"),
    ("jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    ("bearer", r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{16,}=*"),
    ("url-password", r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"),
    (
        "password",
        r"(?i)\b(?:password|passwd|pwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token)\b[\"']?\s*[:=]\s*[\"']?[^\s\"',;]{4,}",
    ),
)


@lru_cache(maxsize=1)
def _redaction_patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((name, re.compile(pattern, re.DOTALL)) for name, pattern in REDACTIONS)


def redact(text: str, counts: dict[str, int]) -> str:
    """Replace likely secrets by ``[redacted: kind]`` and add to the counts by kind."""
    for name, pattern in _redaction_patterns():
        text, found = pattern.subn(f"[redacted: {name}]", text)
        if found:
            counts[name] = counts.get(name, 0) + found
    return text


_IDENTITIES = frozenset({"id", "role", "turn_id", "tool_call_id", "created_at", "format", "type"})


class Redactor:
    """Redaction of texts, titles, metadata, tool arguments and results.

    Attributes:
        counts: number of redactions by kind.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a redacted copy of a header or message record; ids, roles and times are kept."""
        return {
            key: value if key in _IDENTITIES else self.value(value, key)
            for key, value in record.items()
        }

    def value(self, value: Any, key: str = "") -> Any:
        """Return a redacted copy of a JSON value; `key` is its key."""
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
        """Redact text, including text that only its key identifies as a secret."""
        probe: dict[str, int] = {}
        if key and "\n" not in text and len(text) >= 4:
            redact(f"{key}={text[:4]}xxxx", probe)
        if "password" in probe:
            self.counts["password"] = self.counts.get("password", 0) + 1
            return "[redacted: password]"
        return redact(text, self.counts)

    def _arguments(self, text: str) -> str:
        """Redact inside the JSON text of a tool call; the result is valid JSON."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return redact(text, self.counts)
        masked = self.value(value)
        return text if masked == value else dump(masked).decode()
