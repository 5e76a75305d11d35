"""From process start to the prompt on the screen, beside `python -c pass` and `llm chat`.

    python tests/benchmarks/prompt.py [--runs N] [--llm PATH]

The runs alternate and the medians are printed. PATH is the `llm` of any virtual environment; without it the one on
PATH is taken, if there is one. Python is the one of this virtual environment, with its bytecode
compiled; each chat runs on a terminal of its own in an empty home.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.repl.terminal import TerminalProgram

BIN = Path(sys.executable).parent
BAR_SECONDS = 0.250


def floor() -> float:
    """Start the interpreter and end it."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - begin


def prompt(argv: list[str], mark: str, **environ: str) -> float:
    """Start a chat and wait for its prompt."""
    with tempfile.TemporaryDirectory() as home:
        named = {
            "HOME": home,
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        }
        begin = time.perf_counter()
        with TerminalProgram(argv, named | environ, cwd=home) as chat:
            chat.wait_for(mark, timeout=60)
            return time.perf_counter() - begin


def contestants(llm: str | None) -> dict[str, Callable[[], float]]:
    """Return what is measured, by name."""
    chat = [str(BIN / "omniagent"), "chat", "--session", "user-123"]
    found: dict[str, Callable[[], float]] = {
        "python -c pass": floor,
        "omniagent chat, model named": lambda: prompt(chat, "you>", OMNIAGENT_MODEL="recall"),
        "omniagent chat, model chosen": lambda: prompt(chat, "you>"),
    }
    if llm:
        found["llm chat"] = lambda: prompt(
            [llm, "chat", "-m", "gpt-6.1-sol"], ">", OPENAI_API_KEY="none"
        )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--llm", default=shutil.which("llm"), metavar="PATH")
    options = parser.parse_args()
    measured = contestants(options.llm)
    times: dict[str, list[float]] = {name: [] for name in measured}
    for name in measured:
        measured[name]()  # once for the bytecode and the disk
    for _ in range(options.runs):
        for name, run in measured.items():
            times[name].append(run())
    base = statistics.median(times["python -c pass"])
    print(f"{'':32}{'median':>9}{'worst':>9}{'x python':>10}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:32}{median * 1000:7.0f}ms{max(values) * 1000:7.0f}ms{median / base:10.1f}")
    print(f"the bar is {BAR_SECONDS * 1000:.0f} ms")


if __name__ == "__main__":
    main()
