"""Resuming turns: how a turn ended, and what a model needs to continue it.

A continued answer stays one message: it is extended in place, and its ``extra`` records each continuation
(``continued``: ``at`` in characters, the model, and the provider data up to that point). The instruction to continue
is sent but never stored, because the user did not write it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import Any

from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore

INSTRUCTION = (
    "Your last answer was cut off. Continue it from exactly where it stopped, as if it had not been cut off:"
    " do not repeat any of it, do not greet or apologise, and do not mention this message."
)
"""The request to continue, sent after the partial answer."""

_STILL_WRITTEN = timedelta(seconds=60)
"""The silence after which another program's answer counts as abandoned."""

_FIRST_PAGE = 16
_RESET_KEYS = ("error", "continued")


class Ending(Enum):
    """The state in which a turn ended."""

    COMPLETE = "the answer is complete"
    UNANSWERED = "there is no answer"
    PARTIAL = "the answer was interrupted"
    FAILED = "the answer failed partway"
    CUT = "the answer was cut at the model's token limit"
    IN_TOOLS = "the turn stopped during its tool calls"

    @property
    def is_resumable(self) -> bool:
        """True if part of the turn can be continued; without an answer the message can only be sent again."""
        return self not in (Ending.COMPLETE, Ending.UNANSWERED)


def ending(turn: Sequence[Message]) -> Ending:
    """Return how a turn ended, from its messages; a turn without messages is complete."""
    if not turn:
        return Ending.COMPLETE
    last = turn[-1]
    if last.role == "tool" or last.tool_calls:
        return Ending.IN_TOOLS
    if last.role != "assistant":
        return Ending.UNANSWERED
    if not last.text.strip():
        return Ending.COMPLETE if last.status == "complete" else Ending.UNANSWERED
    if not isinstance(last.content, str):
        return Ending.COMPLETE
    if last.status != "complete":
        return Ending.FAILED if last.status == "failed" else Ending.PARTIAL
    return Ending.CUT if (last.extra or {}).get("finish_reason") == "length" else Ending.COMPLETE


def may_be_streaming(message: Message) -> bool:
    """Return True if another program may still be writing this answer, because no end of it is recorded."""
    return message.status == "interrupted" and not (message.extra or {}).get("error")


def is_streaming_elsewhere(store: SessionStore, session_id: str, message: Message) -> bool:
    """Return True if another program wrote to an unfinished answer recently."""
    if not may_be_streaming(message):
        return False
    return utc_now() - store.summary(session_id).updated_at < _STILL_WRITTEN


def read_turn(store: SessionStore, session_id: str, turn_id: str | None = None) -> list[Message]:
    """Return the messages of a turn, the user's first, without interleaved messages of other turns.

    Args:
        store: the store.
        session_id: the session; a missing one has no turns.
        turn_id: the turn; None selects that of the last user message.
    """
    limit = _FIRST_PAGE
    while True:
        try:
            messages = store.messages(session_id, last=limit)
        except SessionNotFound:
            return []
        for index in reversed(range(len(messages))):
            if _starts_turn(messages[index], turn_id):
                first, *later = messages[index:]
                return [first, *(m for m in later if m.turn_id == first.turn_id)]
        if len(messages) < limit:
            return []
        limit *= 4


def _starts_turn(message: Message, turn_id: str | None) -> bool:
    return message.role == "user" and turn_id in (None, message.turn_id)


def resumable_turn(store: SessionStore, session_id: str, turn_id: str | None) -> list[Message]:
    """Return the messages of a turn that a model can continue.

    Raises:
        UsageError: there is nothing to continue; gives the reason.
    """
    turn = read_turn(store, session_id, turn_id)
    end = ending(turn)
    if not turn:
        raise UsageError("nothing to continue: the session has no messages")
    if end is Ending.COMPLETE:
        raise UsageError("nothing to continue: the last answer is complete")
    return turn


def resumed_answer(partial: Message, model: str) -> Message:
    """Return the message that extends a partial answer; the stored one is replaced at the first new piece of text."""
    message = partial.copy()
    extra = message.extra or {}
    previous = {key: value for key, value in extra.items() if key not in _RESET_KEYS}
    entry = {"at": len(partial.text), "model": model, **({"extra": previous} if previous else {})}
    message.extra = {"continued": [*(extra.get("continued") or []), entry]}
    return message


def instruction() -> dict[str, Any]:
    """Return the message to send after a partial answer."""
    return {"role": "user", "content": INSTRUCTION}


def add_usage(before: Mapping[str, Any] | None, usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summed token usage of an answer made by more than one request."""
    total = dict(before or {})
    for key, value in usage.items():
        earlier = total.get(key)
        both = isinstance(value, int) and isinstance(earlier, int)
        total[key] = earlier + value if both else value
    return total
