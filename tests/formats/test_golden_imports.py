"""Exact records imported from a file of each tool."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime

import pytest
from conversations import exported, imported
from golden_inputs import FORMAT_OF, GOLDEN, placed

from omniagent_cli.formats import FORMATS
from omniagent_cli.formats.detection import detect_format
from omniagent_cli.formats.importer import import_path
from omniagent_cli.stores import open_store

NOW = "now"


@pytest.fixture
def utc(monkeypatch):
    """Set the time zone to UTC."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def outcome(path) -> list[dict]:
    """Import a file with its branches; return the stored records with import times masked."""
    began = datetime.now(UTC).isoformat()
    with open_store("memory:", ttl=None) as store:
        report = import_path(store, path, branches=True)
        assert (report.problems, report.ok) == ([], True)
        ids = sorted(summary.id for summary in store.list(archived=None))
        records = [json.loads(line) for line in exported(store, ids).splitlines()]
    for record in records:
        for key in ("created_at", "updated_at", "modified_at"):
            if record.get(key, "") >= began:
                record[key] = NOW
    return records


@pytest.mark.parametrize("name", FORMAT_OF)
def test_what_comes_of_a_golden_file(name, tmp_path, utc) -> None:
    """The imported records match the golden files."""
    path = placed(name, tmp_path)
    os.utime(path, (1_763_717_400, 1_763_717_400))
    records = outcome(path)
    expected = GOLDEN / f"{name}.expected.jsonl"
    if os.environ.get("WRITE_GOLDEN"):
        expected.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
    assert records == [json.loads(line) for line in expected.read_text().splitlines()]


@pytest.mark.parametrize("name", FORMAT_OF)
def test_a_file_is_recognised_by_its_content(name, tmp_path) -> None:
    """Detection does not depend on blank lines at the start."""
    head = placed(name, tmp_path).read_bytes()[: 1 << 16]
    assert detect_format(head) == FORMAT_OF[name]
    if not name.endswith(".sql"):
        assert detect_format(b"\n \n" + head) == FORMAT_OF[name]


QUOTED = sorted(name for name in FORMAT_OF if not name.endswith(".sql"))
WORDS = ("What is it?", "And birds?", "Hi", "Where is Oslo?", "Write a poem", "2+3?", "x.txt?", "both files", "list the files", "Weather?")  # fmt: skip


@pytest.mark.parametrize("name", [name for name in QUOTED if not name.endswith(".yaml")])
def test_what_a_file_quotes_does_not_make_it_another_format(name, tmp_path) -> None:
    """A message that quotes a file of another tool does not change the detected format."""
    data = placed(name, tmp_path).read_text()
    words = next(words for words in WORDS if words in data)
    for quoted in QUOTED:
        text = json.dumps((GOLDEN / quoted).read_text())[1:-1]
        mixed = data.replace(words, text).encode()[: 1 << 16]
        assert (quoted, detect_format(mixed)) == (quoted, FORMAT_OF[name])


@pytest.mark.parametrize("name", FORMAT_OF)
def test_a_name_that_is_given_is_believed(name, tmp_path) -> None:
    """`--format` overrides detection, and content that does not match is reported."""
    path = placed(name, tmp_path)
    for row in FORMATS.values():
        if row.can_import:
            with open_store("memory:", ttl=None) as store:
                report = import_path(store, path, format_name=row.name)
                assert report.ok == (not report.problems)
                if row.name == FORMAT_OF[name]:
                    assert report.ok


@pytest.mark.parametrize("name", FORMAT_OF)
def test_importing_again_changes_nothing(name, tmp_path) -> None:
    """A repeated import from the file, a copy or stdin changes nothing."""
    path = placed(name, tmp_path)
    with open_store("memory:", ttl=None) as store:
        first = import_path(store, path, branches=True)
        assert first.imported
        before = [s.updated_at for s in store.list()]
        again = import_path(store, path, branches=True)
        assert (again.imported, again.merged, again.refused) == (0, 0, 0)
        assert again.skipped == first.imported + first.skipped
        data = path.read_bytes()
        piped = imported(store, data, name=path.name, branches=True)
        assert (piped.imported, piped.merged, piped.refused) == (0, 0, 0)
        assert [s.updated_at for s in store.list()] == before
