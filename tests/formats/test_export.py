"""Selection, redaction and streaming of exports, in bounded memory."""

from __future__ import annotations

import io
import json
import re
import tracemalloc
from itertools import islice

import pytest
from conversations import RICH, exported, imported, message_record, rich_store
from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.formats import FORMATS
from omniagent_cli.formats.exporter import export_sessions
from omniagent_cli.formats.importer import import_stream
from omniagent_cli.formats.writers.markdown import close_blocks, fenced
from omniagent_cli.stores import open_store

KEY = "sk-" + "a1B2" * 8
TOKEN = "ghp_" + "x" * 36


@pytest.fixture
def store():
    with rich_store() as opened:
        yield opened


def secret_store():
    store = open_store("memory:", ttl=None)
    call = {"name": "login", "arguments": json.dumps({"password": "hunter22", "n": [KEY]})}
    store.append(
        "s",
        [
            message_record("user", f"my key is {KEY}, keep it", "a"),
            message_record(
                "assistant", "", "b", tool_calls=[{"id": "c", "type": "function", "function": call}]
            ),
            message_record("tool", [{"type": "text", "text": f"token {TOKEN}"}], "c"),
        ],
    )
    store.set_title("s", f"About {TOKEN}")
    store.set_metadata("s", "login", {"password": "hunter22", "url": "https://me:hunter22@host/"})
    store.put_attachment("s", "a" * 64, {"data": "eA=="})
    store.put_summary("s", 1, {"text": f"key {KEY}"})
    return store


@pytest.mark.parametrize("format_name", [row.name for row in FORMATS.values() if row.can_export])
def test_redact_masks_secrets_everywhere_and_counts_them(format_name):
    """Secrets in texts, titles, metadata, tool arguments and summaries are redacted and counted."""
    out = io.BytesIO()
    with secret_store() as store:
        report = export_sessions(store, ["s"], format_name, out.write, redact=True)
        text = out.getvalue().decode()
        assert not re.search(rf"{KEY}|{TOKEN}|hunter22", text)
        assert report.redactions["openai-key"] >= 1
        if format_name in ("jsonl", "json"):
            assert report.redactions == {
                "openai-key": 3,
                "github-token": 2,
                "password": 2,
                "url-password": 1,
            }
        assert report.omitted_attachments == 1


def test_redacted_tool_arguments_are_still_json():
    """Redacted tool arguments are valid JSON."""
    with secret_store() as store:
        conversation = json.loads(exported(store, ["s"], "openai", redact=True))
        arguments = conversation["messages"][1]["tool_calls"][0]["function"]["arguments"]
        assert json.loads(arguments) == {
            "password": "[redacted: password]",
            "n": ["[redacted: openai-key]"],
        }


def test_nothing_is_written_when_a_named_session_is_not_there(store):
    """An unknown id writes nothing."""
    out = io.BytesIO()
    with pytest.raises(SessionNotFound):
        export_sessions(store, ["short", "nope"], "json", out.write)
    assert out.getvalue() == b""


def test_what_goes_while_all_is_exported_is_told(store):
    """An export of all sessions continues when one is deleted during the export, and reports it."""
    out = io.BytesIO()
    report = export_sessions(store, iter(["nope", "short"]), "jsonl", out.write)
    assert (report.sessions, report.missing) == (1, ["nope"])


def test_only_some_roles(store):
    """A selection by role can be imported."""
    data = exported(store, RICH, "jsonl", only=["user"])
    with open_store("memory:") as other:
        assert imported(other, data).ok
        assert {m.role for m in other.messages(RICH[0])} == {"user"}
    with pytest.raises(UsageError):
        exported(store, RICH, "jsonl", only=["robot"])


def test_no_sessions_at_all_is_still_a_document(store):
    """An empty export can be imported."""
    for format_name in ("json", "jsonl"):
        data = exported(store, [], format_name)
        with open_store("memory:") as other:
            assert imported(other, data).imported == 0
    assert json.loads(exported(store, [], "json"))["sessions"] == []


@given(st.text(st.sampled_from("`~a \n"), max_size=40))
def test_no_text_ends_its_own_code_block(text):
    """A fence is longer than any run of backticks inside it."""
    fence, *body, end = fenced(text).split("\n")
    assert fence == end
    assert set(fence) == {"`"}
    assert not any(fence in line for line in body)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n```py\nb", "a\n```py\nb\n```"),
        ("````\n```\n", "````\n```\n\n````"),
        ("~~~\nx\n```", "~~~\nx\n```\n~~~"),
        ("```\nx\n```\ny", "```\nx\n```\ny"),
        ("`` ` `` ok", "`` ` `` ok"),
        ("<!-- x", "\\<!-- x"),
        ("<SCRIPT>", "\\<SCRIPT>"),
        ("```\n<!-- kept", "```\n<!-- kept\n```"),
        ("a <b>bold</b>", "a <b>bold</b>"),
    ],
)
def test_what_a_message_opens_is_closed_before_the_next_heading(text, expected):
    """An answer that ends inside a code block does not affect the rest of the document."""
    assert close_blocks(text) == expected


def _lines(count: int, size: int, form: str):
    """Yield the bytes of a large file, message by message."""
    header = b'{"format":"omniagent-session","version":1,"id":"big"'
    body = json.dumps("word " * (size // 5)).encode()
    message = b'{"id":"m%d","role":"user","content":' + body + b"}"
    if form == "jsonl":
        yield header + b"}\n"
        yield from (message % n + b"\n" for n in range(count))
    else:
        yield b'{"sessions":[' + header + b',"messages":[' if form == "json" else b'{"messages":['
        yield from ((b"," if n else b"") + message % n for n in range(count))
        yield b"]}]}" if form == "json" else b"]}"


class _Generated:
    """File that is generated while it is read."""

    def __init__(self, pieces):
        self._pieces = iter(pieces)
        self.total = 0

    def read(self, size):
        piece = b"".join(islice(self._pieces, max(1, size // 4096)))
        self.total += len(piece)
        return piece


@pytest.mark.parametrize("form", ["jsonl", "json", "openai"])
def test_memory_stays_bounded_whatever_the_size(form, tmp_path):
    """Import and export of a session of 20 MB use a few megabytes."""
    with open_store(f"sqlite:///{tmp_path}/big.db", ttl=None) as store:
        source = _Generated(_lines(5000, 4000, form))
        tracemalloc.start()
        try:
            report = import_stream(store, source, name="big")
            written = 0

            def count(data):
                nonlocal written
                written += len(data)

            export_sessions(store, [report.sessions[0].session_id], form, count)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (report.problems, report.messages) == ([], 5000)
        assert source.total > 20_000_000 < written
        assert peak < 12_000_000
