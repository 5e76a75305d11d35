"""Going on: how a turn ended, and what is needed to let a model go on from where it stopped.

An answer that goes on stays one message: it grows where it stands, and its ``extra`` tells where it was taken up
again (``continued``: ``at`` in characters, the model, and what the provider had told until then). What the model is
asked with is sent and never stored, because nobody said it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore

INSTRUCTION = (
    "Your last answer stopped before its end. Go on with it from exactly where it stopped, as if it had not:"
    " repeat nothing of it, do not greet or apologise, and do not mention this."
)
"""What a model is asked with; sent after its partial answer."""

_FIRST_LOOK = 16
_TOLD_UNTIL_THEN = ("error", "continued")


class Ending(Enum):
    """How a turn ended."""

    COMPLETE = "its answer is whole"
    UNANSWERED = "it has no answer"
    PARTIAL = "its answer was interrupted"
    FAILED = "its answer failed in the middle"
    CUT = "its answer was cut at the model's token limit"
    IN_TOOLS = "it stopped among its tools"

    @property
    def is_resumable(self) -> bool:
        """Whether there is something to go on from; without an answer the question can only be asked again."""
        return self not in (Ending.COMPLETE, Ending.UNANSWERED)


def ending(turn: Sequence[Message]) -> Ending:
    """Return how a turn ended, from its messages; one without messages is whole."""
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
    """Tell whether an answer may be growing right now, in another program, for nothing says how it ended."""
    return message.status == "interrupted" and not (message.extra or {}).get("error")


def read_turn(store: SessionStore, session_id: str, turn_id: str | None = None) -> list[Message]:
    """Return the messages of a turn, its question first, without those of other writers among them.

    Args:
        store: where the session is.
        session_id: the session; one that is not there has no turns.
        turn_id: the turn; None takes that of the last question.
    """
    wanted = _FIRST_LOOK
    while True:
        try:
            messages = store.messages(session_id, last=wanted)
        except SessionNotFound:
            return []
        for place in reversed(range(len(messages))):
            if _asks(messages[place], turn_id):
                asked, *later = messages[place:]
                return [asked, *(m for m in later if m.turn_id == asked.turn_id)]
        if len(messages) < wanted:
            return []
        wanted *= 4


def _asks(message: Message, turn_id: str | None) -> bool:
    return message.role == "user" and turn_id in (None, message.turn_id)


def resumable_turn(store: SessionStore, session_id: str, turn_id: str | None) -> list[Message]:
    """Return the messages of a turn that a model can go on with.

    Raises:
        UsageError: there is nothing to go on with; says why.
    """
    turn = read_turn(store, session_id, turn_id)
    end = ending(turn)
    if not turn:
        raise UsageError("there is nothing to go on with; this session has no question")
    if end is Ending.COMPLETE:
        raise UsageError("there is nothing to go on with; the last answer is whole")
    return turn


def resumed_answer(partial: Message, model: str) -> Message:
    """Return the message that a partial answer grows on as; the stored one stays until the first new piece."""
    message = partial.copy()
    extra = message.extra or {}
    told = {key: value for key, value in extra.items() if key not in _TOLD_UNTIL_THEN}
    seam = {"at": len(partial.text), "model": model, **({"extra": told} if told else {})}
    message.extra = {"continued": [*(extra.get("continued") or []), seam]}
    return message


def instruction() -> dict[str, Any]:
    """Return what to send after a partial answer."""
    return {"role": "user", "content": INSTRUCTION}


def add_usage(before: Mapping[str, Any] | None, usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usage of an answer that was asked for twice."""
    sums = dict(before or {})
    for key, value in usage.items():
        known = sums.get(key)
        both = isinstance(value, int) and isinstance(known, int)
        sums[key] = known + value if both else value
    return sums
