"""What is sent of what is stored: a window over whole turns, with every tool call beside its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omniagent_cli.models import Message

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for budgets; providers count exactly, and tell in the usage."""

NO_RESULT = "(no result: the turn was interrupted before this tool ran)"


@dataclass(frozen=True, slots=True)
class Window:
    """How much of a session is sent.

    Attributes:
        max_messages: at most that many messages, the system prompt aside.
        max_tokens: a budget by `CHARACTERS_PER_TOKEN`; None: no budget.
    """

    max_messages: int = 100
    max_tokens: int | None = None


@dataclass(slots=True)
class _Piece:
    """Messages that are only sent together."""

    messages: list[Message]
    starts_turn: bool = False
    tokens: int = field(default=0)


def select(messages: Sequence[Message], window: Window) -> list[dict[str, Any]]:
    """Return the records to send, oldest first: the newest whole pieces that fit.

    Turns that two writers interleaved are put together, in the order of their first messages. A call without a
    result gets one that says so; a result without its call, and an empty answer, are left out. The newest piece
    is sent even when it alone is over the budget. What is sent begins with a user's message where there is one.
    """
    pieces = [piece for turn in _turns(messages) for piece in _pieces(turn)]
    chosen: list[_Piece] = []
    count = tokens = 0
    for piece in reversed(pieces):
        count += len(piece.messages)
        tokens += piece.tokens
        over = count > window.max_messages or (
            window.max_tokens is not None and tokens > window.max_tokens
        )
        if chosen and over:
            break
        chosen.append(piece)
    chosen.reverse()
    start = next((index for index, piece in enumerate(chosen) if piece.starts_turn), 0)
    return [message.to_record() for piece in chosen[start:] for message in piece.messages]


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    turns: dict[str, list[Message]] = {}
    current = ""
    for message in messages:
        current = message.turn_id or current
        turns.setdefault(current, []).append(message)
    return list(turns.values())


def _pieces(turn: Sequence[Message]) -> list[_Piece]:
    results = {
        message.tool_call_id: message
        for message in turn
        if message.role == "tool" and message.tool_call_id
    }
    pieces = []
    for message in turn:
        if message.role == "tool":
            continue
        if message.role == "assistant" and not message.tool_calls and not message.text.strip():
            continue
        together = [message]
        for call in message.tool_calls or ():
            call_id = call.get("id", "")
            together.append(
                results.get(call_id) or Message("tool", NO_RESULT, tool_call_id=call_id)
            )
        pieces.append(_Piece(together, message.role == "user", sum(map(estimate_tokens, together))))
    return pieces


def estimate_tokens(message: Message) -> int:
    """Estimate the tokens of a message from its characters."""
    calls = sum(len(call["function"].get("arguments", "")) for call in message.tool_calls or ())
    return (len(message.text) + calls) // CHARACTERS_PER_TOKEN + 4
