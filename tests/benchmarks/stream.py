"""What painting an answer costs, beside rich.Live that renders everything again.

    python tests/benchmarks/stream.py [--rate TOKENS] [--peer-seconds S]

Answers of 20 kB arrive at 100 tokens a second on a clock that is only counted forward; printed are the CPU spent
for each second of it, the bytes written, and the longest frame. 30 frames a second for the peer, which is asked
for a part of the answer and taken on for the rest. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown

from omniagent_cli.agent.events import TextDelta
from omniagent_cli.ui.stream import StreamView
from omniagent_cli.ui.terminal import Terminal

CHARACTERS_PER_TOKEN = 4
SIZE = 20_000
SENTENCE = "the quick brown fox jumps over a lazy dog while `seven` wizards **boil** jade kettles in the dark"
WORDS = SENTENCE.split()


class Tty(io.StringIO):
    """A terminal that takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.bytes += len(text.encode())
        return len(text)


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def mixed() -> str:
    rng, parts = random.Random(1), []
    while sum(map(len, parts)) < SIZE:
        parts.append(f"## {sentence(rng, 4)}\n\n")
        parts += [f"{sentence(rng, 60)}.\n\n" for _ in range(2)]
        parts.append("".join(f"- {sentence(rng, 9)}\n" for _ in range(5)) + "\n")
        code = "".join(f"    value_{n} = compute({n}, 'text')\n" for n in range(12))
        parts.append(f"```python\ndef f():\n{code}```\n\n")
        parts.append(
            "| a | b |\n|---|---|\n" + "".join(f"| {n} | {n * n} |\n" for n in range(6)) + "\n"
        )
    return "".join(parts)[:SIZE]


def fence() -> str:
    return (
        "```python\n"
        + "".join(f"value_{n} = compute({n}, 'text')  # {n}\n" for n in range(480))
        + "```\n"
    )


def listing() -> str:
    rng = random.Random(2)
    return "".join(f"- {sentence(rng, 10)}\n" for _ in range(350))


def line() -> str:
    return sentence(random.Random(3), 3900)


def tokens(text: str) -> list[str]:
    return [text[i : i + CHARACTERS_PER_TOKEN] for i in range(0, len(text), CHARACTERS_PER_TOKEN)]


class Measure:
    """CPU, longest frame and bytes of one run."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cpu = 0.0
        self.worst = 0.0
        self.simulated = 0.0

    def clock(self) -> float:
        return self.now

    def timed(self, work: Callable[[], object]) -> None:
        start = time.process_time()
        work()
        spent = time.process_time() - start
        self.cpu += spent
        self.worst = max(self.worst, spent)


def ours(text: str, rate: float) -> tuple[Measure, int]:
    out, measure = Tty(), Measure()
    environ = {"TERM": "xterm-256color", "COLUMNS": "100"}
    terminal = Terminal(stdin=io.StringIO(), stdout=out, stderr=io.StringIO(), environ=environ)
    terminal.color = "always"
    terminal.markdown("warm *up* `x`\n\n```python\nx = 1\n```\n")
    view = StreamView(terminal, clock=measure.clock)
    out.bytes = 0
    for token in tokens(text):
        measure.now += 1 / rate
        measure.timed(lambda token=token: view.feed(TextDelta(token)))
    measure.timed(view.finish)
    measure.simulated = measure.now
    return measure, out.bytes


def rich_live(text: str, rate: float, seconds: float) -> tuple[Measure, int]:
    """Render everything at each frame; after `seconds` of CPU the rest is taken on as growing evenly."""
    out, measure = Tty(), Measure()
    console = Console(file=out, force_terminal=True, width=100, height=30)
    frames = [
        int(n * rate / 30 * CHARACTERS_PER_TOKEN)
        for n in range(1, int(len(text) / CHARACTERS_PER_TOKEN / rate * 30) + 1)
    ]
    picked = frames[:: max(1, len(frames) // 60)]
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for end in picked:
            measure.timed(lambda end=end: live.update(Markdown(text[:end]), refresh=True))
            if measure.cpu > seconds:
                break
    factor = len(frames) / len(picked)
    measure.cpu *= factor
    measure.simulated = len(text) / CHARACTERS_PER_TOKEN / rate
    return measure, int(out.bytes * factor)


def show(name: str, measure: Measure, size: int) -> None:
    share = measure.cpu / measure.simulated
    print(f"  {name:<28} {share:8.2%} {size / 1e6:9.2f} MB {measure.worst * 1000:8.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--peer-seconds", type=float, default=20.0)
    options = parser.parse_args()
    kinds = {"markdown": mixed, "one fence": fence, "one list": listing, "one line": line}
    print(f"{'':<30} {'CPU':>8} {'written':>12} {'worst frame':>12}")
    for name, make in kinds.items():
        text = make()
        print(f"{name}, {len(text) / 1000:.0f} kB at {options.rate:g} tokens/s")
        show("omniagent", *ours(text, options.rate))
        show("rich.Live, all again", *rich_live(text, options.rate, options.peer_seconds))
    text = "ab\n" * 100_000
    measure, size = ours(text, 10_000.0)
    print(f"tiny chunks, {len(text) // CHARACTERS_PER_TOKEN:,} at 10,000/s")
    show("omniagent", measure, size)
    measure, size = ours("x" * 1_000_000, 2_500.0)
    print("1 MB without a newline at 10 kB/s")
    show("omniagent", measure, size)


if __name__ == "__main__":
    main()
