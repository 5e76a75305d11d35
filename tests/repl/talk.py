"""Chats without a terminal: keys from a pipe, the real loop, a scripted model, a memory store."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput, Output

from omniagent_cli.agent.agent import Agent
from omniagent_cli.config.settings import load_settings
from omniagent_cli.repl.loop import ChatSetup, run
from omniagent_cli.stores import SessionStore, open_store
from omniagent_cli.testing.scripted import ScriptedModel
from omniagent_cli.ui.terminal import Terminal

CTRL_C, CTRL_D = "\x03", "\x04"


@dataclass
class Talk:
    """A person with a store, who chats now and then.

    Attributes:
        models: engines by the name `/model` knows them by.
        out: all that was shown as data.
        err: all that was told.
        sync: what `/sync` and `sync.auto` call.
        used: sessions that were remembered, in order.
    """

    home: Path
    store: SessionStore = field(default_factory=lambda: open_store("memory:"))
    models: dict[str, Any] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)
    sync: Callable[..., Any] | None = None
    out: str = ""
    err: str = ""
    code: int = 0
    used: list[str] = field(default_factory=list)

    @property
    def history(self) -> Path:
        """The file of typed lines."""
        return self.home / "state" / "chat-history"

    @property
    def environ(self) -> dict[str, str]:
        return {"HOME": str(self.home), "TERM": "xterm"}

    def chat(
        self,
        *lines: str,
        model: Any = None,
        session_id: str | None = "user-123",
        ephemeral: bool = False,
        keys: str | None = None,
        open_agent: Callable[..., Agent] | None = None,
        output: Output | None = None,
    ) -> str:
        """Type lines (or exactly these keys), leave, and return what was shown."""
        engine = model or ScriptedModel(*(f"answer {n}" for n in range(1, 20)))
        stdout, stderr = io.StringIO(), io.StringIO()
        environ = self.environ
        terminal = Terminal(stdin=io.StringIO(), stdout=stdout, stderr=stderr, environ=environ)
        setup = ChatSetup(
            store=self.store,
            terminal=terminal,
            settings=load_settings(environ, self.home, flags=self.flags),
            open_agent=open_agent or (lambda _tell: Agent(engine, store=self.store)),
            open_engine=self.models.__getitem__,
            session_id=session_id,
            ephemeral=ephemeral,
            remember=self.used.append,
            history_file=self.history,
            models=list(self.models),
            sync=self.sync,
        )
        with create_pipe_input() as typed, create_app_session(typed, output or DummyOutput()):
            typed.send_text(
                "".join(f"{line}\r" for line in lines) + CTRL_D if keys is None else keys
            )
            try:
                self.code = run(setup)
            finally:
                self.out, self.err = stdout.getvalue(), stderr.getvalue()
        return self.out + self.err

    def texts(self, session_id: str = "user-123") -> list[str]:
        """What is stored in a session."""
        return [message.text for message in self.store.messages(session_id)]
