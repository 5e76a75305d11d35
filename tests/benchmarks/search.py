"""Searches with filters beside the same search without one, on SQLite.

    python tests/benchmarks/search.py [--messages N] [--rounds N]

A ratio is of medians. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from omniagent_cli import open_store
from omniagent_cli.stores import SessionStore

PER_SESSION = 1_000
START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(store: SessionStore, messages: int) -> None:
    """Add sessions of 1,000 messages, a second apart; every tenth session has a tag."""
    for first in range(0, messages, PER_SESSION):
        records = [
            {
                "role": "assistant" if number % 2 else "user",
                "content": f"common words and number{number}{' rare' if number % 1000 == 7 else ''}",
                "created_at": (START + timedelta(seconds=number)).isoformat(),
            }
            for number in range(first, first + PER_SESSION)
        ]
        name = f"s{first // PER_SESSION}"
        store.append(name, records)
        if first // PER_SESSION % 10 == 0:
            store.tag(name, ["tenth"])


def median(store: SessionStore, query: str, rounds: int, **filters: Any) -> float:
    """Return the median time of a search, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        store.search(query, **filters)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Fill a store and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    middle = START + timedelta(seconds=options.messages // 2)
    filters: dict[str, dict[str, Any]] = {
        "role": {"role": "user"},
        "since": {"since": middle},
        "until": {"until": middle},
        "tag": {"tags": ["tenth"]},
    }
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "s.db") as store:
        fill(store, options.messages)
        for query, limit in (("rare", None), ("common", 20)):
            plain = median(store, query, options.rounds, limit=limit)
            print(f"{query}, limit {limit}: {plain * 1000:.1f} ms")
            for name, chosen in filters.items():
                spent = median(store, query, options.rounds, limit=limit, **chosen)
                print(f"  {name}: {spent * 1000:.1f} ms, ratio {spent / plain:.2f}")


if __name__ == "__main__":
    main()
