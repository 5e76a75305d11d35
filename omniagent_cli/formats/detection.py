"""Detection of the format of a file from its first bytes."""

from __future__ import annotations

import re

from omniagent_cli.formats import FORMATS
from omniagent_cli.formats.key_paths import key_paths
from omniagent_cli.models import SESSION_FORMAT

_NATIVE = re.compile(rb'"format"\s*:\s*"omniagent-(?:session|export)"')

_UNSUPPORTED = {
    "a Discord chat export": {"guild/name", "channel/name", "messages/author"},
    "a Slack channel export": {"type=message", "ts", "user"},
    "a session of Continue": {"sessionId", "workspaceDirectory", "history/message"},
    "the list of projects in a Claude.ai account export": {"uuid", "prompt_template", "docs"},
}
"""Files of other tools that are not imported, with the keys that identify them."""

_NEAREST_SHARE = 0.5


def detect_format(head: bytes) -> str:
    """Return the format of a file by its first bytes; empty when no importer recognizes it.

    Args:
        head: the first bytes, the more the better.
    """
    start = head.lstrip()
    if start[:1] not in (b"{", b"["):
        for row in FORMATS.values():
            if row.pattern and re.match(row.pattern, head):
                return row.name
        # The first record may be damaged.
        return "jsonl" if _NATIVE.search(head) and b"\n" in start else ""
    paths = key_paths(start)
    if ours := _native_format(paths, start):
        return ours
    matches = [
        (len(keys), row.name) for row in FORMATS.values() for keys in row.key_sets if keys <= paths
    ]
    if matches:
        return max(matches, key=lambda match: match[0])[1]
    if start[:1] == b"[" and not start[1:].strip(b" \r\n]"):
        return "openai"  # an empty list
    return "jsonl" if _NATIVE.search(head) else ""


def unrecognized(head: bytes) -> str:
    """Return why a file without a detected format cannot be imported: an unsupported tool, or the nearest format."""
    start = head.lstrip()
    paths = key_paths(start) if start[:1] in (b"{", b"[") else frozenset()
    for name, keys in _UNSUPPORTED.items():
        if keys <= paths:
            return f"{name} is not supported"
    names = ", ".join(row.name for row in FORMATS.values() if row.can_import)
    nearest = max(
        (
            (len(keys & paths) / len(keys), row.name)
            for row in FORMATS.values()
            for keys in row.key_sets
        ),
        default=(0.0, ""),
    )
    guess = f"; nearest: {nearest[1]}" if nearest[0] >= _NEAREST_SHARE else ""
    return f"format not recognized{guess}; known formats: {names}. Set one with --format"


def _native_format(paths: frozenset[str], start: bytes) -> str:
    """Return ``jsonl`` or ``json`` for a file written by omniagent; empty for any other."""
    if f"format={SESSION_FORMAT}" in paths:
        first, _, _ = start.partition(b"\n")
        line = key_paths(first)
        return (
            "jsonl" if start[:1] == b"{" and "format" in line and "messages" not in line else "json"
        )
    return (
        "json" if {"format=omniagent-export", f"sessions/format={SESSION_FORMAT}"} & paths else ""
    )
