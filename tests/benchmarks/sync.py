"""Synchronization of two SQLite stores beside `migrate` and a listing of their stamps.

    python tests/benchmarks/sync.py [--sessions N] [--messages N]

Each line is a ratio in one run on one machine. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from omniagent_cli import migrate, open_store, sync
from omniagent_cli.stores.backend import ListQuery
from omniagent_cli.stores.facts import stamps_of
from omniagent_cli.stores.sync.driver import sync_with
from omniagent_cli.stores.sync.peer import LocalPeer

TEXT = (
    "A question or an answer of about two hundred characters, as they are in most conversations. "
    * 2
)


class Counting:
    """The other side of a synchronization, which counts its round trips."""

    def __init__(self, store: Any) -> None:
        self.peer, self.trips = LocalPeer(store), 0

    def __getattr__(self, name: str) -> Any:
        self.trips += 1
        return getattr(self.peer, name)


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def listing(store: Any) -> None:
    """Read the stamps of all sessions of a store."""
    for archived, pinned in product((False, True), repeat=2):
        query = ListQuery(sort="created", archived=archived, pinned=pinned)
        for header in store.iter_headers(query):
            stamps_of(store.row_codec.data(header))


def measure(directory: Path, sessions: int, messages: int) -> None:
    """Fill a store, and print the ratios."""
    turn = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": TEXT}]
    with (
        open_store(directory / "one.db", ttl=None) as one,
        open_store(directory / "two.db", ttl=None) as two,
        open_store(directory / "three.db", ttl=None) as three,
    ):
        for number in range(sessions):
            one.append(f"s{number:07}", turn * (messages // 2))
        migrated = seconds(lambda: migrate(one, two))
        first = seconds(lambda: sync(one, three))
        listed = seconds(lambda: listing(one)) + seconds(lambda: listing(three))
        second = seconds(lambda: sync(one, three))
        one.append("s0000000", turn)
        counting = Counting(three)
        new_turn = seconds(lambda: sync_with(one, counting))
    sizes = [(directory / f"{name}.db").stat().st_size for name in ("two", "three")]
    print(f"{sessions:,} sessions of {messages} messages")
    print(f"first synchronization: {migrated / first:.2f} x the speed of migrate ({first:.2f} s)")
    print(f"second: {second / listed:.2f} x a listing of the stamps of both ({second:.2f} s)")
    print(f"one new turn: {counting.trips} round trips ({new_turn:.2f} s)")
    print(f"bytes: {sizes[1] / sizes[0]:.3f} x those of the migrated store")


def main() -> None:
    """Measure with the numbers of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        measure(Path(directory), given.sessions, given.messages)


if __name__ == "__main__":
    main()
