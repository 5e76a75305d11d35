"""Append and read through the store API beside the bare driver doing the same with the same guarantees, on loopback.

    python tests/benchmarks/redis_store.py [--rounds N] [--long N] [--sessions N] [--fsync always|everysec|no]

Each pair alternates A B A B on one server (``REDIS_URL``, or one that is started); a ratio is of medians and of
means. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import redis

from omniagent_cli.models import Message, Session, new_uid
from omniagent_cli.stores.backends.redis.store import RedisStore
from tests.stores.redis_server import RedisServer

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
TTL = 7 * 86_400


class Bare:
    """The same by hand: messages in order and whole, header, expiry, one list by last activity.

    WATCH and MULTI: nobody else's message comes in between, all or nothing, header and messages expire together.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def append(self, session: str, texts: tuple[str, str]) -> None:
        header_key, rows_key = f"bare:{{{session}}}:h", f"bare:{{{session}}}:m"
        with self.client.pipeline() as pipe:
            while True:
                try:
                    pipe.watch(header_key)
                    header = json.loads(pipe.get(header_key) or b'{"count": 0, "revision": 0}')
                    now = datetime.now(UTC).isoformat()
                    turn = new_uid()
                    rows = {}
                    for number, (role, text) in enumerate(
                        zip(("user", "assistant"), texts, strict=True), header["count"]
                    ):
                        row = {
                            "position": number,
                            "id": new_uid(),
                            "turn": turn,
                            "role": role,
                            "at": now,
                            "content": text,
                        }
                        rows[json.dumps(row, ensure_ascii=False)] = number
                    header |= {
                        "count": header["count"] + 2,
                        "revision": header["revision"] + 1,
                        "updated": now,
                    }
                    header["preview"] = texts[1][:120]
                    pipe.multi()
                    pipe.set(header_key, json.dumps(header), ex=TTL)
                    pipe.zadd(rows_key, rows)
                    pipe.expire(rows_key, TTL)
                    pipe.zadd("bare:{store}:updated", {session: time.time()})
                    pipe.execute()
                    return
                except redis.WatchError:
                    continue

    def newest(self, session: str, count: int) -> list[dict[str, object]]:
        header = json.loads(self.client.get(f"bare:{{{session}}}:h") or b"{}")
        assert header
        return [
            json.loads(row) for row in self.client.zrevrange(f"bare:{{{session}}}:m", 0, count - 1)
        ]

    def page(self, count: int) -> list[dict[str, object]]:
        ids = self.client.zrevrange("bare:{store}:updated", 0, count - 1)
        return [
            json.loads(text or b"{}")
            for text in self.client.mget([f"bare:{{{i.decode()}}}:h" for i in ids])
        ]


def pair(name: str, ours: Callable[[], object], bare: Callable[[], object], rounds: int) -> None:
    """Print the ratio of two calls taken in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for call in (ours, bare) * 3:
        call()
    gc.disable()
    for _ in range(rounds):
        for call, spent in zip((ours, bare), times, strict=True):
            start = time.perf_counter()
            call()
            spent.append(time.perf_counter() - start)
    gc.enable()
    a, b = times
    print(
        f"{name:<56} {statistics.median(a) * 1e6:9.0f} µs {statistics.median(b) * 1e6:9.0f} µs"
        f"   {statistics.median(a) / statistics.median(b):5.2f} x   {statistics.fmean(a) / statistics.fmean(b):5.2f} x"
    )


def fill(store: RedisStore, session_id: str, count: int) -> None:
    uid = store.stage(session := Session(id=session_id))
    for start in range(0, count, 2000):
        texts = (ANSWER[: 150 + n % 100] for n in range(start, min(start + 2000, count)))
        store.stage_messages(
            uid, [Message("user" if n % 2 else "assistant", text) for n, text in enumerate(texts)]
        )
    store.publish(uid, session)


def turn() -> list[Message]:
    return [Message("user", QUESTION), Message("assistant", ANSWER)]


def measure(url: str, arguments: argparse.Namespace) -> None:
    prefix = f"benchmark-{new_uid()}:"
    client = redis.Redis.from_url(url)
    bare = Bare(client)
    store = RedisStore(url, prefix=prefix)
    many = RedisStore(url, prefix=f"many-{prefix}")
    rounds = arguments.rounds
    print(f"{'':<56} {'A':>12} {'B':>12}   median     mean")
    pair(
        "append a turn / by hand",
        lambda: store.append("s", turn()),
        lambda: bare.append("s", (QUESTION, ANSWER)),
        rounds,
    )
    fill(store, "long", arguments.long)
    pair(
        f"append to {arguments.long} messages / to a short session",
        lambda: store.append("long", turn()),
        lambda: store.append("short", turn()),
        rounds,
    )
    fill(store, "hundred", 100)
    pair(
        f"newest 50 of {arguments.long} / of 100",
        lambda: store.messages("long", last=50),
        lambda: store.messages("hundred", last=50),
        rounds,
    )
    pair(
        "newest 50 / by hand",
        lambda: store.messages("s", last=50),
        lambda: bare.newest("s", 50),
        rounds,
    )
    for number in range(arguments.sessions):
        many.append(f"session {number}", turn())
        if number < 100:
            store.append(f"session {number}", turn())
            bare.append(f"session {number}", (QUESTION, ANSWER))
    pair(
        f"list 20 of {arguments.sessions} / of 100",
        lambda: many.list(limit=20),
        lambda: store.list(limit=20),
        rounds,
    )
    pair("list 20 / by hand", lambda: store.list(limit=20), lambda: bare.page(20), rounds)
    pair(
        f"append beside {arguments.sessions} sessions / 100",
        lambda: many.append("s", turn()),
        lambda: store.append("s", turn()),
        rounds,
    )

    def command() -> None:
        with RedisStore(url, prefix=prefix) as once:
            once.append("s", turn())

    def by_hand() -> None:
        with redis.Redis.from_url(url) as once:
            Bare(once).append("s", (QUESTION, ANSWER))

    pair("open, append a turn, close / by hand", command, by_hand, rounds)
    store.close()
    many.close()
    for pattern in (f"{prefix}*", f"many-{prefix}*", "bare:*"):
        for key in client.scan_iter(match=pattern, count=1000):
            client.unlink(key)
    client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--long", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--fsync", default="always", choices=["always", "everysec", "no"])
    arguments = parser.parse_args()
    if given := os.environ.get("REDIS_URL"):
        measure(given, arguments)
        return
    server = RedisServer("--appendfsync", arguments.fsync)
    try:
        measure(server.url, arguments)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
