"""What a start costs: whole processes beside a bare interpreter of the same environment, in one run.

    python tests/benchmarks/startup.py [--rounds N] [--large N] [--llm PATH]

`llm` (pip install llm, in an environment of its own) is run beside us when it is here or named by its path. The bars
are what we hold ourselves to. Runs alternate A B A B ...; figures are medians of CPU (user and system) and of wall time, and their ratio to
``python -c pass``. It measures the environment whose python runs it, and says when that flatters or spoils the
figures: a checkout instead of an installed wheel, or modules that were never compiled. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import omniagent_cli
from omniagent_cli import Message, open_store

PYTHON = sys.executable
BARE = "python -c pass"
BARS = {"TAB, 10,000": 2.5, "omniagent --version": 1.3, "sessions list": 10.0}
"""What a line's wall time may be at most, as a multiple of the bare interpreter's; by how its name begins."""


def make_store(path: Path, count: int) -> Path:
    """Make a store with so many sessions: one by the API, the others as copies of its row."""
    with open_store(path, ttl=None) as store:
        store.append("user-000000", [Message("user", "hello"), Message("assistant", "hi")])
        store.set_title("user-000000", "A title")
    with closing(sqlite3.connect(path)) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(sessions)")]
        first = dict(zip(columns, db.execute("SELECT * FROM sessions").fetchone(), strict=True))
        marks = ", ".join("?" * len(columns))
        db.executemany(f"INSERT INTO sessions VALUES ({marks})", _copies(first, columns, count))
        db.commit()
    return path


def _copies(first: dict[str, object], columns: list[str], count: int) -> Iterator[list[object]]:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(1, count):
        moment = (begin + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        changed = {
            "key": number + 1,
            "uid": f"{number:022d}",
            "id": f"user-{number:06d}",
            "created_at": moment,
            "updated_at": moment,
        }
        yield [(first | changed)[column] for column in columns]


def commands(stores: dict[int, Path], llm: Path) -> dict[str, list[str]]:
    """Return what is measured, by its name in the table."""
    script = Path(PYTHON).with_name("omniagent")
    program = [str(script)] if script.exists() else [PYTHON, "-m", "omniagent_cli"]
    found = {BARE: [PYTHON, "-c", "pass"], "omniagent --version": [*program, "--version"]}
    for count, path in stores.items():
        line = f"omniagent --db {path} sessions show "
        for typed in ("user-0012", ""):
            name = f"TAB, {count:,} sessions, {len(typed)} letters typed"
            found[name] = [*program, "__complete", "--bash", " \t\n\"'><=;|&(:", line + typed]
    here = ["--db", str(stores[1000]), "sessions"]
    found |= {
        "TAB on a command": [*program, "__complete", "sess"],
        "sessions list, 1,000, piped": [*program, *here, "list"],
        "sessions list --json, 1,000": [*program, *here, "list", "--json"],
        "sessions show": [*program, *here, "show", "user-000000"],
        "omniagent --help": [*program, "--help"],
    }
    if llm.exists():
        own = llm.with_name("python")
        found |= {
            "python -c pass, of llm": [str(own if own.exists() else PYTHON), "-c", "pass"],
            "llm --version": [str(llm), "--version"],
            "llm logs path": [str(llm), "logs", "path"],
            "llm logs list": [str(llm), "logs", "list"],
        }
    return found


def measure(
    lines: dict[str, list[str]], rounds: int, environ: dict[str, str]
) -> dict[str, tuple[float, float]]:
    """Run everything in turn, so that what else the machine does touches all alike; medians in ms."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
    for number in range(rounds + 1):
        for name, line in lines.items():
            sample = _run(line, environ)
            if number:  # the first round warms the disk
                taken[name].append(sample)
    return {
        name: (
            statistics.median(cpu for cpu, _ in samples),
            statistics.median(wall for _, wall in samples),
        )
        for name, samples in taken.items()
    }


def _run(line: list[str], environ: dict[str, str]) -> tuple[float, float]:
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(line, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu * 1000, wall * 1000


def conditions(llm: Path) -> Iterator[str]:
    """Say what is measured, and what makes the figures worth less."""
    place = Path(omniagent_cli.__file__).parent
    yield f"python {sys.version.split()[0]} at {PYTHON}; omniagent {omniagent_cli.__version__}; {os.cpu_count()} CPUs"
    if place.parent.name != "site-packages":
        yield "NOTE: this is a checkout, not an installed wheel; an environment of its own measures what people get"
    compiled = Path(importlib.util.cache_from_source(str(place / "cli" / "sessions.py")))
    if not compiled.exists():
        yield "NOTE: the modules are not compiled, so each start compiles them; figures are far too high"
    script = Path(PYTHON).with_name("omniagent")
    if script.exists() and "import re\n" in script.read_text(encoding="utf-8"):
        yield "NOTE: the installer wrote a start script that imports re, which alone costs half a bare interpreter"
    if not llm.exists():
        yield f"NOTE: {llm} is not there, so llm is not measured; name it with --llm"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--large", type=int, default=100_000)
    parser.add_argument("--llm", type=Path, default=Path(PYTHON).with_name("llm"))
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="omniagent-startup-"))
    try:
        stores = {
            count: make_store(home / f"{count}.db", count)
            for count in (1000, 10_000, arguments.large)
        }
        environ = {"HOME": str(home), "PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        figures = measure(commands(stores, arguments.llm), arguments.rounds, environ)
    finally:
        shutil.rmtree(home)
    for line in conditions(arguments.llm):
        print(line)
    print(f"{'':36} {'CPU ms':>8} {'x bare':>7} {'wall ms':>8} {'x bare':>7} {'bar':>6}")
    bare_cpu, bare_wall = figures[BARE]
    for name, (cpu, wall) in figures.items():
        bar = next((f"{most:6.1f}" for begin, most in BARS.items() if name.startswith(begin)), "")
        ratios = f"{cpu:8.1f} {cpu / bare_cpu:7.2f} {wall:8.1f} {wall / bare_wall:7.2f}"
        print(f"{name:36} {ratios} {bar:>6}")


if __name__ == "__main__":
    main()
