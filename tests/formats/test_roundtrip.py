"""Export and import round trips on every backend; a repeated import changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conversations import RICH, exported, imported, message_record, rich_store, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagent_cli.stores import open_store

OWN = ["jsonl", "json"]
BACKENDS = ["memory", "sqlite", "file"]
text = st.text(st.characters(exclude_categories=()), max_size=30)
plain = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
keys = st.text("abcdefgh_", min_size=1, max_size=8)
calls = st.fixed_dictionaries(
    {
        "id": text,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": text, "arguments": text}),
    }
)
times = st.integers(0, 7_000_000_000_000_000).map(
    lambda micros: (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).isoformat()
)
messages = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant", "tool"]),
        "content": text | st.lists(st.fixed_dictionaries({"type": text, "text": text}), max_size=2),
    },
    optional={
        "id": plain,
        "turn_id": plain,
        "created_at": times,
        "tool_calls": st.lists(calls, max_size=2),
        "tool_call_id": text,
        "name": text,
        "model": text,
        "usage": st.dictionaries(keys, st.integers(0, 99), max_size=2),
        "status": st.sampled_from(["complete", "interrupted", "failed"]),
        "extra": st.dictionaries(text, values, max_size=2),
        "later": values,
    },
)
batches = st.lists(st.lists(messages, min_size=1, max_size=4), max_size=3)
session_ids = st.text(
    st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40
).filter(str.strip)


def opened(backend: str, tmp_path, name: str = "b", **options):
    url = {
        "memory": "memory:",
        "sqlite": f"sqlite:///{tmp_path}/{name}.db",
        "file": f"file:///{tmp_path}/{name}",
    }
    return open_store(url[backend], **options)


def fill(store, session_id, parts, metadata, state, title, ttl, keep):
    store.get_or_create(session_id, agent_id="agent", model="p:m")
    for batch in parts:
        store.append(session_id, batch)
    for key, value in metadata.items():
        store.set_metadata(session_id, key, value)
    for key, value in state.items():
        store.set_state(session_id, key, value)
    if title is not None:
        store.set_title(session_id, title)
    store.set_ttl(session_id, ttl)
    if keep is not None:
        store.trim(session_id, keep)


@pytest.mark.parametrize("format_name", OWN)
@pytest.mark.parametrize("backend", ["memory", "sqlite"])
@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    session_id=session_ids,
    parts=batches,
    metadata=st.dictionaries(keys, values, max_size=3),
    state=st.dictionaries(keys, values, max_size=2),
    title=st.none() | text,
    ttl=st.none() | st.integers(60, 10**6),
    keep=st.none() | st.integers(0, 3),
)
def test_export_then_import_is_the_identity(
    format_name, backend, tmp_path, session_id, parts, metadata, state, title, ttl, keep
):
    """A session imported into another store exports to the same bytes."""
    with open_store("memory:", ttl=None) as store:
        fill(store, session_id, parts, metadata, state, title, ttl, keep)
        data = exported(store, [session_id], format_name)
    for old in tmp_path.glob("b.db*"):
        old.unlink()
    with opened(backend, tmp_path, ttl="1h") as other:
        report = imported(other, data)
        assert (report.problems, report.imported) == ([], 1)
        assert exported(other, [session_id], format_name) == data
        assert imported(other, data).skipped == 1
        assert exported(other, [session_id], format_name) == data


@pytest.mark.parametrize("format_name", OWN)
@pytest.mark.parametrize("backend", BACKENDS)
def test_everything_a_session_holds_survives(backend, format_name, tmp_path):
    """Ids, times, turns, titles, tool calls, unknown keys, attachments and summaries survive on every backend."""
    with rich_store() as store, opened(backend, tmp_path) as other:
        data = exported(store, RICH, format_name)
        assert imported(other, data).ok
        assert exported(other, RICH, format_name) == data
        assert other.last_summary(RICH[0])["text"] == "about keys"
        assert other.search("brief")[0].session_id == RICH[0]


@pytest.mark.parametrize("format_name", OWN)
def test_a_summary_still_stands_for_the_same_messages_in_a_store_with_other_positions(format_name):
    """A summary covers the same messages in a store with other positions."""
    with open_store("memory:", ttl=None) as store, open_store("memory:") as other:
        store.append("s", [message_record("user", str(n), f"m{n}") for n in range(6)])
        store.trim("s", 4)
        store.put_summary("s", 3, {"text": "2 and 3"})
        imported(other, exported(store, ["s"], format_name))
        up_to = other.last_summary("s")["up_to"]
        assert [m.id for m in other.messages("s") if m.position <= up_to] == ["m2", "m3"]


def test_a_session_as_its_handle_exports_it_is_read(tmp_path):
    """The record from `SessionHandle.export` can be imported."""
    with rich_store() as store, open_store("memory:", ttl=None) as other:
        record = store.session("short").export()
        for form in ({}, {"indent": 2}, {"sort_keys": True}, {"indent": 1, "sort_keys": True}):
            report = imported(other, json.dumps(record, **form).encode(), as_id=f"as {form}")
            assert (report.ok, report.format_name) == (True, "json")
            assert exported(other, [f"as {form}"], "openai") == exported(store, ["short"], "openai")
            assert other.header(f"as {form}").ttl_seconds is None


def test_keys_in_any_order_say_the_same():
    """The order of keys in a document is irrelevant."""
    with rich_store() as store, open_store("memory:") as other:
        data = exported(store, RICH, "json")
        mixed = json.dumps(json.loads(data), sort_keys=True, indent=1).encode()
        assert imported(other, mixed).ok
        assert json.loads(exported(other, RICH, "json")) == json.loads(data)


def test_the_log_of_a_json_file_store_is_an_import(tmp_path):
    """A file copied from a JSON-file store is imported with its title, metadata and last state."""
    with opened("file", tmp_path, ttl=None) as store:
        user = store.append("chat", {"role": "user", "content": "Hi"})[0]
        uid = store.header("chat").uid
        answer = message_record("assistant", "He", "a1", turn_id=user.turn_id)
        written = store.checkpoint("chat", _message(answer), uid=uid).messages[0]
        written.content = "Hello"
        store.checkpoint("chat", written, uid=uid, final=True)
        store.set_title("chat", "Greeting")
        store.set_metadata("chat", "k", 1)
        expected = exported(store, ["chat"], "openai")
    (log,) = [path for path in (tmp_path / "b").rglob("*.jsonl") if b"Hello" in path.read_bytes()]
    with open_store("memory:") as other:
        report = imported(other, log.read_bytes())
        assert (report.problems, report.imported) == ([], 1)
        assert exported(other, ["chat"], "openai") == expected
        assert (other.header("chat").title, other.get_metadata("chat", "k")) == ("Greeting", 1)


@pytest.mark.parametrize("kind", ["removed", "version 1", "merged"])
def test_any_log_of_a_json_file_store_is_an_import(tmp_path, kind):
    """Removed messages stay away, an older form is read, and the lines of two copies that were merged are put in order."""
    path = tmp_path / "b" / "recipes.jsonl"
    with open_store(f"file://{tmp_path / 'b'}", ttl=None) as store:
        store.append("recipes", [_user("apple"), _user("pear")])
        base = path.read_bytes()
        store.append("recipes", _user("plum"))
        first = path.read_bytes()[len(base) :]
        if kind == "merged":
            path.write_bytes(base)
            store.append("recipes", _user("grape"))
            path.write_bytes(path.read_bytes() + first)
        elif kind == "removed":
            store.truncate_from("recipes", 1)
            store.append("recipes", _user("grape"))
    if kind == "version 1":
        path = Path(__file__).parents[1] / "stores/version1/plain/recipes.jsonl"
    expected = {
        "removed": ["apple", "grape"],
        "version 1": ["apple", "pear", "plum", "after"],
        "merged": ["apple", "pear", "plum", "grape"],
    }
    with open_store("memory:") as other:
        report = imported(other, path.read_bytes())
        assert (report.problems, report.imported) == ([], 1)
        assert [message.content for message in other.messages("recipes")] == expected[kind]


def _user(text):
    return {"role": "user", "content": text}


def _message(record):
    from omniagent_cli.models import Message

    return Message.from_record(record)


def test_openai_messages_without_ids_come_in_once():
    """A file without ids can be imported repeatedly."""
    data = (
        b'{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}\n'
        b'{"messages":[{"role":"user","content":"Hi"}],"tools":[{"type":"function"}]}\n'
    )
    with open_store("memory:", ttl=None) as store:
        first = imported(store, data)
        before = exported(store, [o.session_id for o in first.sessions])
        second = imported(store, data, name="other")
        assert (first.imported, second.imported, second.skipped) == (2, 0, 2)
        assert exported(store, [o.session_id for o in first.sessions]) == before
        assert all(o.session_id.startswith("import-") for o in first.sessions)
        one = store.get(first.sessions[0].session_id)
        assert one.title == "Hi"
        assert one.messages[1].turn_id == one.messages[0].id
        assert store.get_metadata(first.sessions[1].session_id, "openai") == {
            "tools": [{"type": "function"}]
        }


@pytest.mark.parametrize(
    "data",
    [
        b'[{"role":"user","content":"Hi"},\n {"role":"assistant","content":null}]',
        b'{\n  "messages": [\n    {"role": "user", "content": "Hi"},\n    {"role": "assistant", "content": ""}\n  ]\n}\n',
        b'\xef\xbb\xbf{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":""}]}',
    ],
)
def test_openai_messages_come_in_other_wrappings(data):
    """A bare list, a multi-line document and a byte order mark give the same conversation."""
    with open_store("memory:", ttl=None) as store:
        report = imported(store, data)
        assert (report.ok, report.format_name) == (True, "openai")
        assert texts(store, report.sessions[0].session_id) == ["Hi", ""]


def test_older_and_newer_openai_messages_are_understood():
    """Roles and calls of other API versions are converted."""
    data = (
        b'{"messages":[{"role":"developer","content":"Be brief"},{"role":"assistant","content":null,'
        b'"function_call":{"name":"f","arguments":{"a":1}}},{"role":"function","name":"f","content":"1","weight":0}]}'
    )
    with open_store("memory:", ttl=None) as store:
        report = imported(store, data)
        system, call, result = store.messages(report.sessions[0].session_id)
        assert (system.role, system.extra) == ("system", {"role": "developer"})
        assert call.tool_calls[0]["function"] == {"name": "f", "arguments": '{"a":1}'}
        assert (result.role, result.record["weight"]) == ("tool", 0)


@settings(deadline=None)
@given(batches.filter(any))
def test_openai_export_then_import_is_the_identity(parts):
    """Everything the API's messages can express survives a round trip."""
    with open_store("memory:", ttl=None) as store, open_store("memory:", ttl=None) as other:
        for batch in parts:
            store.append("s", batch)
        data = exported(store, ["s"], "openai")
        report = imported(other, data)
        assert report.ok
        assert exported(other, [report.sessions[0].session_id], "openai") == data
        assert imported(other, data).skipped == 1


objects = st.dictionaries(text, values, max_size=2).map(json.dumps)
named = st.fixed_dictionaries({"name": plain, "arguments": objects})
told = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant"]), "content": text}
    ),
    st.fixed_dictionaries(
        {
            "role": st.just("assistant"),
            "content": text,
            "tool_calls": st.lists(
                st.fixed_dictionaries(
                    {"id": plain, "type": st.just("function"), "function": named}
                ),
                min_size=1,
                max_size=2,
            ),
        }
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "content": text, "tool_call_id": plain}),
)


@settings(deadline=None)
@given(session_ids, st.lists(told, min_size=1, max_size=6))
def test_sharegpt_export_then_import_is_the_identity(session_id, said_there):
    """Authors, texts and tool calls survive a round trip."""
    with open_store("memory:", ttl=None) as store, open_store("memory:", ttl=None) as other:
        store.append(session_id, said_there)
        data = exported(store, [session_id], "sharegpt")
        report = imported(other, data)
        assert report.ok
        again = exported(other, [report.sessions[0].session_id], "sharegpt")
        assert json.loads(again)[0]["conversations"] == json.loads(data)[0]["conversations"]
        assert imported(other, data).skipped == 1


@settings(deadline=None)
@given(batches.filter(any))
def test_sharegpt_writes_and_reads_whatever_a_session_holds(parts):
    """Arguments that are not valid JSON and invalid names do not stop an export or import."""
    with open_store("memory:", ttl=None) as store, open_store("memory:", ttl=None) as other:
        for batch in parts:
            store.append("s", batch)
        report = imported(other, exported(store, ["s"], "sharegpt"))
        assert report.ok
