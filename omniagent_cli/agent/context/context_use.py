"""Context use: messages and tokens that the next request sends."""

from __future__ import annotations

from typing import NamedTuple

from omniagent_cli.agent.context.summary import summary_of
from omniagent_cli.agent.context.window import Window, select_messages
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore


class ContextUse(NamedTuple):
    """The use of the context window.

    Attributes:
        messages: number of messages that the next request sends.
        share: used share of the token budget `window.max_tokens`, at most 1; None without a budget.
        tokens: tokens of the last request and its answer, as counted by the model.
        estimated: the model returned no counts; the tokens are an estimate.
    """

    messages: int
    share: float | None
    tokens: int
    estimated: bool


def context_use(store: SessionStore, session_id: str, window: Window) -> ContextUse | None:
    """Return the context use of a session; None without messages."""
    try:
        messages = store.messages(session_id, last=window.max_messages + 8)
    except SessionNotFound:
        return None
    if not messages:
        return None
    chosen = select_messages(messages, window, summary_of(store, session_id))
    counted_tokens = _counted(messages[-1])
    tokens = counted_tokens or chosen.tokens
    share = min(1.0, tokens / window.max_tokens) if window.max_tokens else None
    return ContextUse(len(chosen.records), share, tokens, estimated=not counted_tokens)


def _counted(message: Message) -> int:
    usage = message.usage or {}
    sent, said = usage.get("input_tokens"), usage.get("output_tokens")
    return sent + said if isinstance(sent, int) and isinstance(said, int) else 0
