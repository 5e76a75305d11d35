"""Exact bytes of each export format."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conversations import RICH, exported, imported, rich_store

from omniagent_cli.formats import FORMATS
from omniagent_cli.stores import open_store

GOLDEN = Path(__file__).parent / "golden"
FILES = {
    name: GOLDEN / f"two-sessions.{name}{row.suffixes[0]}"
    for name, row in FORMATS.items()
    if row.can_export
}


@pytest.mark.parametrize("name", FILES)
def test_export_writes_the_golden_bytes(name):
    """Exports match the golden files byte for byte."""
    with rich_store() as store:
        data = exported(store, RICH, name)
    if os.environ.get("WRITE_GOLDEN"):
        FILES[name].write_bytes(data)
    assert data == FILES[name].read_bytes()


@pytest.mark.parametrize("name", ["jsonl", "json"])
def test_golden_files_of_our_own_formats_come_back_whole(name):
    """Files written by this version are read without loss."""
    with open_store("memory:", ttl="1d") as store:
        report = imported(store, FILES[name].read_bytes())
        assert (report.ok, report.imported, report.format_name) == (True, 2, name)
        assert exported(store, RICH, name) == FILES[name].read_bytes()


def test_golden_openai_file_comes_back_with_the_same_words():
    """A fine-tuning file keeps its content in a round trip."""
    data = FILES["openai"].read_bytes()
    with open_store("memory:", ttl=None) as store:
        report = imported(store, data)
        assert (report.ok, report.imported, report.format_name) == (True, 2, "openai")
        assert exported(store, [o.session_id for o in report.sessions], "openai") == data


@pytest.mark.parametrize("name", FILES)
def test_every_export_is_valid_utf_8_without_terminal_controls_where_it_is_for_reading(name):
    """Every export is valid UTF-8, and readable formats contain no terminal controls."""
    text = FILES[name].read_bytes().decode("utf-8")
    assert "\x1b" not in text
