"""Import of other tools' histories: speed beside json.loads of the same bytes, and the memory it takes.

    python tests/benchmarks/histories.py [--megabytes N] [--one] [FORMAT]...

Each file holds conversations of 1,000 messages, or with --one a single conversation. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from omniagent_cli import open_store
from omniagent_cli.formats.importer import import_path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks import newer_histories

PER_SESSION = 1000
TEXT = (
    "the quick brown fox jumps over a lazy dog while seven wizards boil jade kettles in the dark "
    * 11
)


class Piece:
    """Where in a file a message stands, and what it is."""

    def __init__(self, session: int, number: int, text: str = TEXT) -> None:
        self.session = session
        self.number = number
        self.is_question = number % 2 == 0
        self.text = f"{session}-{number} {text}"
        self.seconds = 1767225600.0 + session * PER_SESSION + number
        self.at = datetime.fromtimestamp(self.seconds, UTC).isoformat()


Writer = Callable[[BinaryIO, Iterator[Iterator[Piece]]], None]


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def chatgpt(file: BinaryIO, sessions: Iterator[Iterator[Piece]]) -> None:
    before = b"["
    for pieces in sessions:
        for piece in pieces:
            number = piece.number
            if number == 0:
                file.write(
                    before
                    + b'{"id":"c%d","title":"t","create_time":1767225600.0,"mapping":{'
                    % piece.session
                )
                before = b",\n"
            said = {"id": f"m{number}", "author": {"role": "user" if piece.is_question else "assistant"}, "create_time": piece.seconds,
                    "content": {"content_type": "text", "parts": [piece.text]}, "weight": 1.0, "metadata": {}, "recipient": "all"}  # fmt: skip
            node = {
                "id": f"m{number}",
                "parent": f"m{number - 1}",
                "children": [f"m{number + 1}"],
                "message": said,
            }
            file.write((b"," if number else b"") + b'"m%d":' % number + _dump(node))
        file.write(b'},"current_node":"m%d"}' % number)
    file.write(b"]")


def claude(file: BinaryIO, sessions: Iterator[Iterator[Piece]]) -> None:
    before = b"["
    for pieces in sessions:
        for piece in pieces:
            if piece.number == 0:
                file.write(before + b'{"uuid":"c%d","name":"t","chat_messages":[' % piece.session)
                before = b",\n"
            said = {"uuid": f"m{piece.number}", "sender": "human" if piece.is_question else "assistant", "created_at": piece.at,
                    "text": piece.text, "content": [{"type": "text", "text": piece.text}]}  # fmt: skip
            file.write((b"," if piece.number else b"") + _dump(said))
        file.write(b"]}")
    file.write(b"]")


def sharegpt(file: BinaryIO, sessions: Iterator[Iterator[Piece]]) -> None:
    before = b"[\n"
    for pieces in sessions:
        for piece in pieces:
            if piece.number == 0:
                file.write(before + b'{"id":"c%d","conversations":[' % piece.session)
                before = b",\n"
            said = {"from": "human" if piece.is_question else "gpt", "value": piece.text}
            file.write((b"," if piece.number else b"") + _dump(said))
        file.write(b"]}")
    file.write(b"]")


def openai(file: BinaryIO, sessions: Iterator[Iterator[Piece]]) -> None:
    for pieces in sessions:
        file.write(b'{"messages":[')
        for piece in pieces:
            said = {"role": "user" if piece.is_question else "assistant", "content": piece.text}
            file.write((b"," if piece.number else b"") + _dump(said))
        file.write(b"]}\n")


def codex(file: BinaryIO, sessions: Iterator[Iterator[Piece]]) -> None:
    file.write(
        _dump(
            {"timestamp": "2026-01-01T00:00:00Z", "type": "session_meta", "payload": {"id": "c0"}}
        )
        + b"\n"
    )
    for pieces in sessions:
        for piece in pieces:
            kind = "input_text" if piece.is_question else "output_text"
            role = "user" if piece.is_question else "assistant"
            item = {
                "type": "message",
                "role": role,
                "content": [{"type": kind, "text": piece.text}],
            }
            file.write(
                _dump({"timestamp": piece.at, "type": "response_item", "payload": item}) + b"\n"
            )


def claude_code(file: BinaryIO, sessions: Iterator[Iterator[Piece]]) -> None:
    number = 0
    for pieces in sessions:
        for piece in pieces:
            role = "user" if piece.is_question else "assistant"
            content: Any = (
                piece.text if piece.is_question else [{"type": "text", "text": piece.text}]
            )
            line = {"parentUuid": f"m{number - 1}" if number else None, "uuid": f"m{number}", "sessionId": "c0", "type": role, "timestamp": piece.at,
                    "isSidechain": False, "message": {"role": role, "id": f"a{number}", "model": "m", "content": content}}  # fmt: skip
            file.write(_dump(line) + b"\n")
            number += 1


def gemini(file: BinaryIO, sessions: Iterator[Iterator[Piece]]) -> None:
    file.write(
        _dump({"sessionId": "c0", "projectHash": "p", "startTime": "2026-01-01T00:00:00Z"}) + b"\n"
    )
    number = 0
    for pieces in sessions:
        for piece in pieces:
            kind = "user" if piece.is_question else "gemini"
            file.write(
                _dump(
                    {
                        "id": f"m{number}",
                        "timestamp": piece.at,
                        "type": kind,
                        "content": [{"text": piece.text}],
                    }
                )
                + b"\n"
            )
            number += 1


def aichat(file: BinaryIO, sessions: Iterator[Iterator[Piece]]) -> None:
    file.write(b"model: openai:gpt-6.1-sol\nmessages:\n")
    for pieces in sessions:
        for piece in pieces:
            role = b"user" if piece.is_question else b"assistant"
            file.write(b"- role: %s\n  content: %s\n" % (role, piece.text.encode()))


def llm(file: BinaryIO, sessions: Iterator[Iterator[Piece]]) -> None:
    with sqlite3.connect(file.name) as log:
        log.execute("CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT)")
        log.execute(
            "CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, response TEXT, conversation_id TEXT, datetime_utc TEXT)"
        )
        for pieces in sessions:
            question = None
            for piece in pieces:
                if question is not None:
                    row = (
                        f"{piece.session:06}-{piece.number:08}",
                        "m",
                        question.text,
                        None,
                        piece.text,
                        f"c{piece.session}",
                        piece.at,
                    )
                    log.execute("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                question = piece if piece.is_question else None
    log.close()


WRITERS: dict[str, Writer] = {
    "openai": openai, "sharegpt": sharegpt, "chatgpt": chatgpt, "claude": claude, "llm": llm, "codex": codex,
    "claude-code": claude_code, "gemini": gemini, "aichat": aichat,
    **{name: shape.write for name, shape in newer_histories.SHAPES.items()},
    "hermes.db": newer_histories.hermes_database, "opencode.db": newer_histories.opencode_database,
}  # fmt: skip
SINGLE = {
    "codex",
    "claude-code",
    "gemini",
    "aichat",
    *newer_histories.SHAPES,
} - newer_histories.MANY
"""Formats with one session per file."""


def written(format_name: str, path: Path, size: int, *, one: bool = False, text: str = TEXT) -> int:
    """Write a file of about that many bytes, and return its messages."""
    count = size // (len(text) + 150) // 2 * 2
    each = count if one or format_name in SINGLE else PER_SESSION

    def sessions() -> Iterator[Iterator[Piece]]:
        for session, start in enumerate(range(0, count, each)):
            yield (Piece(session, n, text) for n in range(min(each, count - start)))

    with path.open("wb") as file:
        WRITERS[format_name](file, sessions())
    return count


def run(path: Path, target: Path) -> None:
    start = time.perf_counter()
    with open_store(f"sqlite:///{target}", ttl=None) as store:
        report = import_path(store, path)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            [
                path.stat().st_size / seconds / 1e6,
                peak,
                report.messages,
                report.format_name,
                report.problem_count,
            ]
        )
    )


def parsed() -> float:
    """Return the speed of json.loads over such messages, MB/s."""
    values = [_dump({"role": "user", "content": Piece(0, number).text}) for number in range(20_000)]
    start = time.perf_counter()
    for value in values:
        json.loads(value)
    return sum(map(len, values)) / (time.perf_counter() - start) / 1e6


def apart(path: Path, target: Path) -> list[Any]:
    """Import in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--run", path, target],
        check=True,
        capture_output=True,
        text=True,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--one", action="store_true")
    parser.add_argument("--run", nargs=2, type=Path)
    parser.add_argument("formats", nargs="*", default=list(WRITERS))
    options = parser.parse_args()
    if options.run:
        run(*options.run)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for format_name in options.formats:
            path = folder / f"in-{format_name}"
            count = written(format_name, path, options.megabytes * 1_000_000, one=options.one)
            loads = parsed()
            speed, peak, messages, found, problems = apart(path, folder / f"{format_name}.db")
            wrong = (
                ""
                if (messages, found, problems) == (count, format_name.removesuffix(".db"), 0)
                else f"  WRONG: {messages} of {count} messages, {found}, {problems} problems"
            )
            print(
                f"import {format_name:12}{speed:6.1f} MB/s  {speed / loads:.3f} x json.loads ({loads:.0f})  peak {peak:.0f} MiB{wrong}",
                flush=True,
            )
            if format_name == "chatgpt":
                packed = folder / "export.zip"
                with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.write(path, "conversations.json")
                size = path.stat().st_size
                path.unlink()
                speed, peak, messages, *_ = apart(packed, folder / "zip.db")
                print(
                    f"       its zip     {speed * size / packed.stat().st_size:6.1f} MB/s of what is in it  peak {peak:.0f} MiB",
                    flush=True,
                )
            for made in folder.iterdir():
                made.unlink()


if __name__ == "__main__":
    main()
