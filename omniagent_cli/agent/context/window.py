"""What is sent of what is stored: a summary of the oldest, and a window over whole turns, every call with its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omniagent_cli.agent.context.summary import Summary
from omniagent_cli.agent.context.tokens import calibration, estimate_tokens, text_tokens
from omniagent_cli.models import Message

NO_RESULT = "(no result: the turn was interrupted before this tool ran)"

SUMMARY_INTRODUCTION = (
    "What follows is a summary of the earlier part of this conversation, made to save room; the messages themselves are"
    " not repeated. It is a record of what was said, and holds no new instructions.\n\n"
)

SUMMARY_TAKEN = "I have read the summary and go on from there."
"""Stands between the summary and a question: many models refuse two messages of one side in a row."""


@dataclass(frozen=True, slots=True)
class Window:
    """How much of a session is sent.

    Attributes:
        max_messages: at most that many messages; the system prompt and a summary aside.
        max_tokens: a budget for messages and summary, by `tokens.estimate_tokens`; None: no budget.
        compact_at: from what share of the window on the older part is summarised before a turn; None: never.
    """

    max_messages: int = 100
    max_tokens: int | None = None
    compact_at: float | None = None


@dataclass(slots=True)
class Selection:
    """What is sent, and what that means.

    Attributes:
        records: the messages to send, oldest first.
        tokens: what they are estimated at, the summary included.
        oversized_tokens: the tokens of the newest message (with its results) when it is over the budget by itself; else 0.
        omitted_summary_tokens: the tokens of the summary when there is no room for it beside the question; else 0.
    """

    records: list[dict[str, Any]]
    tokens: int = 0
    oversized_tokens: int = 0
    omitted_summary_tokens: int = 0


@dataclass(slots=True)
class _Piece:
    """Messages that are only sent together."""

    messages: list[Message]
    starts_turn: bool = False
    tokens: int = field(default=0)


def select_records(messages: Sequence[Message], window: Window) -> list[dict[str, Any]]:
    """Return the records to send of a session that has no summary; see `select_messages`."""
    return select_messages(messages, window).records


def select_messages(
    messages: Sequence[Message], window: Window, summary: Summary | None = None
) -> Selection:
    """Choose what to send: the summary, and the newest whole pieces that fit beside it.

    Turns that two writers interleaved are put together, in the order of their first messages. A call without a
    result gets one that says so; a result without its call, and an empty answer, are left out. The newest piece
    is sent even when it alone is over the budget, and a summary only where it fits beside it and its question.
    What is sent begins with a user's message where there is one.

    Args:
        messages: what was said; those the summary stands for are left out here.
        window: the limits.
        summary: what is sent in the place of the messages before.
    """
    scale = calibration(messages) if window.max_tokens is not None else 1.0
    covered = -1 if summary is None else summary.up_to
    rest = [m for m in messages if m.position is None or m.position > covered]
    pieces = [piece for turn in turns(rest) for piece in _pieces(turn, scale)]
    text = "" if summary is None else f"{SUMMARY_INTRODUCTION}{summary.text}"
    taken = round(text_tokens(text) * scale)
    omitted_summary_tokens = 0
    if (
        window.max_tokens is not None
        and taken
        and taken + _required_tokens(pieces) > window.max_tokens
    ):
        text, taken, omitted_summary_tokens = "", 0, taken
    chosen = _newest_that_fit(pieces, window, taken)
    start = next((index for index, piece in enumerate(chosen) if piece.starts_turn), 0)
    sent = chosen[start:]
    records = [message.to_record() for piece in sent for message in piece.messages]
    newest = pieces[-1].tokens if pieces else 0
    over = window.max_tokens is not None and newest > window.max_tokens
    return Selection(
        _summary_messages(text, records) + records,
        taken + sum(piece.tokens for piece in sent),
        newest if over else 0,
        omitted_summary_tokens,
    )


def _required_tokens(pieces: Sequence[_Piece]) -> int:
    """Return the tokens of what is sent in any case: the newest piece, and the question it belongs to."""
    question = next((piece for piece in reversed(pieces) if piece.starts_turn), None)
    sent = {id(piece): piece.tokens for piece in (question, *pieces[-1:]) if piece is not None}
    return sum(sent.values())


def _newest_that_fit(pieces: Sequence[_Piece], window: Window, taken: int) -> list[_Piece]:
    """Return the newest pieces that fit; the newest of all, and the question it belongs to, in any case."""
    question = next((piece for piece in reversed(pieces) if piece.starts_turn), None)
    chosen: list[_Piece] = []
    count, tokens = (0, taken) if question is None else (1, taken + question.tokens)
    for piece in reversed(pieces):
        if piece is not question:
            count += len(piece.messages)
            tokens += piece.tokens
        over = window.max_tokens is not None and tokens > window.max_tokens
        if chosen and (over or count > window.max_messages):
            break
        chosen.append(piece)
    if question is not None and not any(piece is question for piece in chosen):
        chosen.append(
            question
        )  # what came between is left out: without it nobody would know what is asked
    chosen.reverse()
    return chosen


def _summary_messages(text: str, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if not text:
        return []
    opening = [{"role": "user", "content": text}]
    if records and records[0]["role"] == "user":
        opening.append({"role": "assistant", "content": SUMMARY_TAKEN})
    return opening


def turns(messages: Sequence[Message]) -> list[list[Message]]:
    """Return messages by the turn they belong to, in the order of the turns' first messages."""
    found: dict[str, list[Message]] = {}
    current = ""
    for message in messages:
        current = message.turn_id or current
        found.setdefault(current, []).append(message)
    return list(found.values())


def _pieces(turn: Sequence[Message], scale: float) -> list[_Piece]:
    pieces = []
    # Where the result of a call belongs, by its id: servers that number their calls give the same ids in each round.
    waiting: dict[str, list[tuple[_Piece, int]]] = {}
    for message in turn:
        if message.role == "tool":
            if places := waiting.get(message.tool_call_id or ""):
                piece, place = places.pop(0)
                piece.messages[place] = message
            continue
        if message.role == "assistant" and not message.tool_calls and not message.text.strip():
            continue
        piece = _Piece([message], message.role == "user")
        ids = [call.get("id", "") for call in message.tool_calls or ()]
        waiting.update({call_id: [] for call_id in ids})
        for place, call_id in enumerate(ids, 1):
            piece.messages.append(Message("tool", NO_RESULT, tool_call_id=call_id))
            waiting[call_id].append((piece, place))
        pieces.append(piece)
    for piece in pieces:
        piece.tokens = round(sum(map(estimate_tokens, piece.messages)) * scale)
    return pieces
