"""A value nested too deeply costs at most its message, in the files of every tool."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from conversations import imported
from golden_inputs import FORMAT_OF, placed

from omniagent_cli.formats.importer import import_path
from omniagent_cli.stores import open_store

DEEP = "@DEEP@"
DEPTHS = (400, 1500)
"""Deeper than a stored record may be, and deeper than the JSON parser of Python reads."""
IDENTIFYING = {"role", "type", "uuid", "title"}
"""Keys without which the format, the conversation or the message is not recognized."""


def paths(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of each value that is not a container, the last first."""
    if isinstance(value, dict | list):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in reversed(list(members)):
            yield from paths(item, (*path, key))
    else:
        yield path


def with_deep_value(value: Any, path: tuple) -> Any:
    if not path:
        return DEEP
    if isinstance(value, dict):
        return {k: with_deep_value(v, path[1:]) if k == path[0] else v for k, v in value.items()}
    return [with_deep_value(v, path[1:]) if n == path[0] else v for n, v in enumerate(value)]


def variants(documents: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield each key, and the documents with a deep value at one place with this key."""
    seen = set()
    for number, document in reversed(list(enumerate(documents))):
        for path in paths(document):
            key = str(next((step for step in reversed(path) if isinstance(step, str)), ""))
            if path and key not in seen:
                seen.add(key)
                changed = with_deep_value(document, path)
                yield key, [*documents[:number], changed, *documents[number + 1 :]]


def encoded(documents: list[Any], depth: int) -> bytes:
    text = "\n".join(json.dumps(document) for document in documents) + "\n"
    return text.replace(f'"{DEEP}"', "[" * depth + "]" * depth).encode()


def messages(store) -> set[tuple[str, str]]:
    """Return role and content of all messages."""
    found = set()
    for summary in store.list(archived=None):
        for message in store.messages(summary.id):
            found.add((message.role, json.dumps(message.record["content"], sort_keys=True)))
    return found


@pytest.mark.parametrize("name", [name for name in FORMAT_OF if name.endswith((".json", ".jsonl"))])
def test_a_deep_value_in_a_file_costs_at_most_its_message(name, tmp_path):
    """The other messages are imported."""
    text = placed(name, tmp_path).read_text()
    try:
        documents = [json.loads(text)]
    except ValueError:
        documents = [json.loads(line) for line in text.splitlines() if line.strip()]
    options = {"name": name, "branches": True, "format_name": FORMAT_OF[name]}
    with open_store("memory:", ttl=None) as store:
        imported(store, encoded(documents, 0), **options)
        expected = messages(store)
    for key, changed in variants(documents):
        for depth in DEPTHS:
            with open_store("memory:", ttl=None) as store:
                imported(store, encoded(changed, depth), **options)
                lost = expected - messages(store)
            assert key in IDENTIFYING or len(lost) <= 1, (key, depth, lost)


def json_columns(database: sqlite3.Connection) -> Iterator[tuple[str, str, int, Any]]:
    """Yield table, column, row number and value of each text that is a JSON container."""
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'")]  # fmt: skip
    for table in tables:
        names = [row[1] for row in database.execute(f"PRAGMA table_info([{table}])")]
        for column in names:
            try:
                rows = list(database.execute(f"SELECT rowid, [{column}] FROM [{table}]"))
            except sqlite3.OperationalError:  # a table without row numbers
                continue
            for number, text in rows:
                if isinstance(text, str) and text.startswith(("{", "[")):
                    yield table, column, number, json.loads(text)


@pytest.mark.parametrize("name", [name for name in FORMAT_OF if name.endswith(".sql")])
def test_a_deep_value_in_a_database_costs_at_most_its_message(name, tmp_path):
    """The other messages of all sessions are imported."""
    path = placed(name, tmp_path)
    with open_store("memory:", ttl=None) as store:
        import_path(store, path, branches=True)
        expected = messages(store)
    database = sqlite3.connect(path)
    for table, column, number, value in list(json_columns(database)):
        change = f"UPDATE [{table}] SET [{column}] = ? WHERE rowid = ?"
        for key, (changed,) in variants([value]):
            for depth in DEPTHS:
                with database:
                    database.execute(change, (encoded([changed], depth).decode(), number))
                with open_store("memory:", ttl=None) as store:
                    import_path(store, path, branches=True)
                    lost = expected - messages(store)
                assert key in IDENTIFYING or len(lost) <= 1, (table, column, key, depth, lost)
        with database:
            database.execute(change, (json.dumps(value), number))
    database.close()
