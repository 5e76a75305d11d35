"""What a test of the commands starts from: a clock, things said, an environment, and what a command did."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

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
    kept = ("HOME", "TMPDIR", "PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    return {**environ, "OMNIAGENT_STORE": str(db), "TERM": "xterm-256color", **more}


@contextmanager
def surroundings(
    environ: Mapping[str, str], stdin: bytes, cwd: Path
) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Give this process the environment, the modules and the pipes of another; yield its stdout and stderr."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    places = [place for place in environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, encoding="utf-8") as given,
        os.fdopen(writing, "wb") as typed,
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        typed.write(stdin)  # no more than a pipe holds
        typed.close()
        patch.chdir(cwd)
        for name in set(os.environ) - set(environ):
            patch.delenv(name)
        for name, value in environ.items():
            patch.setenv(name, value)
        before = set(sys.modules)
        for place in places:
            patch.syspath_prepend(place)
        patch.setattr(sys, "stdin", given)
        try:
            yield out, err
        finally:
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(tuple(places)):
                    del sys.modules[name]
