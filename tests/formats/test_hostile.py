"""Damaged and hostile files: one problem per bad record, the rest is imported, no partial sessions."""

from __future__ import annotations

import io
import json

import pytest
from conversations import RICH, exported, imported, message_record, rich_store, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from omniagent_cli.formats.detection import detect_format
from omniagent_cli.stores import open_store

HEADER = b'{"format":"omniagent-session","version":1,"id":"s"}\n'
GOOD = json.dumps(message_record("user", "good", "g")).encode()
LATER = json.dumps(message_record("user", "later", "l", 1)).encode()
DEEP = (
    b'{"role":"user","content":"x","id":"d","extra":'
    + b'{"a":' * 100_000
    + b"1"
    + b"}" * 100_000
    + b"}"
)
BAD_MESSAGES = [
    b"{",
    b"nonsense",
    b"\xff\xfe\x00binary",
    b'{"role":"user","content":"\xff"}',
    b"[]",
    b"null",
    b'"text"',
    b"{}",
    b'{"role":"robot","content":"x"}',
    b'{"role":["user"],"content":"x"}',
    b'{"role":"user","content":7}',
    b'{"role":"user","content":"x","id":7}',
    b'{"role":"user","content":"x","id":"' + b"i" * 2000 + b'"}',
    b'{"role":"user","content":"x","id":"\\ud800"}',
    b'{"role":"user","content":"x","id":"\\u0000"}',
    b'{"role":"user","content":"x","turn_id":"\\udfff"}',
    b'{"role":"user","content":"x","created_at":"soon"}',
    b'{"role":"user","content":"x","created_at":"0001-01-01T00:00:00+14:00"}',
    b'{"role":"user","content":"x","created_at":1700000000}',
    b'{"role":"user","content":"x","tool_calls":{}}',
    b'{"role":"user","content":"x","tool_calls":[{"function":null}]}',
    b'{"role":"user","content":"x","extra":{"n":NaN}}',
    b'{"role":"user","content":"x","extra":{"n":-Infinity}}',
    b'{"role":"user","content":"x","extra":{"n":1e999}}',
    b'{"role":"user","content":"x","extra":{"n":' + b"9" * 5000 + b"}}",
    b'{"role":"user","content":"x","usage":[]}',
    b'{"role":"user","content":"x","status":"odd"}',
    DEEP,
    b"[" * 100_000,
]
BAD_HEADERS = [
    b'{"format":"omniagent-session","version":99,"id":"s"}',
    b'{"format":"omniagent-session","version":"1","id":"s"}',
    b'{"format":"omniagent-session","version":1,"id":"' + b"i" * 600 + b'"}',
    b'{"format":"omniagent-session","version":1,"id":" "}',
    b'{"format":"omniagent-session","version":1,"id":"a\\u001b[2J"}',
    b'{"format":"omniagent-session","version":1,"id":7}',
    b'{"format":"omniagent-session","version":1,"id":"\\ud800"}',
    b'{"format":"omniagent-session","version":1,"id":"s","title":[1]}',
    b'{"format":"omniagent-session","version":1,"id":"s","model":"\\ud800"}',
    b'{"format":"omniagent-session","version":1,"id":"s","metadata":[]}',
    b'{"format":"omniagent-session","version":1,"id":"s","ttl_seconds":-1}',
    b'{"format":"omniagent-session","version":1,"id":"s","ttl_seconds":1e300}',
    b'{"format":"omniagent-session","version":1,"id":"s","ttl_seconds":true}',
    b'{"format":"omniagent-session","version":1,"id":"s","created_at":"9999-99-99"}',
    b'{"format":"omniagent-session","version":1,"id":"s","state":{"n":NaN}}',
    b'{"format":"omniagent-session","version":1,"id":"s","metadata":'
    + b'{"a":' * 5000
    + b"1"
    + b"}" * 5000
    + b"}",
    b'{"format":"omniagent-session","version":1,"id":"s"',
]


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/s.db", ttl=None) as opened:
        yield opened


@pytest.mark.parametrize("bad", BAD_MESSAGES, ids=lambda bad: bad[:60].decode("utf-8", "replace"))
def test_a_bad_line_is_told_with_its_place_and_the_rest_comes_in(bad, store):
    """jsonl: an invalid message is reported with its location, and the rest is imported."""
    report = imported(store, HEADER + GOOD + b"\n" + bad + b"\n\n" + LATER + b"\n", "x.jsonl")
    assert [p.location for p in report.problems] == ["x.jsonl:3"]
    assert texts(store, "s") == ["good", "later"]
    assert not report.ok


@pytest.mark.parametrize(
    "bad",
    [bad for bad in BAD_MESSAGES if (bad[:1] == b"{" and bad[-1:] == b"}") or bad == b"null"],
    ids=lambda bad: bad[:60].decode("utf-8", "replace"),
)
def test_a_bad_message_in_a_document_is_told_with_its_place_and_the_rest_comes_in(bad, store):
    """json: an invalid message is reported with its location, and the rest is imported."""
    data = (
        b'{"format":"omniagent-export","version":1,"sessions":[\n'
        + HEADER.strip()[:-1] + b',"messages":[\n' + GOOD + b",\n" + bad + b",\n" + LATER + b"]}\n]}"
    )  # fmt: skip
    report = imported(store, data, "x.json")
    assert [p.location for p in report.problems] == ["x.json:4"]
    assert texts(store, "s") == ["good", "later"]


@pytest.mark.parametrize("bad", BAD_HEADERS, ids=lambda bad: bad[40:100].decode("utf-8", "replace"))
def test_a_session_with_a_bad_header_stays_out_whole(bad, store):
    """No message after an invalid header is imported or added to the previous session."""
    before = HEADER.replace(b'"s"', b'"before"') + LATER + b"\n"
    after = HEADER.replace(b'"s"', b'"after"') + GOOD + b"\n"
    report = imported(store, before + bad + b"\n" + GOOD + b"\n" + after)
    assert [p.location for p in report.problems] == ["in:3"]
    assert {s.id: texts(store, s.id) for s in store.list()} == {
        "before": ["later"],
        "after": ["good"],
    }
    assert store.info()["messages"] == 2  # nothing staged is left behind


@pytest.mark.parametrize(
    "bad",
    [h for h in BAD_HEADERS if h[-1:] == b"}"],
    ids=lambda bad: bad[40:100].decode("utf-8", "replace"),
)
def test_a_bad_header_in_a_document_keeps_its_session_out_whole(bad, store):
    """json: an invalid header affects only its session."""
    after = HEADER.strip().replace(b'"s"', b'"after"')
    data = (
        b'{"format":"omniagent-export","version":1,"sessions":['
        + bad[:-1] + b',"messages":[' + GOOD + b"]},\n" + after[:-1] + b',"messages":[' + GOOD + b"]}]}"
    )  # fmt: skip
    report = imported(store, data)
    assert report.problem_count == 1
    assert {s.id: texts(store, s.id) for s in store.list()} == {"after": ["good"]}
    assert store.info()["messages"] == 1


@pytest.mark.parametrize("format_name", ["jsonl", "json", "openai"])
def test_a_file_cut_off_anywhere_gives_what_stands_before_the_cut(format_name):
    """Truncation at any byte is reported; complete sessions are imported once, and the rest later."""
    with rich_store() as rich:
        data = exported(rich, RICH, format_name)
    whole = len(data.rstrip())
    for end in range(0, whole, 7):
        with open_store("memory:", ttl=None) as store:
            report = imported(store, data[:end])
            if format_name == "json" or not data[:end].endswith((b"}", b"\n")):
                assert not report.ok, end
            if format_name != "openai":
                assert imported(store, data).refused == 0, end
                for session_id in RICH:
                    assert texts(store, session_id) == texts_of_rich(session_id), end


def texts_of_rich(session_id):
    with rich_store() as rich:
        return texts(rich, session_id)


def test_a_jsonl_file_cut_at_a_line_is_noticed(store):
    """The message count of a header reveals truncation at a line boundary."""
    with rich_store() as rich:
        lines = exported(rich, RICH).splitlines(keepends=True)
    report = imported(store, b"".join(lines[:4]))
    assert [p.text for p in report.problems] == ["unexpected end of file after 3 of 6 messages"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"hello\nworld\n",
        b"{}",
        b"PK\x03\x04",
        b"\xff" * 99,
        b"0",
    ],
)
def test_what_is_no_import_is_told_in_one_line(data, store):
    """Empty, binary and unrelated files are one problem each."""
    report = imported(store, data, "odd")
    assert (report.problem_count, report.sessions, report.ok) == (1, [], False)


def test_a_bad_conversation_costs_its_line(store):
    """openai: an invalid line does not affect the others."""
    good = b'{"messages":[{"role":"user","content":"%d"}]}\n'
    for number, bad in enumerate(
        [
            *BAD_MESSAGES[:3],
            b'{"messages":7}',
            b'{"messages":[{"role":"user"',
            b'{"x":1}',
            b'{"messages":[{"role":"user","content":"a" "b"}]}',
            b"]",
        ]
    ):
        data = good % number + bad + b"\n" + good % (number + 100)
        report = imported(store, data, format_name="openai")
        assert [p.location for p in report.problems] == ["in:2"], bad
        assert report.counts["imported"] >= 2, bad


def test_duplicate_keys_and_lone_surrogates_are_no_problem(store):
    """The last of two equal keys is used, and lone surrogates are preserved."""
    line = b'{"role":"user","content":"a","content":"b \\ud83d","id":"1"}\n'
    assert imported(store, HEADER + line).ok
    assert texts(store, "s") == ["b \ud83d"]


def test_ids_of_an_import_cannot_leave_the_directory(tmp_path):
    """An id is never used as a path."""
    with open_store(f"file:///{tmp_path}/deep/er", ttl=None) as store:
        for session_id in (
            "../../evil",
            "/etc/passwd",
            "..",
            "CON",
            "a\\b",
            "'; DROP TABLE sessions; --",
        ):
            header = json.dumps(
                {"format": "omniagent-session", "version": 1, "id": session_id}
            ).encode()
            assert imported(store, header + b"\n" + GOOD).ok
            assert texts(store, session_id) == ["good"]
    assert [p.name for p in tmp_path.iterdir()] == ["deep"]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["er"]


def test_strict_takes_nothing_when_anything_is_wrong(store):
    """With --strict, one bad line imports nothing, from a pipe too."""
    good = HEADER.replace(b'"s"', b'"t"') + GOOD + b"\n"
    for stream in (io.BytesIO(good + b"{bad\n"), _Pipe(good + b"{bad\n")):
        from omniagent_cli.formats.importer import import_stream

        report = import_stream(store, stream, name="in", strict=True)
        assert (report.stopped, report.imported, report.problem_count) == (True, 0, 1)
        assert store.count() == 0
    assert import_stream(store, _Pipe(good), name="in", strict=True).imported == 1


class _Pipe(io.BytesIO):
    def seekable(self):
        return False

    def seek(self, *_):
        raise io.UnsupportedOperation


def test_an_interrupted_import_leaves_whole_sessions_only(store):
    """Ctrl-C keeps completed sessions and nothing of the current one."""
    lines = [HEADER.replace(b'"s"', b'"first"'), GOOD + b"\n", HEADER]
    lines += [
        json.dumps(message_record("user", "x" * 1000, f"m{n}")).encode() + b"\n"
        for n in range(2000)
    ]

    def interrupt(consumed):
        if consumed > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imported(store, b"".join(lines), progress=interrupt)
    assert [s.id for s in store.list()] == ["first"]
    assert store.info()["messages"] == 1


def test_a_problem_quotes_little_of_a_hostile_file(store):
    """The text of a problem is short for any value."""
    report = imported(store, HEADER + b'{"role":"' + b"r" * 10_000_000 + b'"}\n')
    assert len(report.problems[0].text) <= 300


@settings(deadline=None)
@given(st.data())
def test_no_bytes_at_all_cause_a_traceback(data):
    """Fuzz: damaged exports and random bytes produce a report."""
    with rich_store() as rich:
        whole = exported(rich, RICH, data.draw(st.sampled_from(["jsonl", "json", "openai"])))
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    piece = data.draw(
        st.binary(max_size=40)
        | st.sampled_from([b"{", b"]", b'"', b"\n", b"\\", b"NaN", b"\xed\xa0\x80"])
    )
    damaged = whole[:start] + piece + whole[end:]
    with open_store("memory:", ttl=None) as store:
        for format_name in ("auto", "jsonl", "json", "openai"):
            report = imported(store, damaged, format_name=format_name, on_conflict="replace")
            assert report.problem_count or report.counts


def test_recognition_goes_by_content():
    """The file name does not determine the format."""
    with rich_store() as rich:
        for name in ("jsonl", "json", "openai"):
            assert detect_format(exported(rich, RICH, name)[:4000]) == name
    assert detect_format(b"# Title\n") == ""
