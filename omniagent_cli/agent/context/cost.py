"""What was used, by model, and what it cost by the prices a person has set.

Counts have the same meaning whoever counted: ``input_tokens`` are all that was sent, of which ``cached_tokens`` were read
from the provider's cache and ``cache_write_tokens`` written to it; ``output_tokens`` are all that came back, of which
``reasoning_tokens`` were thinking. Where a provider counts otherwise, it is put right when its answer comes in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from omniagent_cli.agent.context.summary import Summary
from omniagent_cli.models import Message

Prices = Mapping[str, Mapping[str, float]]
"""Dollars for a million tokens: model -> ``input``, ``output``, ``cache_read``, ``cache_write``."""

COUNTS = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)

_MILLION = 1_000_000


def token_counts(usage: Mapping[str, Any] | None) -> dict[str, int]:
    """Return the counts of a stored usage, which may have been imported, that are token_counts."""
    return {
        key: value
        for key, value in (usage or {}).items()
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0
    }


class Tally:
    """What was used, by model.

    Attributes:
        models: counts by model, with ``answers`` beside the tokens; an empty name is a model nobody noted.
    """

    def __init__(self) -> None:
        self.models: dict[str, Counter[str]] = {}

    def add(self, message: Message) -> None:
        """Take in a message; only answers count, and those whose tokens were told."""
        if message.role == "assistant" and (used := token_counts(message.usage)):
            counts = self._of(message.model or "")
            counts["answers"] += 1
            _add(counts, used)

    def add_summary(self, summary: Summary) -> None:
        """Take in what a summary took; it is no answer."""
        if used := token_counts(summary.usage):
            _add(self._of(summary.model), used)

    def _of(self, model: str) -> Counter[str]:
        return self.models.setdefault(model, Counter())

    @property
    def total(self) -> dict[str, int]:
        """All tokens together, without those counts that are zero."""
        total: Counter[str] = Counter()
        for counts in self.models.values():
            _add(total, counts)
        return {key: total[key] for key in COUNTS if total[key]}

    def cost(self, prices: Prices) -> float | None:
        """Return what all of it cost; None when nothing was used, or a model that was has no price."""
        costs = [cost(counts, prices.get(model)) for model, counts in self.models.items()]
        known = [one for one in costs if one is not None]
        return sum(known) if known and len(known) == len(costs) else None


def _add(counts: Counter[str], used: Mapping[str, int]) -> None:
    for key in COUNTS:
        counts[key] += used.get(key, 0)


def tally(messages: Iterable[Message], summaries: Iterable[Summary] = ()) -> Tally:
    """Count what messages, and summaries of them, took."""
    counted = Tally()
    for message in messages:
        counted.add(message)
    for summary in summaries:
        counted.add_summary(summary)
    return counted


def cost(usage: Mapping[str, Any], price: Mapping[str, float] | None) -> float | None:
    """Return what tokens cost in dollars; None without a price for the kinds there are.

    Tokens of the cache cost what is set for them, or else what all others of the input do.
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
    """Write an amount: ``$12.34``, ``$0.0123``, ``$0.000045``."""
    if amount == 0:
        return "$0"
    if amount < 0.001:
        return f"${amount:.6f}" if amount >= 0.000001 else "under $0.000001"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"
