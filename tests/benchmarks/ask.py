"""From Enter to the request on the wire, once the libraries are loaded: the chat, beside the bare `openai` client.

    python tests/benchmarks/ask.py [--runs N]

Both are programs on a terminal of their own that ask a server on this machine; the clock starts when Enter is written
to the terminal and stops when the server has read the request. The chat stores the question on disk first, chooses the window and
offers its tools; what it does for the first question of a run is shown apart. Runs alternate, medians are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.repl.terminal import TerminalProgram
from tests.servers.chat_server import ChatServer, Reply, Request, answer

BIN = Path(sys.executable).parent
BAR_SECONDS = 0.020
QUESTIONS = 12
LOADING_SECONDS = 3.0

BARE = """
import openai, os
client = openai.OpenAI(max_retries=0)
print("ready", flush=True)
messages = []
while True:
    messages.append({"role": "user", "content": input("you> ")})
    text = ""
    for chunk in client.chat.completions.create(model="fake-1", messages=messages, stream=True):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    messages.append({"role": "assistant", "content": text})
    print(text, flush=True)
"""


class Clock:
    """A server that notes when a question has arrived."""

    def __init__(self) -> None:
        self.at = 0.0
        self.server = ChatServer(*[self._reply] * (QUESTIONS + 1)).start()

    def _reply(self, request: Request) -> Reply:
        self.at = time.perf_counter()
        said = request.body["messages"][-1]["content"]
        return answer(f"answer to {said}")


def asked(argv: list[str], **more: str) -> list[float]:
    """Run a program, ask it questions, and return how long each took to the wire."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as home:
        environ = {
            "HOME": home,
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "OPENAI_API_KEY": "sk-none",
            "OPENAI_BASE_URL": clock.server.url,
        }
        times = []
        with TerminalProgram(argv, environ | more, cwd=home) as program:
            program.wait_for("you>", timeout=60)
            time.sleep(LOADING_SECONDS)  # the libraries load behind the prompt while a person types
            for number in range(QUESTIONS):
                program.send(f"q{number}")
                program.wait_for(f"q{number}")
                begin = time.perf_counter()
                program.send("\r")
                program.wait_for(f"answer to q{number}")
                times.append(clock.at - begin)
    clock.server.close()
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    programs = {
        "bare openai client": ([sys.executable, "-c", BARE], {}),
        "omniagent chat": ([str(BIN / "omniagent"), "chat"], {"OMNIAGENT_MODEL": "openai:fake-1"}),
        "omniagent chat --no-tools": (
            [str(BIN / "omniagent"), "chat", "--no-tools"],
            {"OMNIAGENT_MODEL": "openai:fake-1"},
        ),
    }
    first: dict[str, list[float]] = {name: [] for name in programs}
    later: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(options.runs):
        for name, (argv, environ) in programs.items():
            times = asked(argv, **environ)
            first[name].append(times[0])
            later[name] += times[1:]
    print(f"{'from Enter to the request':<28}{'first':>10}{'later':>10}   (ms, medians)")
    for name in programs:
        early, late = (1000 * statistics.median(kind[name]) for kind in (first, later))
        bar = "" if name.startswith("bare") else f"   bar {1000 * BAR_SECONDS:.0f}: "
        verdict = bar and ("met" if late <= 1000 * BAR_SECONDS else "missed")
        print(f"{name:<28}{early:>10.1f}{late:>10.1f}{bar}{verdict}")


if __name__ == "__main__":
    main()
