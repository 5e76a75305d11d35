"""Append and read through the store API beside hand-written sqlite3 that does the same to the same rows.

    python tests/benchmarks/store.py [--rounds N] [--long N]

Each pair alternates A B A B on the same disk; a ratio is of means and of medians. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import multiprocessing
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from omniagent_cli import open_store
from omniagent_cli.models import Message, new_uid
from omniagent_cli.stores.backends.sqlite.schema import MIGRATIONS
from omniagent_cli.text.tokenize import index_text

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


class Bare:
    """The same rows by hand: messages, header, search index, one transaction a turn, synchronous FULL."""

    def __init__(self, path: str, *, new: bool = True) -> None:
        self.db = sqlite3.connect(path, isolation_level=None, timeout=30)
        if new:
            for step in MIGRATIONS:
                step(self.db)
            self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("PRAGMA foreign_keys = ON")

    def make(self, session: str, now: str) -> None:
        self.db.execute(
            "INSERT OR IGNORE INTO sessions VALUES (NULL, ?, ?, ?, ?, '', '', NULL, NULL, 0, 0, 0, 0, 0, 0, x'', x'7b7d', NULL, NULL)",
            (new_uid(), session, now, now),
        )

    def append(self, session: str, texts: tuple[str, str]) -> None:
        moment = datetime.now(UTC)
        now = moment.isoformat(timespec="microseconds")[:26] + "Z"
        self.db.execute("BEGIN IMMEDIATE")
        key, count, position, revision = self.db.execute(
            "SELECT key, message_count, next_position, revision FROM sessions WHERE id = ?",
            (session,),
        ).fetchone()
        turn = new_uid()
        base = int(moment.timestamp() * 1000) << 6
        while self.db.execute(
            "SELECT 1 FROM messages WHERE key BETWEEN ? AND ?", (base, base + 1)
        ).fetchone():
            base += 2
        rows = []
        for number, (role, text) in enumerate(zip(("user", "assistant"), texts, strict=True)):
            payload = json.dumps(
                {"content": text}, ensure_ascii=False, separators=(",", ":")
            ).encode()
            rows.append(
                (
                    base + number,
                    key,
                    position + number,
                    new_uid(),
                    turn,
                    role,
                    now,
                    None,
                    1,
                    payload,
                )
            )
        self.db.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self.db.executemany(
            "INSERT INTO words (rowid, text) VALUES (?, ?)",
            [(base + n, index_text(text)) for n, text in enumerate(texts)],
        )
        self.db.execute(
            "UPDATE sessions SET message_count = ?, next_position = ?, updated_at = ?, revision = ?, preview = ? WHERE key = ?",
            (count + 2, position + 2, now, revision + 1, json.dumps(texts[1][:120]).encode(), key),
        )
        self.db.execute("COMMIT")

    def newest(self, session: str, count: int) -> list[tuple[object, ...]]:
        return self.db.execute(
            "SELECT position, id, turn_id, role, created_at, status, payload FROM messages"
            " WHERE session = (SELECT key FROM sessions WHERE id = ?) ORDER BY position DESC LIMIT ?",
            (session, count),
        ).fetchall()


def pair(name: str, ours: Callable[[], object], bare: Callable[[], object], rounds: int) -> None:
    """Print the ratio of two calls taken in turn; either is first in half of the rounds."""
    times: tuple[list[float], list[float]] = ([], [])
    both = [(ours, times[0]), (bare, times[1])]
    gc.disable()
    for _ in range(rounds):
        both.reverse()
        for call, spent in both:
            start = time.perf_counter()
            call()
            spent.append(time.perf_counter() - start)
    gc.enable()
    a, b = times
    print(
        f"{name:<44} {statistics.median(a) * 1e6:9.0f} µs {statistics.median(b) * 1e6:9.0f} µs"
        f"   {statistics.median(a) / statistics.median(b):5.2f} x   {statistics.fmean(a) / statistics.fmean(b):5.2f} x"
    )


def fill(store, session: str, count: int) -> None:
    uid = store.stage(
        store_session := __import__("omniagent_cli.models", fromlist=["Session"]).Session(
            id=session
        )
    )
    for start in range(0, count, 5000):
        texts = (ANSWER[: 150 + n % 100] for n in range(start, min(start + 5000, count)))
        store.stage_messages(
            uid, [Message("user" if n % 2 else "assistant", text) for n, text in enumerate(texts)]
        )
    store.publish(uid, store_session)


def contend(kind: str, path: str, turns: int, gate) -> None:
    if kind == "ours":
        store = open_store(path, ttl=None)
        gate.wait()
        for _ in range(turns):
            store.append("s", [Message("user", QUESTION), Message("assistant", ANSWER)])
    else:
        bare = Bare(path, new=False)
        gate.wait()
        for _ in range(turns):
            bare.append("s", (QUESTION, ANSWER))


def contention(kind: str, directory: str, turns: int) -> float:
    path = str(Path(directory) / f"{kind}-contended.db")
    if kind == "ours":
        with open_store(path, ttl=None) as store:
            store.get_or_create("s")
    else:
        Bare(path).make("s", "2026-01-01T00:00:00.000000Z")
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(5)
    processes = [context.Process(target=contend, args=(kind, path, turns, gate)) for _ in range(4)]
    for process in processes:
        process.start()
    gate.wait()
    start = time.perf_counter()
    for process in processes:
        process.join()
    spent = time.perf_counter() - start
    kept = sqlite3.connect(path).execute("SELECT count(*) FROM messages").fetchone()[0]
    print(f"  {kind}: {4 * turns / spent:8.0f} turns/s, {kept} of {8 * turns} messages kept")
    return spent


ALPHABETS = {
    "English": "etaoinshrdlucmfwypvbgkjqxz",
    "Polish": "aioenrwszycdkpmtłjlubgęhąóżśćfńźv",
    "Chinese": "".join(map(chr, range(0x4E00, 0x4E00 + 3000))),
    "emoji": "😀🎉👍🚀💡🏽",
}


def text_in(language: str, size: int) -> str:
    """Return about `size` bytes of random words, of which a few are frequent."""
    source, letters = random.Random(language), ALPHABETS[language]
    odds = [1 / (rank + 3) for rank in range(len(letters))]
    words = ["".join(source.choices(letters, odds, k=source.randint(2, 10))) for _ in range(20_000)]
    ranks = [1 / (rank + 5) for rank in range(len(words))]
    text = " ".join(source.choices(words, ranks, k=size // 6))
    return text.encode()[:size].decode("utf-8", "ignore")


def languages(directory: str, size: int = 3_000_000) -> None:
    """Print the time of an append per byte of its text, by language."""
    texts = {language: text_in(language, size) for language in ALPHABETS}
    times: dict[str, list[float]] = {language: [] for language in texts}
    for number in range(5):
        for language, text in texts.items():
            with open_store(Path(directory) / f"{language}-{number}.db", ttl=None) as store:
                store.append("s", Message("user", "first"))
                start = time.perf_counter()
                store.append("s", Message("user", text))
                times[language].append((time.perf_counter() - start) / len(text.encode()))
    least = {language: min(spent) for language, spent in times.items()}
    for language, spent in least.items():
        print(f"  {language:<10} {spent * 1e9:5.0f} ns a byte   {spent / least['English']:5.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--long", type=int, default=100_000)
    parser.add_argument("--directory", default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        print(f"{'':<44} {'ours':>12} {'by hand':>12}   median     mean")
        store = open_store(Path(directory) / "ours.db", ttl=None)
        bare = Bare(str(Path(directory) / "bare.db"))
        bare.make("s", "2026-01-01T00:00:00.000000Z")
        store.get_or_create("s")

        def ours() -> None:
            store.append("s", [Message("user", QUESTION), Message("assistant", ANSWER)])

        pair(
            "append a turn (2 messages) to an empty session",
            ours,
            lambda: bare.append("s", (QUESTION, ANSWER)),
            arguments.rounds,
        )
        fill(store, "long", arguments.long)
        pair(
            f"append to {arguments.long} messages, beside an empty one",
            lambda: store.append("long", [Message("user", QUESTION), Message("assistant", ANSWER)]),
            lambda: store.append("new", [Message("user", QUESTION), Message("assistant", ANSWER)]),
            arguments.rounds,
        )
        reader = Bare(str(Path(directory) / "ours.db"), new=False)
        pair(
            f"newest 50 of {arguments.long}, as objects / bare rows",
            lambda: store.messages("long", last=50),
            lambda: reader.newest("long", 50),
            arguments.rounds,
        )
        fill(store, "ten", 10_000)
        pair(
            "all of 10,000 / bare rows and their JSON",
            lambda: store.messages("ten"),
            lambda: [(*row[:6], json.loads(row[6])) for row in reader.newest("ten", 10_000)],
            20,
        )

        def command() -> None:
            with open_store(Path(directory) / "ours.db", ttl=None) as once:
                once.append("s", [Message("user", QUESTION), Message("assistant", ANSWER)])

        def by_hand() -> None:
            once = Bare(str(Path(directory) / "bare.db"), new=False)
            once.append("s", (QUESTION, ANSWER))
            once.db.close()

        store.close()
        reader.db.close()
        bare.db.close()
        pair("open, append a turn, close", command, by_hand, arguments.rounds)
        print("append of 3 MB, by language:")
        languages(directory)
        print("4 processes on one session:")
        print(
            f"  ratio of throughput: {contention('bare', directory, 500) / contention('ours', directory, 500):.2f}"
        )


if __name__ == "__main__":
    main()
