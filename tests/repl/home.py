"""A person's home in which `omniagent chat` runs on terminals, and the fixture of it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from omniagent_cli.stores import SessionStore, open_store
from tests.repl.piped import PipedProgram
from tests.repl.terminal import TerminalProgram

OMNIAGENT = shutil.which("omniagent", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")


class Home:
    """A person's empty home, the terminals they open in it, and what is stored there."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        self.environ = {
            "HOME": str(path),
            "PATH": os.environ["PATH"],
            "TMPDIR": tempfile.gettempdir(),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "OMNIAGENT_MODEL": "recall",
        }
        self._stack = stack

    def open(
        self, *options: str, columns: int = 100, rows: int = 30, **environ: str
    ) -> TerminalProgram:
        """Start a chat on a terminal and wait for its prompt."""
        program = self.start(*options, columns=columns, rows=rows, **environ)
        program.wait_prompt(1)
        return program

    def start(
        self, *options: str, columns: int = 100, rows: int = 30, **environ: str
    ) -> TerminalProgram:
        """Start a chat on a terminal."""
        argv = [OMNIAGENT or "omniagent", "chat", *(options or ("--session", "user-123"))]
        program = TerminalProgram(
            argv, {**self.environ, **environ}, columns=columns, rows=rows, cwd=str(self.path)
        )
        return self._stack.enter_context(program)

    def chat(
        self, *options: str, columns: int = 100, rows: int = 30, **environ: str
    ) -> PipedProgram:
        """Start a chat in this process, its keys from a pipe, and wait for its prompt."""
        program = self.begin(*options, columns=columns, rows=rows, **environ)
        program.wait_prompt(1)
        return program

    def begin(
        self, *options: str, columns: int = 100, rows: int = 30, **environ: str
    ) -> PipedProgram:
        """Start a chat in this process, its keys from a pipe."""
        argv = ["chat", *(options or ("--session", "user-123"))]
        program = PipedProgram(
            argv, {**self.environ, **environ}, columns=columns, rows=rows, cwd=self.path
        )
        return self._stack.enter_context(program)

    def serve(self, server) -> None:
        """Let a loopback server answer."""
        self.environ["OMNIAGENT_MODEL"] = "openai:fake-1"
        self.environ["OPENAI_API_KEY"] = "sk-test"
        self.environ["OPENAI_BASE_URL"] = server.url

    def store(self) -> SessionStore:
        """Open the store to look at it; the test's end closes it."""
        path = self.path / ".local/share/omniagent/sessions.db"
        return self._stack.enter_context(open_store(path, ttl=None))

    def stored(self, session_id: str = "user-123") -> list[tuple[str, str, str]]:
        """Return role, status and text of the messages of a session."""
        return [(m.role, m.status, m.text) for m in self.store().messages(session_id)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with ExitStack() as stack:
        yield Home(tmp_path, stack)
