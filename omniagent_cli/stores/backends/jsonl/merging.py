"""Logs whose lines are not in the order in which they were written: two copies were merged, or somebody edited one.

Such a log is read as a copy in which messages are in the order of their stamps, with the positions that whole turns have in
the order of their first message; a repeated line counts once. The next write to the session replaces the log by it.
"""

from __future__ import annotations

import tempfile
from typing import Any

from omniagent_cli.json_format import dump
from omniagent_cli.stores.backends.jsonl.line_reader import LineReader
from omniagent_cli.stores.backends.jsonl.lines import MessageLine, later, message_line, read_message
from omniagent_cli.stores.backends.jsonl.state import Parsed, complete

_Key = tuple[str, str]


def arranged(tape: LineReader, identity: bytes) -> LineReader:
    """Return a copy of a log with its lines in order, as an open temporary file."""
    chains = complete(tape, len(identity))
    every = [line for chain in chains for line in chain]
    end = every[-1].offset + every[-1].size if every else len(identity)
    lines = [line for line in every if line.kind]
    messages: dict[_Key, tuple[MessageLine, int]] = {}
    for line in lines:
        if line.message is not None:
            key, known = (line.stamp, line.message.id), messages.get((line.stamp, line.message.id))
            if known is None or _rank(tape, line.message, line.offset) > _rank(tape, *known):
                messages[key] = (line.message, line.offset)
    positions = _positions({key: message for key, (message, _) in messages.items()})
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the reader closes it
    file.write(identity if identity[-1:] == b"\n" else identity + b"\n")
    file.writelines(
        tape.read(line.offset, line.offset + line.size) for line in lines if line.kind == "bad"
    )
    top = -1
    for key in sorted(messages):
        _, offset = messages[key]
        whole = read_message(next(tape.forward(offset, tape.size))[1])
        row = whole.row(positions[key])
        explicit = row.position != top + 1
        file.write(
            message_line(row, key[0], position=explicit, edited=whole.edited, preview=whole.preview)
        )
        top = max(top, row.position)
    others = [line for line in lines if line.message is None and line.kind != "bad"]
    file.writelines(_others(others, positions))
    file.write(tape.read(min(end, tape.size), tape.size))  # an interrupted write
    file.flush()
    return LineReader(tape.path, file)


def _rank(tape: LineReader, message: MessageLine, offset: int) -> tuple[str, bool, bytes]:
    """Return what decides between two versions of a message: the last one, a complete one, any the same everywhere."""
    text = next(tape.forward(offset, tape.size))[1]
    return message.edited or "", message.status != "interrupted", text


def _positions(messages: dict[_Key, MessageLine]) -> dict[_Key, int]:
    turns: dict[str, _Key] = {}
    for key in sorted(messages):
        turns.setdefault(messages[key].turn, key)
    positions, last = {}, -1
    for key in sorted(messages, key=lambda key: (turns[messages[key].turn], key)):
        last = max(last + 1, messages[key].position or 0)
        positions[key] = last
    return positions


def _others(lines: list[Parsed], positions: dict[_Key, int]) -> list[bytes]:
    """Return the lines that are not messages, by their stamps; their references to messages are adjusted."""
    named: dict[str, list[int]] = {}
    for (_, name), position in positions.items():
        named.setdefault(name, []).append(position)
    found: list[bytes] = []
    gone: set[int] = set()
    last, seen = "", set[bytes]()
    for line in sorted(lines, key=lambda line: (line.stamp, dump(line.record))):
        record: dict[str, Any] = {key: value for key, value in line.record.items() if key != "more"}
        if line.kind == "format":
            record = {"header": record.get("header", {}), "at": record["created_at"]}
        if dump(record) in seen:
            continue
        seen.add(dump(record))
        if line.kind in ("removed", "restored"):
            removes = line.kind == "removed"
            pairs = [
                [name, min(named[name], key=lambda p: abs(p - old))]
                for name, old in record[line.kind]
                if name in named
            ]  # used at once
            pairs = [pair for pair in pairs if (pair[1] in gone) != removes]
            gone.symmetric_difference_update(position for _, position in pairs)
            record[line.kind] = pairs
        last = record["at"] = later(record["at"], last)
        found.append(dump(record) + b"\n")
    return found
