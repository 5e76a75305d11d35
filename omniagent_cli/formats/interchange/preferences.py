"""Preference sets: conversations that end with a chosen and a rejected answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.formats.types import Entry, MessageEntry, Omission

PREFERENCE_KEYS = frozenset({"chosen", "rejected"})


def preference_entries(key: str, value: Any, location: str) -> Iterator[Entry]:
    """Yield the chosen answer as messages, and a rejected one as an omission.

    Args:
        key: one of `PREFERENCE_KEYS`.
        value: a message, a list of messages, or the text of an answer.
        location: place of the conversation in the input.
    """
    if key == "rejected":
        yield Omission("rejected answer")
        return
    if isinstance(value, str):
        value = {"role": "assistant", "content": value}
    for record in value if isinstance(value, list) else [value]:
        yield MessageEntry(location, record)
