"""What a test of the commands starts from: a clock, things said, an environment, and what a command did."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from omniagent_cli.stores import SessionStore

FIRST = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def cells(self) -> list[list[str]]:
        return [line.split("\t") for line in self.lines]


class Clock:
    """A clock that `talk` moves on by a minute for each message."""

    now = FIRST

    def __call__(self) -> datetime:
        return self.now

    def tick(self) -> None:
        self.now += timedelta(minutes=1)


CLOCK = Clock()


def talk(store: SessionStore, session_id: str, *texts: str) -> None:
    """Say things in turn, the user first."""
    for number, text in enumerate(texts):
        role = "assistant" if number % 2 else "user"
        store.append(session_id, {"role": role, "content": text})
        CLOCK.tick()


def environment(db: Path, **more: str) -> dict[str, str]:
    """Return the environment of a program that a test starts."""
    kept = ("HOME", "PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    return {**environ, "OMNIAGENT_STORE": str(db), "TERM": "xterm-256color", **more}
