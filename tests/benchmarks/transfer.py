"""Export beside json.dumps, and import beside the same inserts by hand; with the memory each takes.

    python tests/benchmarks/transfer.py [--megabytes N]

Each line is a ratio of speeds in one run on one machine. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from omniagent_cli import open_store
from omniagent_cli.formats.exporter import export_sessions
from omniagent_cli.formats.importer import import_stream
from omniagent_cli.json_format import parse_time
from omniagent_cli.stores.backends.sqlite.schema import MIGRATIONS
from omniagent_cli.text.tokenize import index_text

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "boil",
    "jade",
    "kettles",
    "in",
    "the",
    "dark",
]
TEXT = " ".join(itertools.islice(itertools.cycle(WORDS), 180))
ANSWER = """Here is **how**, with `code`, [a link](https://example.com/a) and a list:

- the first of them
- the second

```python
def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)  # slowly
```

| name | value |
|---|--:|
| a | 1 |

"""
PER_SESSION = 1000


def write_export(path: Path, size: int, text: str = TEXT) -> int:
    """Write an export of about that many bytes and return its messages."""
    count = 0
    with path.open("wb") as file:
        session = 0
        while file.tell() < size:
            head = {
                "format": "omniagent-session",
                "version": 1,
                "id": f"s{session}",
                "ttl_seconds": None,
            }
            file.write(json.dumps(head).encode() + b"\n")
            for number in range(PER_SESSION):
                moment = f"2026-01-{1 + session % 28:02}T{number // 60 % 24:02}:{number % 60:02}:00.{session % 1000000:06}Z"
                record = {"id": f"m{session}-{number}", "role": ("user", "assistant")[number % 2], "content": f"{session}-{number} {text}", "created_at": moment, "turn_id": f"m{session}-{number - number % 2}"}  # fmt: skip
                file.write(json.dumps(record).encode() + b"\n")
                count += 1
            session += 1
    return count


def by_hand(source: Path, target: Path) -> None:
    """Read the lines with json.loads and insert the same rows under the same keys, 500 messages a transaction."""
    db = sqlite3.connect(target, isolation_level=None)
    for step in MIGRATIONS:
        step(db)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    columns = [row[1] for row in db.execute("PRAGMA table_info(messages)")]
    session = 0
    keys: set[int] = set()
    with source.open("rb") as file:
        for line in file:
            record = json.loads(line)
            if "format" in record:
                session += 1
                position = 0
                db.execute(
                    "INSERT INTO sessions (key, uid, id, created_at, updated_at, agent_id, model, message_count,"
                    " next_position, revision, pinned, archived, hidden, preview, payload)"
                    " VALUES (?, ?, ?, '', '', '', '', 0, 0, 0, 0, 0, 0, x'', x'')",
                    (session, record["id"], record["id"]),
                )
                continue
            if position % 500 == 0:
                if db.in_transaction:
                    db.execute("COMMIT")
                db.execute("BEGIN IMMEDIATE")
            wanted = int(parse_time(record["created_at"]).timestamp() * 1000) << 6
            key = wanted
            while key in keys:
                key += 1
            keys.add(key)
            body = json.dumps({"content": record["content"]}, ensure_ascii=False).encode()
            row = {
                "key": key,
                "session": session,
                "position": position,
                "indexed": 1,
                "payload": body,
                "status": None,
            }
            row |= {name: record[name] for name in ("id", "turn_id", "role", "created_at")}
            db.execute(
                f"INSERT INTO messages ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                [row.get(name) for name in columns],
            )
            db.execute(
                "INSERT INTO words (rowid, text) VALUES (?, ?)",
                (key, index_text(record["content"])),
            )
            position += 1
    db.execute("COMMIT")
    db.close()


def run(what: str, source: Path, target: Path) -> None:
    start = time.perf_counter()
    if what == "floor":
        by_hand(source, target)
    elif what == "dumps":
        with source.open("rb") as file:
            records = [json.loads(line) for line in itertools.islice(file, 20_000)]
        size, start = 0, time.perf_counter()
        for record in records:
            size += len(json.dumps(record, ensure_ascii=False).encode())
        print(size / (time.perf_counter() - start) / 1e6, 0)
        return
    else:
        action, _, format_name = what.partition("-")
        with open_store(f"sqlite:///{target}", ttl=None) as store:
            if action == "import":
                with source.open("rb") as file:
                    report = import_stream(store, file, name="big")
                if not report.ok:
                    print(report.problems[:3], report.counts, file=sys.stderr)
            else:
                with source.open("wb") as file:
                    export_sessions(
                        store, iter([s.id for s in store.list()]), format_name, file.write
                    )
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(source.stat().st_size / seconds / 1e6, peak)


def apart(*words: object) -> tuple[float, float]:
    """Run one step in a process of its own and return MB/s and peak MiB."""
    done = subprocess.run(
        [sys.executable, __file__, *map(str, words)], check=True, capture_output=True, text=True
    )
    sys.stderr.write(done.stderr)
    speed, peak = done.stdout.split()
    return float(speed), float(peak)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "in.jsonl"
        count = write_export(source, options.megabytes * 1_000_000)
        print(f"{source.stat().st_size / 1e6:.0f} MB, {count} messages")
        dumps, _ = apart("dumps", source, "-")
        floor, _ = apart("floor", source, folder / "floor.db")
        speed, peak = apart("import", source, folder / "ours.db")
        print(
            f"import jsonl   {speed:6.1f} MB/s  {speed / floor:.2f} x by hand ({floor:.1f})  peak {peak:.0f} MiB"
        )
        for format_name in ("jsonl", "json", "openai", "markdown", "text", "csv", "html"):
            out = folder / f"out.{format_name}"
            speed, peak = apart(f"export-{format_name}", out, folder / "ours.db")
            print(
                f"export {format_name:8}{speed:6.1f} MB/s  {speed / dumps:.2f} x json.dumps ({dumps:.0f})  peak {peak:.0f} MiB"
            )
            if format_name in ("json", "openai"):
                speed, peak = apart("import", out, folder / f"{format_name}.db")
                print(
                    f"import {format_name:8}{speed:6.1f} MB/s  {speed / floor:.2f} x by hand  peak {peak:.0f} MiB"
                )
        coded = folder / "coded.jsonl"
        write_export(coded, options.megabytes * 100_000, ANSWER + TEXT[:400])
        dumps, _ = apart("dumps", coded, "-")
        apart("import", coded, folder / "coded.db")
        print("of answers with code, tables and links:")
        for format_name in ("jsonl", "markdown", "text", "csv", "html"):
            out = folder / f"coded.{format_name}"
            speed, peak = apart(f"export-{format_name}", out, folder / "coded.db")
            print(
                f"export {format_name:8}{speed:6.1f} MB/s  {speed / dumps:.2f} x json.dumps ({dumps:.0f})  peak {peak:.0f} MiB"
            )


if __name__ == "__main__":
    if len(sys.argv) == 4:
        run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
