"""What the tests of the commands share: a run in this process, in a real one, and a person at a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from omniagent_cli.cli import main
from omniagent_cli.stores import SessionStore, open_store
from tests import forked
from tests.cli.scene import CLOCK, FIRST, Ran, environment, surroundings, talk
from tests.repl.piped import PipedProgram
from tests.repl.terminal import TerminalProgram


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Where the store of a test is; nothing is there yet."""
    return tmp_path / "sessions.db"


@pytest.fixture
def run(db: Path, tmp_path: Path, monkeypatch) -> Callable[..., Ran]:
    """Run a command in this process on the store of the test, with its streams caught."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str, stdin: bytes = b"", store: Path | str | None = db) -> Ran:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        given = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
        environ = dict(os.environ)
        if store is not None:
            environ["OMNIAGENT_STORE"] = str(store)
        monkeypatch.setattr(sys, "stdin", given)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(argv, environ=environ, cwd=tmp_path)
        told = []
        for stream in (out, err):
            stream.flush()
            told.append(stream.buffer.getvalue().decode())
            stream.close()
        given.close()
        return Ran(code, *told)

    return run


@pytest.fixture
def store(db: Path):
    """The store of the test itself, with a clock of its own, to fill and to look into."""
    CLOCK.now = FIRST
    # Commands have the real clock: what the store removes on its own date must outlast the years between.
    opened = open_store(db, ttl=None, trash_ttl=timedelta(days=36500), clock=CLOCK)
    yield opened
    opened.close()


@pytest.fixture
def filled(store: SessionStore) -> SessionStore:
    """Three sessions: alice, bob and carol, who was here last."""
    talk(store, "alice", "My name is Alice", "Hello Alice", "What is my name?", "Alice")
    talk(store, "bob", "Zwölf Boxkämpfer", "jagen Viktor")
    talk(store, "carol", "one")
    return store


@pytest.fixture
def program(db: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run a command in this process with the environment and the pipes of one of its own."""

    def program(*argv: str, stdin: bytes = b"", **environ: str):
        variables = environment(db, **environ)
        with surroundings(variables, stdin, tmp_path) as (out, err):
            code = main(argv, environ=variables, cwd=tmp_path)
            told = [stream.flush() or stream.buffer.getvalue() for stream in (out, err)]
        return subprocess.CompletedProcess(argv, code, *told)

    return program


@pytest.fixture
def process(db: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run a command as a process of its own, through pipes."""

    def process(*argv: str, stdin: bytes = b"", **environ: str):
        return forked.run(
            ["-m", "omniagent_cli", *argv],
            input=stdin,
            env=environment(db, **environ),
            cwd=tmp_path,
        )

    return process


@pytest.fixture
def person(db: Path, tmp_path: Path, monkeypatch) -> Callable[..., PipedProgram]:
    """Run a command at an emulated terminal, in this process."""

    def person(*argv: str, columns: int = 100, rows: int = 24, **environ: str) -> PipedProgram:
        monkeypatch.chdir(tmp_path)
        if "PYTHONPATH" in environ:
            monkeypatch.syspath_prepend(environ["PYTHONPATH"])
        variables = environment(db, **{"PAGER": "cat", **environ})
        return PipedProgram(argv, variables, columns=columns, rows=rows, cwd=tmp_path)

    return person


@pytest.fixture
def person_at_pty(db: Path, tmp_path: Path) -> Callable[..., TerminalProgram]:
    """Run a command as a process on a terminal of its own, which has signals, echo and a size that changes."""

    def person(*argv: str, columns: int = 100, rows: int = 30, **environ: str) -> TerminalProgram:
        return TerminalProgram(
            [sys.executable, "-m", "omniagent_cli", *argv],
            environment(db, **{"PAGER": "cat", **environ}),
            columns=columns,
            rows=rows,
            cwd=str(tmp_path),
        )

    return person
