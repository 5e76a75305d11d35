"""Token usage and cost as lines, tables and JSON. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omniagent_cli.agent.context.cost import Prices, Tally, cost, format_dollars
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.cells import Column, Table

_UNPRICED = "-"


def model_cost(used: Mapping[str, Any], model: str, prices: Prices) -> float | None:
    """Return the cost of one model's tokens; None without a price or without usage."""
    return cost(used, prices.get(model)) if used else None


def usage_record(used: Tally, prices: Prices) -> dict[str, Any]:
    """Return the JSON form of the total usage; ``cost`` in dollars if every model has a price."""
    spent = used.cost(prices)
    return {**used.total, **({} if spent is None else {"cost": spent})}


def usage_table(used: Tally, prices: Prices) -> Table:
    """Return usage by model, with columns for cached tokens and cost if there are any."""
    rows = []
    cached = [
        (key, title)
        for key, title in (("cached_tokens", "CACHED"), ("cache_write_tokens", "CACHE WRITE"))
        if any(counts[key] for counts in used.models.values())
    ]
    has_prices = any(model in prices for model in used.models)
    for model, counts in sorted(used.models.items()):
        row = [
            one_line(model) or "unknown",
            f"{counts['answers']:,}",
            f"{counts['input_tokens']:,}",
        ]
        row += [f"{counts[key]:,}" for key, _ in cached]
        row.append(f"{counts['output_tokens']:,}")
        if has_prices:
            spent = cost(counts, prices.get(model))
            row.append(_UNPRICED if spent is None else format_dollars(spent))
        rows.append(row)
    titles = ["ANSWERS", "INPUT", *(title for _, title in cached), "OUTPUT"]
    titles += ["COST"] if has_prices else []
    columns = [
        Column("MODEL", "cyan", shrink=True),
        *(Column(title, right=True) for title in titles),
    ]
    return Table(columns, rows)
