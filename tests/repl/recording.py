"""The screen of a chat as the README shows it: the real command on an emulated terminal, a scripted server in the place of a model.

    python -m tests.repl.recording

Only how long things took is made the same each time.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

from omniagent_cli.models import Message
from omniagent_cli.stores import open_store
from tests.repl.piped import PipedProgram
from tests.repl.terminal import CTRL_D
from tests.servers.chat_server import ChatServer, answer, calls

COLUMNS, ROWS = 78, 24

QUESTION = "Which port did I choose for the test server? Give me the command."
ANSWER = """\
You chose port **8123**, in the session `server-notes`:

```sh
python3 -m http.server 8123 --directory build
```

| option | what it does |
|---|---|
| `--bind ADDRESS` | listens on that address only |
| `--directory DIR` | serves another directory |
"""


def recorded() -> str:
    """Hold the conversation and return the screen at its end."""
    usage = {"prompt_tokens": 1_312, "completion_tokens": 74, "total_tokens": 1_386}
    script = (
        calls(("sessions_search", {"query": "test server port"}), usage=usage),
        answer(*re.findall(r"\S*\s+", ANSWER), thinking=["The notes say it."], usage=usage),
    )
    with tempfile.TemporaryDirectory() as home, ChatServer(*script) as server:
        notes = Path(home) / ".local/share/omniagent/sessions.db"
        notes.parent.mkdir(parents=True, mode=0o700)
        with open_store(notes, ttl=None) as store:
            store.append("server-notes", Message("user", "The test server gets the port 8123."))
        with PipedProgram(
            ["chat", "--session", "build"],
            {
                "HOME": home,
                "PATH": os.environ["PATH"],
                "TERM": "xterm-256color",
                "LANG": "C.UTF-8",
                "OMNIAGENT_MODEL": "openai:gpt-6.1-sol",
                "OPENAI_API_KEY": "sk-none",
                "OPENAI_BASE_URL": server.url,
            },
            columns=COLUMNS,
            rows=ROWS,
            cwd=home,
        ) as chat:
            chat.wait_prompt(1)
            chat.say(QUESTION)
            chat.wait_prompt(2, timeout=30)
            chat.wait_until(lambda _: "tokens" in chat.rows[-1], "the toolbar", timeout=30)
            screen = "\n".join(line.rstrip() for line in chat.screen.display)
            chat.send(CTRL_D)
            chat.wait()
    return _timeless(screen)


def _timeless(screen: str) -> str:
    screen = re.sub(r"(ok|failed), [\d.]+ s", r"\1, 0.0 s", screen)
    screen = re.sub(r"Thought for \d+ s", "Thought for 1 s", screen)
    return re.sub(r"\n{3,}", "\n\n", screen).strip("\n")


if __name__ == "__main__":
    sys.stdout.write(recorded() + "\n")
