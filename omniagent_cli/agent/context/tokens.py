"""Token counts: estimated from bytes, and calibrated by the counts that the provider reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omniagent_cli.models import Message

BYTES_PER_TOKEN = 4
"""UTF-8 bytes per token: four English letters, two Greek or Russian letters, or one and a third Chinese characters."""

MESSAGE_TOKENS = 4
"""The overhead of a message (https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken)."""

PART_TOKENS = {"image_url": 1_000, "input_image": 1_000, "file": 3_000, "input_file": 3_000}
"""The estimate of an attachment: a picture of the size of a screen, a PDF of two or three pages."""

OTHER_PART_TOKENS = 1_000

_LEAST, _MOST = 0.25, 4.0
"""The range of ratios to the estimate that is trusted; outside of it the provider counted something else."""

_ENOUGH_TOKENS = 200
"""The number of counted tokens from which the calibration is used."""


def estimate_tokens(message: Message) -> int:
    """Estimate the tokens of a message from its bytes; attachments count by their type."""
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
    """Estimate the tokens of text."""
    return _bytes(text) // BYTES_PER_TOKEN


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def calibration(messages: Sequence[Message]) -> float:
    """Return the factor between estimates and the provider's counts for these messages.

    The input tokens of an answer exceed those of the previous answer by the messages in between, whatever precedes them:
    system prompt, tools, a summary. Pairs for which this does not hold (the window moved, or another model answered) are
    skipped.
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
