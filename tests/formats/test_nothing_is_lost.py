"""Every text of a golden input comes in: an independent walk over the file counts what an import must contain."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from conversations import exported
from golden_inputs import FORMAT_OF, GOLDEN

from omniagent_cli.formats.importer import import_path
from omniagent_cli.stores import open_store

TEXT_KEYS = frozenset(
    {"text", "content", "parts", "value", "thinking", "think", "reasoning", "reasoningText", "reasoning_content", "mes", "prompt", "title", "name",
     "custom_title", "customTitle", "chatTitle", "output", "result", "message", "html", "extracted_content", "description", "summary"}
)  # fmt: skip
"""Keys whose strings a person reads, in the formats of all tools."""

LEFT_OUT = {
    "claude-stream.jsonl": {"Done."},  # the result repeats the last answer
    "lm-studio.json": {"What was it?"},  # an unselected version
    "gptme.jsonl": {"You are gptme."},  # hidden
    "le-chat.json": {
        "I search. They eat algae."
    },  # the texts before and after a call, without the call
}


def documents(data: str) -> Iterator[Any]:
    """Yield the JSON documents of a file: the whole, or one per line."""
    try:
        yield json.loads(data)
    except ValueError:
        for line in filter(str.strip, data.splitlines()):
            yield json.loads(line)


def sentences(value: Any, key: str = "") -> Iterator[str]:
    """Yield each text below a value: a string with a space or a full stop under a key that people read."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from sentences(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from sentences(item, key)
    elif isinstance(value, str) and key in TEXT_KEYS and not value.startswith(("{", "<", "data:")):
        value = value.removeprefix("Prompted ")
        if value.strip().endswith((".", "?", "!")):
            yield value.strip()


NEW_FILES = [
    name
    for name, format_name in FORMAT_OF.items()
    if name.endswith((".json", ".jsonl"))
    and format_name
    not in ("codex", "claude-code", "gemini", "chatgpt", "claude", "openai", "sharegpt")
]


@pytest.mark.parametrize("name", NEW_FILES)
def test_every_sentence_comes_in(name):
    """What the file holds, counted by an independent walk, is in the store, branches included."""
    data = (GOLDEN / name).read_text()
    expected = Counter(text for document in documents(data) for text in sentences(document))
    expected -= Counter({text: expected[text] for text in LEFT_OUT.get(name, ())})
    with open_store("memory:", ttl=None) as store:
        report = import_path(store, GOLDEN / name, branches=True)
        ids = [summary.id for summary in store.list(archived=None)]
        stored = exported(store, ids, "jsonl").decode()
    assert report.ok
    assert expected
    assert [
        text for text in expected if json.dumps(text, ensure_ascii=False)[1:-1] not in stored
    ] == []
