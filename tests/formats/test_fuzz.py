"""Fuzzing of all importers: problems are reported, without a crash, a hang or a partial session."""

from __future__ import annotations

import json
import random
import re
import time

import pytest
from golden_inputs import FORMAT_OF, placed

from omniagent_cli.formats.importer import import_path
from omniagent_cli.stores import open_store

HOSTILE = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5000,
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\\u001b[2J"',
    b"null",
    b"[]",
    b"{}",
    b"[[1]]",
    b'{"a":{"b":[null]}}',
    b'"' + b"x" * 600 + b'"',
    b"-1",
    b"true",
    b"[" * 3000,
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b"\xff\xfe",
    b'"../../etc/passwd"',
    b"1e18",
    b'"\'; DROP TABLE sessions; --"',
]
VALUE = re.compile(rb'"(?:[^"\\]|\\.){0,200}"(?!\s*:)|\b(?:null|true|false|\d+(?:\.\d+)?)\b')


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Change a file in one to four places."""
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(7)
        at = chance.randrange(len(data) + 1)
        if kind == 0:
            data = data[:at]
        elif kind == 1:
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + chance.choice(HOSTILE) + data[at:]
        elif kind == 3:
            end = at + chance.randrange(400)
            data = data[:at] + data[end:]
        elif kind == 4:
            end = at + chance.randrange(400)
            data = data[:end] + data[at:end] + data[end:]
        elif values := [match.span() for match in VALUE.finditer(data)]:
            start, end = chance.choice(values)
            data = data[:start] + chance.choice(HOSTILE) + data[end:]
    return data


def check(data: bytes, path, **options) -> None:
    """Import a file, and verify that imported sessions are complete and problems reported."""
    path.write_bytes(data)
    began = time.monotonic()
    with open_store("memory:", ttl=None) as store:
        report = import_path(store, path, branches=True, **options)
        assert report.ok == (not report.problems and not report.refused)
        assert all(len(problem.text) <= 1000 for problem in report.problems)
        for summary in store.list(archived=None):
            session = store.get(summary.id)
            assert len(session.messages) == summary.message_count > 0
            json.dumps(session.to_record())
        again = import_path(store, path, branches=True, **options)
        assert (again.imported, again.merged) == (0, 0)
    assert time.monotonic() - began < 20


def rounds(name: str, tmp_path, seeds: range) -> None:
    source = placed(name, tmp_path)
    data, path = source.read_bytes(), tmp_path / f"mutated-{source.name}"
    for seed in seeds:
        changed = mutated(data, random.Random(f"{name}-{seed}"))
        forced = {} if seed % 3 else {"format_name": FORMAT_OF[name]}
        try:
            check(changed, path, **forced)
        except BaseException:
            print(f"seed {seed} of {name}")
            raise


@pytest.mark.parametrize("name", FORMAT_OF)
def test_mutated_files(name, tmp_path) -> None:
    """Changed, removed, repeated and inserted bytes, and values of other types."""
    rounds(name, tmp_path, range(6))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FORMAT_OF)
def test_many_mutated_files(name, tmp_path) -> None:
    """The same with many more mutations."""
    rounds(name, tmp_path, range(6, 1_000))


@pytest.mark.parametrize("name", FORMAT_OF)
def test_files_cut_anywhere(name, tmp_path) -> None:
    """A truncated file imports complete sessions and reports the rest."""
    source = placed(name, tmp_path)
    data, path = source.read_bytes(), tmp_path / f"cut-{source.name}"
    places = random.Random(name).sample(range(len(data)), min(10, len(data)))
    for place in [0, 1, 2, len(data) - 1, *places]:
        check(data[:place], path)
