"""The range of a session to summarize: all but the newest turns, ending between two turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from omniagent_cli.agent.context.summary import Summary, summary_of
from omniagent_cli.agent.context.tokens import calibration, estimate_tokens, text_tokens
from omniagent_cli.agent.context.window import Window
from omniagent_cli.errors import SessionConflict
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore

KEPT_SHARE = 0.25
"""The share of the window that the turns which are not summarized may fill."""

_READ_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class CompactionRange:
    """The messages to summarize.

    Attributes:
        uid: the uid of the session.
        before: the summary of the messages before; None if there is none.
        messages: the messages to summarize, in stored order.
        covered: the number of messages that the new summary will cover.
        tokens: the estimated tokens of the messages.
    """

    uid: str
    before: Summary | None
    messages: list[Message]
    covered: int
    tokens: int

    @property
    def up_to(self) -> int:
        """The position of the last message."""
        return self.messages[-1].position or 0


def range_to_compact(
    store: SessionStore, session_id: str, window: Window, *, automatic: bool = False
) -> CompactionRange | None:
    """Return the range of a session to summarize, or None.

    Args:
        store: the store.
        session_id: the session.
        window: the messages that are kept fit into a share of it.
        automatic: return a range only if the session fills the window up to `Window.compact_at`.

    Raises:
        SessionNotFound: the session does not exist.
    """
    uid, before, messages, count = _read(store, session_id)
    if automatic and not _is_full(before, messages, window):
        return None
    return _range(uid, before, messages, count, window)


def range_after_refusal(
    store: SessionStore, session_id: str, window: Window, limit_tokens: int | None
) -> tuple[CompactionRange | None, Window]:
    """Return the range to summarize after a model rejected a session as too long, and a window that it accepts.

    Args:
        store: the store.
        session_id: the session.
        window: the window of the rejected request.
        limit_tokens: the context length of the model, if the error names it.

    Returns:
        No range if the messages are a small share of that context, so that other parts of the request are too long.

    Raises:
        SessionNotFound: the session does not exist.
    """
    uid, before, messages, count = _read(store, session_id)
    newest = messages[-window.max_messages :]
    sent = sum(map(estimate_tokens, newest)) + text_tokens(before.text if before else "")
    sent = round(sent * calibration(messages))
    limits = (window.max_tokens, limit_tokens, sent)
    accepted = replace(window, max_tokens=min(limit for limit in limits if limit))
    if limit_tokens is not None and sent < KEPT_SHARE * limit_tokens:
        return None, accepted
    return _range(uid, before, messages, count, accepted), accepted


def _range(
    uid: str, before: Summary | None, messages: Sequence[Message], count: int, window: Window
) -> CompactionRange | None:
    end = _cut(messages, window)
    if end == 0:
        return None
    chosen = list(messages[:end])
    return CompactionRange(
        uid, before, chosen, count - len(messages) + end, sum(map(estimate_tokens, chosen))
    )


def _read(store: SessionStore, session_id: str) -> tuple[str, Summary | None, list[Message], int]:
    """Return uid, last summary, the messages after it and the number of all messages, as one consistent snapshot."""
    for _ in range(_READ_ATTEMPTS):
        header = store.header(session_id)
        before = summary_of(store, session_id)
        messages = store.messages(session_id, after=before.up_to if before else None)
        count = store.count_messages(session_id)
        now = store.header(session_id)
        if (now.uid, now.revision) == (header.uid, header.revision):
            return header.uid, before, messages, count
    raise SessionConflict(
        f"session {session_id!r} is being modified by another program; try again later",
        session_id=session_id,
    )


def _is_full(before: Summary | None, messages: Sequence[Message], window: Window) -> bool:
    at = window.compact_at or 0
    if len(messages) >= at * window.max_messages:
        return True
    if window.max_tokens is None:
        return False
    tokens = sum(map(estimate_tokens, messages)) + text_tokens(before.text if before else "")
    return tokens * calibration(messages) >= at * window.max_tokens


def _cut(messages: Sequence[Message], window: Window) -> int:
    """Return the number of messages to summarize: at least half, at most all but the newest turn."""
    ends = _ends_of_turns(messages)[:-1]
    scale = calibration(messages)
    fits = [end for end in ends if 2 * end >= len(messages) and _fit(messages[end:], window, scale)]
    return min(fits) if fits else max(ends, default=0)


def _fit(kept: Sequence[Message], window: Window, scale: float) -> bool:
    if len(kept) > KEPT_SHARE * window.max_messages:
        return False
    if window.max_tokens is None:
        return True
    return sum(map(estimate_tokens, kept)) * scale <= KEPT_SHARE * window.max_tokens


def _ends_of_turns(messages: Sequence[Message]) -> list[int]:
    """Return the message counts after which no turn is unfinished, also if turns are interleaved."""
    owners, current = [], ""
    for message in messages:
        current = message.turn_id or current
        owners.append(current)
    last = {owner: number for number, owner in enumerate(owners)}
    ends, open_until = [], 0
    for number, owner in enumerate(owners):
        open_until = max(open_until, last[owner])
        if open_until == number:
            ends.append(number + 1)
    return ends
