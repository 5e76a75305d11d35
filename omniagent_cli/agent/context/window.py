"""The window: which messages of a session are sent, as whole turns with every tool call and its result, after a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omniagent_cli.agent.context.summary import Summary
from omniagent_cli.agent.context.tokens import calibration, estimate_tokens, text_tokens
from omniagent_cli.models import Message

NO_RESULT = "(no result: the turn was interrupted before this tool ran)"

SUMMARY_INTRODUCTION = (
    "The following is a summary of the earlier part of this conversation, which replaces those messages to save space."
    " It is a record of the conversation and contains no new instructions.\n\n"
)

SUMMARY_TAKEN = "I have read the summary and continue from there."
"""Sent between the summary and a user message, because many models reject two consecutive messages of one role."""


@dataclass(frozen=True, slots=True)
class Window:
    """The limits of the messages sent from a session.

    Attributes:
        max_messages: the maximum number of messages, without the system prompt and a summary.
        max_tokens: the token budget of messages and summary, by `tokens.estimate_tokens`; None: no budget.
        compact_at: the share of the window from which older messages are summarized before a turn; None: never.
    """

    max_messages: int = 100
    max_tokens: int | None = None
    compact_at: float | None = None


@dataclass(slots=True)
class Selection:
    """The messages selected for a request, with token accounting.

    Attributes:
        records: the messages to send, oldest first.
        tokens: their estimated tokens, including the summary.
        oversized_tokens: the tokens of the newest message (with its results) if it exceeds the budget alone; else 0.
        omitted_summary_tokens: the tokens of a summary that does not fit with the last user message; else 0.
    """

    records: list[dict[str, Any]]
    tokens: int = 0
    oversized_tokens: int = 0
    omitted_summary_tokens: int = 0


@dataclass(slots=True)
class _Piece:
    """Messages that can only be sent together."""

    messages: list[Message]
    starts_turn: bool = False
    tokens: int = field(default=0)


def select_records(messages: Sequence[Message], window: Window) -> list[dict[str, Any]]:
    """Return the records to send from a session without a summary; see `select_messages`."""
    return select_messages(messages, window).records


def select_messages(
    messages: Sequence[Message], window: Window, summary: Summary | None = None
) -> Selection:
    """Select the messages to send: the summary, and the newest whole pieces that fit with it.

    Interleaved turns are regrouped in the order of their first messages. A call without a result gets a placeholder; a
    result that was stored in a later turn is moved to its call; one without a call, and an empty answer, are omitted. The newest piece is sent even if it exceeds the budget
    alone, and a summary only if it fits with that piece and its user message. The selection begins with a user message if
    there is one.

    Args:
        messages: the messages; those covered by the summary are skipped.
        window: the limits.
        summary: sent instead of the messages it covers.
    """
    scale = calibration(messages) if window.max_tokens is not None else 1.0
    covered = -1 if summary is None else summary.up_to
    rest = [m for m in messages if m.position is None or m.position > covered]
    pieces = _pieces(turns(rest), scale)
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
    """Return the tokens of the messages that are always sent: the newest piece and its user message."""
    question = next((piece for piece in reversed(pieces) if piece.starts_turn), None)
    sent = {id(piece): piece.tokens for piece in (question, *pieces[-1:]) if piece is not None}
    return sum(sent.values())


def _newest_that_fit(pieces: Sequence[_Piece], window: Window, taken: int) -> list[_Piece]:
    """Return the newest pieces that fit, and always the newest of all and its user message."""
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
        )  # the messages in between are omitted, because an answer needs its question
    chosen.reverse()
    return chosen


def _summary_messages(text: str, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if not text:
        return []
    messages = [{"role": "user", "content": text}]
    if records and records[0]["role"] == "user":
        messages.append({"role": "assistant", "content": SUMMARY_TAKEN})
    return messages


def turns(messages: Sequence[Message]) -> list[list[Message]]:
    """Return the messages grouped by turn, in the order of the first message of each turn."""
    found: dict[str, list[Message]] = {}
    current = ""
    for message in messages:
        current = message.turn_id or current
        found.setdefault(current, []).append(message)
    return list(found.values())


_Slots = dict[str, list[tuple[_Piece, int]]]
"""Where the results of calls belong, by call id; servers that number their calls repeat the ids in each round."""


def _pieces(turns: Sequence[Sequence[Message]], scale: float) -> list[_Piece]:
    pieces: list[_Piece] = []
    unanswered: _Slots = {}
    for turn in turns:
        pieces += _pieces_of_turn(turn, unanswered)
    for piece in pieces:
        piece.tokens = round(sum(map(estimate_tokens, piece.messages)) * scale)
    return pieces


def _pieces_of_turn(turn: Sequence[Message], unanswered: _Slots) -> list[_Piece]:
    """Return the pieces of a turn; a result without a call in it answers the newest open call of earlier turns."""
    pieces = []
    waiting: _Slots = {}
    answered: dict[str, tuple[_Piece, int]] = {}
    for message in turn:
        if message.role == "tool":
            call_id = message.tool_call_id or ""
            if places := waiting.get(call_id):
                piece, place = answered[call_id] = places.pop(0)
                piece.messages[place] = message
            elif call_id in answered:  # a further result of the call, as imports contain them
                piece, place = answered[call_id]
                texts = dict.fromkeys(filter(None, [piece.messages[place].text, message.text]))
                piece.messages[place] = Message("tool", "\n\n".join(texts), tool_call_id=call_id)
            elif places := unanswered.get(call_id):
                piece, place = places.pop()
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
    for call_id, slots in waiting.items():
        unanswered.setdefault(call_id, []).extend(slots)
    return pieces
