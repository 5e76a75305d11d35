"""From Ctrl-C to the prompt, wherever it is pressed.

    python tests/benchmarks/interrupt.py [--runs N]

Each chat runs on a terminal of its own in an empty home, with a server on this machine that answers as told. The time
ends when the prompt is on the screen again, with the partial answer on disk; the bar is 100 ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.repl.terminal import CTRL_C, TerminalProgram
from tests.servers.chat_server import ChatServer, Reply, calls, chunk, stall, stream

BIN = Path(sys.executable).parent
BAR_SECONDS = 0.100


def interrupted(
    reply: Reply, ready: Callable[[TerminalProgram], object], keys: str = "go\r"
) -> float:
    """Ask, wait until the moment has come, press Ctrl-C, and return how long the prompt took."""
    with tempfile.TemporaryDirectory() as home, ChatServer(reply) as server:
        environ = {
            "HOME": home,
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "OMNIAGENT_MODEL": "openai:fake-1",
            "OPENAI_API_KEY": "sk-none",
            "OPENAI_BASE_URL": server.url,
        }
        argv = [str(BIN / "omniagent"), "chat", "--session", "user-123"]
        with TerminalProgram(argv, environ, cwd=home) as chat:
            chat.wait_prompt(1, timeout=60)
            chat.send(keys)
            ready(chat)
            prompts = chat.shown.count("you>")
            begin = time.perf_counter()
            chat.send(CTRL_C)
            chat.wait_prompt(prompts + 1, timeout=60)
            return time.perf_counter() - begin


def flood() -> Reply:
    """Answer in tiny pieces as fast as the server can."""
    return stream(*[chunk(content="word ") for _ in range(200_000)])


MOMENTS: dict[str, Callable[[], float]] = {
    "at the prompt": lambda: interrupted(stall(), lambda chat: chat.wait_for("typed"), "typed"),
    "while libraries load": lambda: interrupted(stall(), lambda chat: chat.wait_for("go")),
    "before the first word": lambda: interrupted(stall(), lambda chat: chat.wait_match("[0-9] s")),
    "in a silence": lambda: interrupted(stall("half an"), lambda chat: chat.wait_for("half an")),
    "in a flood of tiny pieces": lambda: interrupted(
        flood(), lambda chat: chat.wait_for("word word", count=9)
    ),
    "at an approval question": lambda: interrupted(
        calls(("sessions_clear", {"session_id": "user-123"})),
        lambda chat: chat.wait_match(r"\[y\]|\[N\]|y/N"),
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    print(f"{'Ctrl-C':28}{'median':>9}{'worst':>9}")
    for name, run in MOMENTS.items():
        times = [run() for _ in range(options.runs)]
        median, worst = statistics.median(times) * 1000, max(times) * 1000
        print(f"{name:28}{median:7.0f}ms{worst:7.0f}ms", flush=True)
    print(f"the bar is {BAR_SECONDS * 1000:.0f} ms")


if __name__ == "__main__":
    main()
