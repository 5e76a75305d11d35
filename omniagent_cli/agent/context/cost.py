"""Token usage by model, and its cost at the prices set by the user.

Counts have the same meaning for all providers: ``input_tokens`` are all tokens sent, of which ``cached_tokens`` were read
from the provider's cache and ``cache_write_tokens`` written to it; ``output_tokens`` are all tokens received, of which
``reasoning_tokens`` were thinking. Providers that count differently are normalized when a response arrives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from omniagent_cli.agent.context.summary import Summary, summaries_of
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore

Prices = Mapping[str, Mapping[str, float]]
"""Dollars per million tokens: model -> ``input``, ``output``, ``cache_read``, ``cache_write``."""

COUNTS = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)

_MILLION = 1_000_000


def token_counts(usage: Mapping[str, Any] | None) -> dict[str, int]:
    """Return the integer counts of a stored usage, which may have been imported."""
    return {
        key: value
        for key, value in (usage or {}).items()
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0
    }


class Tally:
    """Token usage by model.

    Attributes:
        models: counts by model, including the number of ``answers``; an empty name stands for an unknown model.
    """

    def __init__(self) -> None:
        self.models: dict[str, Counter[str]] = {}

    def add(self, message: Message) -> None:
        """Add a message; only answers with a token usage count."""
        if message.role == "assistant" and (used := token_counts(message.usage)):
            counts = self._of(message.model or "")
            counts["answers"] += 1
            _add(counts, used)

    def add_summary(self, summary: Summary) -> None:
        """Add the usage of a summary, which is not an answer."""
        if used := token_counts(summary.usage):
            _add(self._of(summary.model), used)

    def _of(self, model: str) -> Counter[str]:
        return self.models.setdefault(model, Counter())

    @property
    def total(self) -> dict[str, int]:
        """The total of all models, without counts of zero."""
        total: Counter[str] = Counter()
        for counts in self.models.values():
            _add(total, counts)
        return {key: total[key] for key in COUNTS if total[key]}

    def cost(self, prices: Prices) -> float | None:
        """Return the cost of the total; None if there is no usage, or a model has no price."""
        costs = [cost(counts, prices.get(model)) for model, counts in self.models.items()]
        known = [one for one in costs if one is not None]
        return sum(known) if known and len(known) == len(costs) else None


def _add(counts: Counter[str], used: Mapping[str, int]) -> None:
    for key in COUNTS:
        counts[key] += used.get(key, 0)


def tally(messages: Iterable[Message], summaries: Iterable[Summary] = ()) -> Tally:
    """Return the usage of messages and summaries."""
    counted = Tally()
    for message in messages:
        counted.add(message)
    for summary in summaries:
        counted.add_summary(summary)
    return counted


def session_usage(store: SessionStore, session_id: str) -> tuple[Tally, Tally]:
    """Return the usage of a session with its summaries, and that of its last turn; a missing session has none."""
    used, last, turn = Tally(), Tally(), None
    with suppress(SessionNotFound):
        for message in store.iter_messages(session_id):
            used.add(message)
            if message.role == "user":
                last, turn = Tally(), message.turn_id
            elif message.turn_id == turn:
                last.add(message)
    for summary in summaries_of(store, session_id):
        used.add_summary(summary)
    return used, last


def cost(usage: Mapping[str, Any], price: Mapping[str, float] | None) -> float | None:
    """Return the cost of tokens in dollars; None if a price is missing.

    Tokens of the cache have prices of their own, or else the price of input tokens.
    """
    if price is None:
        return None
    used = token_counts(usage)
    read, written = used.get("cached_tokens", 0), used.get("cache_write_tokens", 0)
    plain = max(0, used.get("input_tokens", 0) - read - written)
    kinds = (
        (plain, price.get("input")),
        (read, price.get("cache_read", price.get("input"))),
        (written, price.get("cache_write", price.get("input"))),
        (used.get("output_tokens", 0), price.get("output")),
    )
    if any(count and dollars is None for count, dollars in kinds):
        return None
    return round(sum(count * (dollars or 0) for count, dollars in kinds) / _MILLION, 9)


def format_dollars(amount: float) -> str:
    """Format an amount: ``$12.34``, ``$0.0123``, ``$0.000045``."""
    if amount == 0:
        return "$0"
    if amount < 0.001:
        return f"${amount:.6f}" if amount >= 0.000001 else "under $0.000001"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


def usage_line(used: Mapping[str, int], spent: float | None = None) -> str:
    """Return usage on one line: ``1,200 tokens in (800 cached), 300 out, $0.0045``."""
    inner = [
        f"{used[key]:,} {word}"
        for key, word in (("cached_tokens", "cached"), ("cache_write_tokens", "to the cache"))
        if used.get(key)
    ]
    cached = f" ({', '.join(inner)})" if inner else ""
    parts = [
        f"{used.get('input_tokens', 0):,} tokens in{cached}",
        f"{used.get('output_tokens', 0):,} out",
    ]
    return ", ".join(parts if spent is None else [*parts, format_dollars(spent)])
