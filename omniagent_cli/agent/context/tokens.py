"""How many tokens something is: estimated from its bytes, and put right by what the provider counted before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omniagent_cli.models import Message

BYTES_PER_TOKEN = 4
"""Of UTF-8: four letters of English, two of Greek or Russian, or one and a third Chinese characters to a token."""

MESSAGE_TOKENS = 4
"""What the frame around a message costs (https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken)."""

PART_TOKENS = {"image_url": 1_000, "input_image": 1_000, "file": 3_000, "input_file": 3_000}
"""What an attachment is taken for: a picture of a screen's size, a PDF of two or three pages."""

OTHER_PART_TOKENS = 1_000

_LEAST, _MOST = 0.25, 4.0
"""How far from the estimate a provider's count is believed; beyond that something else was counted."""

_ENOUGH_TOKENS = 200
"""Counted tokens from which on they say more than the rule of thumb."""


def estimate_tokens(message: Message) -> int:
    """Estimate the tokens of a message from its bytes; attachments count by their kind."""
    size = sum(len(call["function"].get("arguments", "")) for call in message.tool_calls or ())
    content = message.content
    if isinstance(content, str):
        return (size + _bytes(content)) // BYTES_PER_TOKEN + MESSAGE_TOKENS
    size += sum(_bytes(part["text"]) for part in content if isinstance(part.get("text"), str))
    return size // BYTES_PER_TOKEN + MESSAGE_TOKENS + sum(map(_part_tokens, content))


def _part_tokens(part: dict[str, Any]) -> int:
    if isinstance(part.get("text"), str):
        return 0
    kind = part.get("type")
    return PART_TOKENS.get(kind, OTHER_PART_TOKENS) if isinstance(kind, str) else OTHER_PART_TOKENS


def text_tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return _bytes(text) // BYTES_PER_TOKEN


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def calibration(messages: Sequence[Message]) -> float:
    """Return by how much to multiply estimates so that they fit what the provider told of these messages.

    An answer's count of what was sent to it grows from one answer to the next by what was said between them, whatever
    stands before: system prompt, tools, a summary. Where it does not (the window moved, or another model answered),
    the pair is passed over.
    """
    counted = estimated = 0
    before: tuple[str | None, int] | None = None
    between = 0
    for message in messages:
        sent = (message.usage or {}).get("input_tokens")
        if message.role == "assistant" and isinstance(sent, int) and sent > 0:
            if before is not None and before[0] == message.model and between:
                grown = sent - before[1]
                if _LEAST <= grown / between <= _MOST:
                    counted, estimated = counted + grown, estimated + between
            before, between = (message.model, sent), 0
        between += estimate_tokens(message)
    return counted / estimated if counted >= _ENOUGH_TOKENS else 1.0
