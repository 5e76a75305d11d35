"""Memory use of large imports is bounded for every tool."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from omniagent_cli.formats.importer import import_path, import_stream
from omniagent_cli.stores import open_store
from tests.benchmarks import histories
from tests.benchmarks.newer_histories import MANY, WHOLE

QUICK = ("openai", "chatgpt", "claude-code", "llm")
"""One format of each kind of reader: lines, a document, a log with records, a database; the others take as long."""


@pytest.mark.parametrize(
    "format_name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.soak)
        for name in histories.WRITERS
        if name not in WHOLE
    ],
)
def test_memory_does_not_grow_with_one_long_conversation(format_name, tmp_path) -> None:
    """A single conversation of 25 MB is not held in memory."""
    path = tmp_path / "in"
    count = histories.written(format_name, path, 25_000_000, one=True, text=histories.TEXT * 20)
    with open_store(f"sqlite:///{tmp_path}/s.db", ttl=None) as store:
        tracemalloc.start()
        try:
            report = import_path(store, path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert report.format_name == format_name.removesuffix(".db")
    assert (report.messages, report.problems) == (count, [])
    # What waits in memory at most, and twice a piece of the file.
    assert peak < 25_000_000


def test_memory_does_not_grow_with_many_pictures(tmp_path) -> None:
    """Images are stored one by one."""
    picture = "data:image/png;base64," + "QUJD" * 250_000
    lines = [
        {"type": "response_item", "payload": {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": picture[:-8] + f"{n:08}"}]}}
        for n in range(24)
    ]  # fmt: skip
    data = b"\n".join(json.dumps(line).encode() for line in lines)
    with open_store(f"sqlite:///{tmp_path}/s.db", ttl=None) as store:
        tracemalloc.start()
        try:
            report = import_stream(store, io.BytesIO(data), name="a.jsonl")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (report.messages, report.problems) == (24, [])
        assert len(store.attachments(report.sessions[0].session_id)) == 24
    assert peak < 25_000_000


@pytest.mark.soak
@pytest.mark.parametrize("format_name", sorted(WHOLE))
def test_a_conversation_that_is_read_as_a_whole_takes_a_multiple_of_its_size(format_name, tmp_path):
    """A conversation of 25 MB takes at most four times as much memory."""
    path = tmp_path / "in"
    count = histories.written(format_name, path, 25_000_000, one=True)
    with open_store(f"sqlite:///{tmp_path}/s.db", ttl=None) as store:
        tracemalloc.start()
        try:
            report = import_path(store, path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (report.messages, report.problems) == (count, [])
    assert peak < 100_000_000


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("format_name", "one"),
    [
        *((name, False) for name in histories.WRITERS if name not in WHOLE - MANY),
        *((name, True) for name in histories.WRITERS if name not in WHOLE),
    ],
)
def test_a_large_import_takes_little_memory(format_name, one, tmp_path) -> None:
    """200 MB, in conversations of 1,000 messages or in one: the process stays below 150 MiB."""
    path = tmp_path / "in"
    count = histories.written(format_name, path, 200_000_000, one=one)
    command = [
        sys.executable,
        str(Path(histories.__file__)),
        "--run",
        str(path),
        str(tmp_path / "s.db"),
    ]
    done = subprocess.run(command, check=True, capture_output=True)
    _, peak, messages, found, problems = json.loads(done.stdout)
    assert (messages, found, problems) == (count, format_name.removesuffix(".db"), 0)
    assert peak < 150
