"""The bottom toolbar, which shortens its parts to fit the width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.cells import cell_width, cut_cells
from omniagent_cli.ui.views import counted

if TYPE_CHECKING:
    from omniagent_cli.agent.context.context_use import ContextUse
    from omniagent_cli.repl.chat import Chat

_BETWEEN = " | "
_FULL = 0.9


class Part(NamedTuple):
    """One part of the toolbar.

    Attributes:
        forms: its forms, longest first; an empty last form means that it can be left out.
        keep: its priority; parts with a lower one are shortened first.
    """

    forms: Sequence[str]
    keep: int = 0


def chat_parts(chat: Chat, *extra: str) -> list[Part]:
    """Return the parts for a chat; `extra` are hints that are never shortened."""
    count = counted(chat.message_count, "message")
    model = one_line(chat.model)
    store = "ephemeral" if chat.setup.ephemeral else chat.store.backend
    return [
        Part([one_line(chat.session_id)], keep=5),
        Part([model, model.partition(":")[2] or model, ""] if model else ["choosing a model", ""], keep=4),
        Part([*_sent_forms(count, chat), f"{chat.message_count:,}", ""], keep=2),
        Part(_context_forms(chat.context), keep=3),
        Part([store, ""], keep=6 if chat.setup.ephemeral else 1),
        *(Part([one_line(hint)], keep=7) for hint in extra if hint),
    ]  # fmt: skip


def _sent_forms(count: str, chat: Chat) -> list[str]:
    """Return the count of messages, and before it a form with the number sent if not all of them are."""
    use = chat.context
    if use is None or use.messages >= chat.message_count:
        return [count]
    return [f"{count} ({use.messages:,} sent)", count]


def _context_forms(use: ContextUse | None) -> list[str]:
    if use is None:
        return [""]
    about = "~" if use.estimated else ""
    tokens = f"{about}{use.tokens / 1000:.1f}k" if use.tokens >= 1000 else f"{about}{use.tokens}"
    if use.share is None:
        return [f"{tokens} tokens", tokens, ""]
    share = f"{max(1, round(use.share * 100))}%"
    last = f"full: {share}" if use.share >= _FULL else share
    return [f"context {share}, {tokens} tokens", f"context {share}", last, ""]


def fitted_line(parts: Sequence[Part], width: int) -> str:
    """Return the parts on one line of at most `width` cells, shortening the least important first."""
    chosen = {place: 0 for place, part in enumerate(parts) if part.forms[0]}

    def line() -> str:
        said = (parts[place].forms[form] for place, form in chosen.items())
        return _BETWEEN.join(filter(None, said))

    for place in sorted(chosen, key=lambda place: parts[place].keep):
        while cell_width(line()) > width and chosen[place] + 1 < len(parts[place].forms):
            chosen[place] += 1
    return cut_cells(line(), width)
