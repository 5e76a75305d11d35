"""Compression and encryption beside plain payloads, and beside bare rows and their JSON.

    python tests/benchmarks/codecs.py [--rounds N]

Each pair alternates A B A B on the same disk; a ratio is of medians and of means. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from omniagent_cli import open_store
from omniagent_cli.models import Message, Session
from omniagent_cli.stores import SessionStore

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "boil",
    "jade",
    "kettles",
    "in",
    "the",
    "dark",
]
QUESTION = " ".join(itertools.islice(itertools.cycle(WORDS), 30))
ANSWER = " ".join(itertools.islice(itertools.cycle(reversed(WORDS)), 220))
MANY = 10_000


def pair(name: str, ours: Callable[[], object], other: Callable[[], object], rounds: int) -> None:
    """Print the ratio of two calls taken in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    gc.disable()
    for _ in range(rounds):
        for call, spent in zip((ours, other), times, strict=True):
            start = time.perf_counter()
            call()
            spent.append(time.perf_counter() - start)
    gc.enable()
    a, b = times
    print(
        f"{name:<50} {statistics.median(a) * 1e6:9.0f} µs {statistics.median(b) * 1e6:9.0f} µs"
        f"   {statistics.median(a) / statistics.median(b):5.2f} x   {statistics.fmean(a) / statistics.fmean(b):5.2f} x"
    )


def fill(store: SessionStore, count: int) -> None:
    uid = store.stage(Session(id="long"))
    for start in range(0, count, 5000):
        numbers = range(start, min(start + 5000, count))
        store.stage_messages(
            uid,
            [
                Message("user" if n % 2 else "assistant", f"{n} {ANSWER[: 150 + n % 100]}")
                for n in numbers
            ],
        )
    store.publish(uid, Session(id="long"))


def append(store: SessionStore) -> Callable[[], object]:
    return lambda: store.append("s", [Message("user", QUESTION), Message("assistant", ANSWER)])


def bare_rows(path: Path, last: int | None) -> Callable[[], object]:
    """Return a call that reads the same columns by hand and parses each payload."""
    connection = sqlite3.connect(path)

    def read() -> object:
        rows = connection.execute(
            "SELECT position, id, turn_id, role, created_at, status, payload FROM messages"
            " WHERE session = (SELECT key FROM sessions WHERE id = 'long') ORDER BY position DESC LIMIT ?",
            (-1 if last is None else last,),
        )
        return [(*row[:-1], json.loads(row[-1].decode())) for row in rows]

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    key = os.urandom(32)
    print(
        f"{sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}; columns: A, B, A/B of medians, of means\n"
    )
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        top = Path(place)

        def opened(name: str, **options: object) -> SessionStore:
            return stack.enter_context(open_store(top / f"{name}.db", ttl=None, **options))

        plain = opened("plain")
        wrapped = {
            "compressed": opened("compressed", compress=True),
            "encrypted": opened("encrypted", encrypt=key),
            "encrypted + compressed": opened("both", compress=True, encrypt=key),
        }
        for store in (plain, *wrapped.values()):
            fill(store, MANY)
        for name, store in wrapped.items():
            pair(f"append one turn: {name} / plain", append(store), append(plain), rounds)
        for name, store in (("plain", plain), *wrapped.items()):
            newest = lambda store=store: store.messages("long", last=50)  # noqa: E731
            pair(
                f"newest 50 of 10,000: {name} / bare rows",
                newest,
                bare_rows(top / "plain.db", 50),
                rounds,
            )
        for name, store in (("plain", plain), *wrapped.items()):
            whole = lambda store=store: store.messages("long")  # noqa: E731
            pair(
                f"all of 10,000: {name} / bare rows and JSON",
                whole,
                bare_rows(top / "plain.db", None),
                15,
            )
        print()
        for name, store in (("plain", plain), *wrapped.items()):
            store.compact()
            print(f"{name:<30} {store.info()['bytes'] / MANY:7.0f} bytes a message on disk")
        start = time.perf_counter()
        plain.encrypt(key)
        print(
            f"\nencrypting a plain store in place: {MANY / (time.perf_counter() - start):,.0f} messages a second"
        )


if __name__ == "__main__":
    main()
