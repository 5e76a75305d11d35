"""Detection of formats: unknown files, unsupported tools, and records left out on purpose."""

from __future__ import annotations

import io
import json

import pytest

from omniagent_cli.formats.importer import import_stream
from omniagent_cli.stores import open_store

UNRECOGNIZED = {
    "json lines of messages of a team": b'{"kind": "message", "from_user": "U1", "text": "Hi"}\n',
    "a document with messages that have no role": b'{"messages": [{"id": "1", "body": "Hi"}]}',
    "numbers": b"[1, 2]",
}


def imported(data: bytes, name: str = "in.jsonl"):
    with open_store("memory:") as store:
        return import_stream(store, io.BytesIO(data), name=name)


@pytest.mark.parametrize("data", UNRECOGNIZED.values(), ids=UNRECOGNIZED)
def test_an_unknown_file_names_the_known_formats(data):
    """The report names the known formats; a file name that ends in .jsonl is not evidence."""
    (problem,) = imported(data).problems
    assert "format not recognized" in problem.text
    assert "jsonl, json, openai" in problem.text


def test_the_nearest_format_is_suggested():
    """A file with half of the marks of a format is not that format, but the format is suggested."""
    (problem,) = imported(json.dumps({"preferred_output": []}).encode()).problems
    assert "nearest: openai" in problem.text


def test_an_unsupported_tool_is_named():
    """A chat export of Discord has messages, but is not a conversation with a model."""
    export = {"guild": {"name": "g"}, "channel": {"name": "c"}, "messages": [{"author": {"id": "1"}, "content": "Hi"}]}  # fmt: skip
    (problem,) = imported(json.dumps(export).encode()).problems
    assert problem.text == "a Discord chat export is not supported"


def test_a_conversation_without_messages_is_counted():
    """An account export often contains empty conversations; they are counted, not imported, and not an error."""
    said = {"id": "m", "author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Hi"]}}  # fmt: skip
    conversations = [
        {"id": "a", "mapping": {"m": {"id": "m", "message": said, "parent": None, "children": []}}},
        {"id": "b", "mapping": {"r": {"id": "r", "message": None, "parent": None, "children": []}}},
    ]
    report = imported(json.dumps(conversations).encode())
    assert report.ok
    assert report.imported == 1
    assert dict(report.left_out) == {"empty conversation": 1}
