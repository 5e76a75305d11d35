"""The line at the bottom: what it says, and how it says less where there is less room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from omniagent_cli.agent.context.summary import summary_of
from omniagent_cli.agent.context.window import Window, choose
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.text import one_line
from omniagent_cli.ui.cells import cell_width, cut_cells
from omniagent_cli.ui.views import counted

if TYPE_CHECKING:
    from omniagent_cli.models import Message
    from omniagent_cli.repl.chat import Chat
    from omniagent_cli.stores.store import SessionStore

_BETWEEN = " | "
_FULL = 0.9


class Part(NamedTuple):
    """One thing the line says.

    Attributes:
        forms: how it may be said, the longest first; an empty last one may be left out.
        keep: what is kept longer than other parts when the room gets less.
    """

    forms: Sequence[str]
    keep: int = 0


class ContextUse(NamedTuple):
    """How much of what may be sent is.

    Attributes:
        share: of the window's messages, or of its tokens where it has a budget of them, whichever is fuller.
        tokens: of the last request and its answer, as the model counted them.
        estimated: the model did not count; we did.
    """

    share: float
    tokens: int
    estimated: bool


def window_of(chat: Chat) -> Window:
    """Return how much of the session is sent: as the agent has it, or will have it once it is made."""
    if chat.agent is not None:
        return chat.agent.window
    configured = chat.settings.window
    return Window(configured.max_messages, configured.max_tokens)


def context_use(store: SessionStore, session_id: str, window: Window) -> ContextUse | None:
    """Return how full the window of a session is; None when there is nothing in it."""
    try:
        messages = store.messages(session_id, last=window.max_messages + 8)
    except SessionNotFound:
        return None
    if not messages:
        return None
    chosen = choose(messages, window, summary_of(store, session_id))
    counted_tokens = _counted(messages[-1])
    tokens = counted_tokens or chosen.tokens
    share = len(chosen.records) / window.max_messages
    if window.max_tokens:
        share = max(share, tokens / window.max_tokens)
    return ContextUse(min(1.0, share), tokens, estimated=not counted_tokens)


def _counted(message: Message) -> int:
    usage = message.usage or {}
    sent, said = usage.get("input_tokens"), usage.get("output_tokens")
    return sent + said if isinstance(sent, int) and isinstance(said, int) else 0


def chat_parts(chat: Chat, *extra: str) -> list[Part]:
    """Return what the line says about a chat; `extra` are hints that always stay."""
    count = counted(chat.message_count, "message")
    model = one_line(chat.model)
    store = "ephemeral" if chat.setup.ephemeral else chat.store.backend
    return [
        Part([one_line(chat.session_id)], keep=5),
        Part([model, model.partition(":")[2] or model, ""] if model else ["choosing a model", ""], keep=4),
        Part([count, f"{chat.message_count:,}", ""], keep=2),
        Part(_context_forms(chat.context), keep=3),
        Part([store, ""], keep=6 if chat.setup.ephemeral else 1),
        *(Part([one_line(hint)], keep=7) for hint in extra if hint),
    ]  # fmt: skip


def _context_forms(use: ContextUse | None) -> list[str]:
    if use is None:
        return [""]
    about = "~" if use.estimated else ""
    tokens = f"{about}{use.tokens / 1000:.1f}k" if use.tokens >= 1000 else f"{about}{use.tokens}"
    share = f"{max(1, round(use.share * 100))}%"
    last = f"full: {share}" if use.share >= _FULL else share
    return [f"context {share}, {tokens} tokens", f"context {share}", last, ""]


def fitted_line(parts: Sequence[Part], width: int) -> str:
    """Return the parts on one line of at most `width` cells, the least important said shorter first."""
    chosen = {place: 0 for place, part in enumerate(parts) if part.forms[0]}

    def line() -> str:
        said = (parts[place].forms[form] for place, form in chosen.items())
        return _BETWEEN.join(filter(None, said))

    for place in sorted(chosen, key=lambda place: parts[place].keep):
        while cell_width(line()) > width and chosen[place] + 1 < len(parts[place].forms):
            chosen[place] += 1
    return cut_cells(line(), width)
