"""The main screens of the program: each runs the real command on an emulated terminal, with a scripted model."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from omniagent_cli.models import Message
from omniagent_cli.stores import SessionStore, open_store
from tests.repl.piped import PipedProgram
from tests.repl.terminal import CTRL_D, Screen
from tests.servers.chat_server import ChatServer, answer, calls

ANSWER = r"""
The linker cannot find `-lssl`: the **headers** are there, the library is not.[^1]

```sh
sudo apt install libssl-dev && cmake --build . --parallel 8
```

| package | provides |
|---|---|
| libssl-dev | headers and library of OpenSSL |
| zlib1g-dev | headers and library of zlib |

- [x] compile
- [ ] link

The build needs \(n\) jobs, and O(n<sup>2</sup>) memory:

$$
m = 0.5 n^2
$$

[^1]: On Debian and Ubuntu.
"""
QUESTION = (
    "Why does the build of the server fail on the new machine, and what do I have to install?"
)
USAGE = {"prompt_tokens": 1_312, "completion_tokens": 174, "total_tokens": 1_486}
MODEL = "openai:gpt-6.1-sol"


_DATED = {"show", "resumed"}
"""Scenes with the times of messages, which must not depend on the date of the run; the others have ages."""


class _Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def _fill(store: SessionStore, clock: _Clock) -> None:
    today = clock.now
    for session_id, age, title, question, text in (
        ("20261121-093000-k7q", timedelta(days=61), "Backups of the phone to the NAS", "How do I sync a phone?", "Use **rsync**."),
        ("20261121-093114-p2x", timedelta(days=12), "Restarting a deployment", "kubectl rollout of a deployment", "Run `kubectl rollout restart`."),
        ("user-123", timedelta(hours=5), "Holiday plans", "My name is Alice.", "Hello Alice."),
        ("build", timedelta(hours=3), "Linker error: -lssl", QUESTION, ANSWER),
    ):  # fmt: skip
        clock.now = today - age
        usage = {"input_tokens": 1_312, "output_tokens": 174}
        reply = Message("assistant", text.strip(), model=MODEL, usage=usage)
        store.append(session_id, [Message("user", question), reply])
        store.set_title(session_id, title)
    store.fork("build", "build-2", at=0)
    store.tag("build", ["work", "ci"])
    store.set_metadata("user-123", "pinned", True)


@contextmanager
def _home(now: datetime) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as home:
        place = Path(home) / ".local/share/omniagent/sessions.db"
        place.parent.mkdir(parents=True, mode=0o700)
        clock = _Clock(now)
        with open_store(place, ttl=None, clock=clock) as store:
            _fill(store, clock)
        yield Path(home)


def _command(*argv: str) -> Callable[[PipedProgram], None]:
    def wait(program: PipedProgram) -> None:
        assert program.wait() == 0

    return wait


def _chat(program: PipedProgram) -> None:
    program.wait_prompt(1)
    program.say(QUESTION)
    program.wait_prompt(2)
    program.send(CTRL_D)
    program.wait()


def _slash_help(program: PipedProgram) -> None:
    program.wait_prompt(1)
    program.say("/help")
    program.wait_prompt(2)
    program.send(CTRL_D)
    program.wait()


def _leave(program: PipedProgram) -> None:
    program.wait_prompt(1)
    program.send(CTRL_D)
    program.wait()


SCENES: dict[str, tuple[tuple[str, ...], Callable[[PipedProgram], None]]] = {
    "chat": (("chat", "--session", "server"), _chat),
    "resumed": (("chat", "--session", "build"), _leave),
    "help": (("chat", "--session", "server"), _slash_help),
    "list": (("sessions", "list"), _command()),
    "show": (("sessions", "show", "build"), _command()),
    "search": (("sessions", "search", "rollout deployment"), _command()),
    "tree": (("sessions", "tree"), _command()),
    "stats": (("sessions", "stats"), _command()),
}
"""Command line of each screen, and what is typed before it is complete."""


def played(name: str, columns: int, rows: int = 40, **environ: str) -> Screen:
    """Return the emulated terminal after a scene."""
    argv, act = SCENES[name]
    script = (
        calls(("sessions_search", {"query": "build server"}), usage=USAGE),
        answer(*re.findall(r"\S*\s+", ANSWER), thinking=["The linker."], usage=USAGE),
    )
    now = datetime(2026, 11, 21, 12, tzinfo=UTC) if name in _DATED else datetime.now(UTC)
    with _home(now) as home, ChatServer(*script) as server:
        variables = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "PAGER": "cat",
            "OMNIAGENT_MODEL": MODEL,
            "OPENAI_API_KEY": "sk-none",
            "OPENAI_BASE_URL": server.url,
            **environ,
        }
        with PipedProgram(argv, variables, columns=columns, rows=rows, cwd=home) as program:
            act(program)
            return program.screen


def text_of(screen: Screen) -> str:
    """Return the text of a screen without durations, which differ between runs, and without the local time."""
    text = re.sub(r"2026-11-2\d(\s+)\d\d:\d\d", r"2026-11-21\1HH:MM", screen.text)
    text = re.sub(r"\d+\.\d s", "0.0 s", text)
    return re.sub(r"Thought for \d+ s", "Thought for 1 s", text)
