"""Adapters beside the store calls under them, and beside the peers' own SQLite services, in one run.

    pip install -e '.[test]' aiosqlite sqlalchemy langgraph-checkpoint-sqlite
    python tests/benchmarks/adapters.py [--turns N] [--rounds N]

Each row appends one turn to a SQLite file at synchronous FULL, or reads one session. Rounds alternate between the
subjects; printed is the median in µs and its ratio to the first row of the block.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

from omniagent_cli import open_store

TURN = [
    {"role": "user", "content": "the quick brown fox jumps over a lazy dog " * 4},
    {"role": "assistant", "content": "seven wizards boil jade kettles in the dark " * 26},
]

Work = Callable[[], Awaitable[object]]


def aio(directory: Path) -> dict[str, Work]:
    """Compare store calls with `store.aio()`."""
    store = open_store(directory / "aio.db", ttl=None)
    other = open_store(directory / "direct.db", ttl=None)
    face = store.aio()

    async def direct() -> object:
        return other.append("s", TURN)

    async def thread() -> object:
        return await asyncio.to_thread(other.append, "t", TURN)

    return {
        "store.append": direct,
        "store.append in asyncio.to_thread": thread,
        "store.aio().append": lambda: face.append("s", TURN),
    }


def claude(directory: Path) -> dict[str, Work]:
    """Compare the store call with the session store of the Claude Agent SDK, with entries of the same text."""
    from omniagent_cli.adapters.claude_agent import ClaudeSessionStore, to_messages

    store = open_store(directory / "claude.db", ttl=None)
    adapter = ClaudeSessionStore(store)
    names = count()
    key: Any = {"project_key": "p", "session_id": "s"}

    def entries() -> list[Any]:
        return [
            {"type": one["role"], "uuid": f"u{next(names)}", "message": one, "cwd": "/home/me"}
            for one in TURN
        ]

    async def direct() -> object:
        return store.append("s", [one for entry in entries() for one in to_messages(entry)])

    return {
        "store.append of the same messages": direct,
        "ClaudeSessionStore.append": lambda: adapter.append(key, entries()),
    }


def adk(directory: Path) -> dict[str, Work]:
    """Compare the store call with the session services of this package and of the Google ADK."""
    from google.adk.events import Event
    from google.adk.sessions.sqlite_session_service import SqliteSessionService
    from google.genai import types

    from omniagent_cli.adapters.google_adk import OmniSessionService, to_messages

    store = open_store(directory / "adk.db", ttl=None)

    def event() -> Any:
        part = types.Part(text=TURN[1]["content"])
        return Event(author="a", content=types.Content(role="model", parts=[part]))

    async def direct() -> object:
        record = event().model_dump(mode="json", exclude_none=True)
        return store.append("s", to_messages(record))

    def service(made: Any) -> Work:
        session: Any = None

        async def append() -> object:
            nonlocal session
            session = session or await made.create_session(app_name="a", user_id="u")
            return await made.append_event(session, event())

        return append

    return {
        "store.append of the same message": direct,
        "OmniSessionService.append_event": service(OmniSessionService(store)),
        "SqliteSessionService.append_event (google-adk)": service(
            SqliteSessionService(str(directory / "peer.db"))
        ),
    }


def langgraph(directory: Path) -> dict[str, Work]:
    """Compare the store call with the savers of this package and of LangGraph; the state has one turn."""
    import sqlite3

    from langgraph.checkpoint.base import empty_checkpoint
    from langgraph.checkpoint.base.id import uuid6
    from langgraph.checkpoint.sqlite import SqliteSaver

    from omniagent_cli.adapters.langgraph import OmniCheckpointSaver

    store = open_store(directory / "langgraph.db", ttl=None)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    peer = SqliteSaver(sqlite3.connect(directory / "peer.db", check_same_thread=False))
    own = OmniCheckpointSaver(store)

    def state() -> Any:
        return {**empty_checkpoint(), "id": str(uuid6()), "channel_values": {"turn": TURN}}

    async def direct() -> object:
        kind, data = own.serde.dumps_typed(state())
        extra = {"checkpoint": [kind, b64encode(data).decode()]}
        return store.append("s", {"role": "system", "content": "", "extra": extra})

    async def put() -> object:
        return own.put(config, state(), {"step": 1}, {})

    async def put_peer() -> object:
        return peer.put(config, state(), {"step": 1}, {})

    return {
        "store.append of the same checkpoint": direct,
        "OmniCheckpointSaver.put": put,
        "SqliteSaver.put (langgraph-checkpoint-sqlite)": put_peer,
    }


def pydantic(directory: Path) -> dict[str, Work]:
    """Compare the store call with the message history of pydantic-ai, which has no store of its own."""
    from pydantic_ai.messages import (
        ModelMessagesTypeAdapter,
        ModelRequest,
        ModelResponse,
        TextPart,
        UserPromptPart,
    )

    from omniagent_cli.adapters.pydantic_ai import MessageHistory, to_messages

    store = open_store(directory / "pydantic.db", ttl=None)
    history = MessageHistory("t", store)

    def turn() -> list[Any]:
        return [
            ModelRequest([UserPromptPart(TURN[0]["content"])]),
            ModelResponse([TextPart(TURN[1]["content"])]),
        ]

    async def direct() -> object:
        records = ModelMessagesTypeAdapter.dump_python(turn(), mode="json")
        return store.append("s", [one for record in records for one in to_messages(record)])

    return {
        "store.append of the same messages": direct,
        "MessageHistory.aappend": lambda: history.aappend(turn()),
    }


BLOCKS = (aio, claude, adk, langgraph, pydantic)


async def measure(subjects: dict[str, Work], turns: int, rounds: int) -> dict[str, float]:
    """Return the median µs of each subject over all rounds."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, work in subjects.items():
            for _ in range(turns):
                start = time.perf_counter()
                await work()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) * 1e6 for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    for block in BLOCKS:
        with tempfile.TemporaryDirectory() as directory:
            found = asyncio.run(measure(block(Path(directory)), options.turns, options.rounds))
        floor = next(iter(found.values()))
        for name, microseconds in found.items():
            print(f"{name:50} {microseconds:10,.0f} µs {microseconds / floor:8.2f}")
        print()


if __name__ == "__main__":
    main()
