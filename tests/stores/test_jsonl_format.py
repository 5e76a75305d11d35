"""The form of session files, as the manual page file-format specifies it."""

import base64
import json
import re
from pathlib import Path

import jsonschema
import pytest

from omniagent_cli.cli.reference.manual import page_text
from omniagent_cli.models import Message, Session
from omniagent_cli.stores import with_compression, with_encryption
from omniagent_cli.stores.backends import jsonl
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore

SCHEMA = Path(jsonl.__file__).with_name("line.schema.json")
IMAGE = base64.b64encode(b"image" * 50).decode()


def use_everything(store):
    """Write with every operation that leaves a line of its own kind."""
    store.append("plain", [Message("user", "one"), Message("assistant", "two")])
    store.append("plain", {"role": "user", "content": "three", "id": 'i"d', "more": "mine"})
    store.set_title("plain", "Cakes")
    store.tag("plain", ["kitchen", "sweet"])
    store.tag("plain", remove=["sweet"])
    store.set_metadata("plain", "stars", 5)
    store.set_metadata("plain", "gone", None)
    store.delete_metadata("plain", "gone")
    store.set_metadata("plain", "pinned", True)
    store.set_state("plain", "step", {"number": 1})
    store.set_ttl("plain", "30d")
    store.touch("plain")
    store.set_model("plain", "openai:gpt-5")
    store.put_attachment("plain", "a" * 64, {"media_type": "image/png", "data": IMAGE})
    store.put_summary("plain", 1, {"text": "short"})
    store.set_message_status("plain", 1, "failed")
    store.append("plain", [Message("user", f"number {number}") for number in range(5)])
    store.trim("plain", 4)
    store.append("other", [Message("user", "a"), Message("assistant", "b")])
    store.truncate_from("other", 1)
    store.restore("other")
    store.rename("other", "Ärger/😀")
    store.fork("plain", "fork", at=6)
    store.append("gone", Message("user", "gone"))
    store.delete("gone")
    session = store.get("fork")
    session.messages[0].content = "changed"
    session.unknown["color"] = "red"
    store.save(session)
    uid = store.stage(Session(id="imported", title="Old", created_at=session.created_at))
    store.stage_messages(uid, [Message("user", f"line {number}") for number in range(3)])
    store.publish(uid, Session(id="imported", title="Old", created_at=session.created_at))
    uid = store.write("growing", Message("user", "question")).uid
    store.checkpoint("growing", Message("assistant", "so far"), uid=uid)
    store.append("growing", Message("user", "from another terminal"))


def lines_of(place):
    for path in (*place.glob("*.jsonl"), *place.glob(".omniagent/*/*.jsonl")):
        yield from path.read_text("utf-8").splitlines()


@pytest.mark.parametrize("kind", ["plain", "compacted", "compressed", "encrypted"])
def test_every_line_fits_the_schema(tmp_path, kind):
    """Every line that any operation writes is valid for the published JSON Schema."""
    wrap = {"compressed": with_compression, "encrypted": lambda s: with_encryption(s, b"k" * 32)}
    with wrap.get(kind, lambda store: store)(JsonlFilesStore(tmp_path / "s")) as store:
        use_everything(store)
        if kind == "compacted":
            store.compact()
    schema = json.loads(SCHEMA.read_text())
    check = jsonschema.Draft202012Validator(schema)
    lines = [json.loads(line) for line in lines_of(tmp_path / "s")]
    assert {error.message for line in lines for error in check.iter_errors(line)} == set()
    kinds = {next(iter(line)) for line in lines}
    removals = set() if kind == "compacted" else {"removed", "restored"}
    assert kinds == {"format", "id", "header", "record"} | removals


def test_the_examples_of_the_page_fit_the_schema():
    """The example log of the manual page is valid."""
    check = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    (example,) = re.findall(r"```json\n(.*?)```", page_text("file-format"), re.DOTALL)
    for line in example.splitlines():
        check.validate(json.loads(line))


@pytest.mark.parametrize("compacted", [False, True])
def test_the_reader_of_the_page_reads_everything(tmp_path, compacted):
    """The program of the manual page, which imports nothing of omniagent, reads what the store reads."""
    (code,) = re.findall(r"```python\n(.*?)```", page_text("file-format"), re.DOTALL)
    assert len(code.splitlines()) <= 40
    assert "omniagent_cli" not in code
    with JsonlFilesStore(tmp_path / "s") as store:
        use_everything(store)
        if compacted:
            store.compact()
        expected = {summary.id: store.get(summary.id) for summary in store.list()}
    space = {}
    exec(code, space)  # the program of the page
    found = space["read_store"](tmp_path / "s")
    assert found.keys() == expected.keys() == {"plain", "Ärger/😀", "fork", "imported", "growing"}
    own = {"position", "at", "edited", "more", "payload"}
    for session_id, session in expected.items():
        other = found[session_id]
        assert other.get("title", "") == session.title
        assert other["state"] == session.state
        tags = {"tags": sorted(other["tags"])} if other["tags"] else {}
        assert {**other["metadata"], **tags} == session.metadata
        messages = [{k: v for k, v in m.items() if k not in own} for m in other["messages"]]
        kept = [{k: v for k, v in m.record.items() if k not in own} for m in session.messages]
        assert messages == kept
    assert found["growing"]["messages"][1]["content"] == "so far"


def test_a_chat_is_one_line_a_message(tmp_path):
    """A conversation without any settings is line 1 and one line for each message."""
    with JsonlFilesStore(tmp_path / "s", ttl=None) as store:
        for number in range(5):
            uid = store.write("chat", Message("user", f"question {number}")).uid
            answer = store.checkpoint("chat", Message("assistant", "so"), uid=uid).messages[0]
            answer.content = "so far"
            answer = store.checkpoint("chat", answer, uid=uid).messages[0]
            answer.status = "complete"
            store.checkpoint("chat", answer, uid=uid, final=True)
    lines = [json.loads(line) for line in (tmp_path / "s" / "chat.jsonl").read_text().splitlines()]
    assert lines[0].keys() == {"format", "version", "uid", "id", "created_at", "header"}
    assert lines[0]["header"] == {"title": "question 0", "title_source": "auto"}
    assert [line["role"] for line in lines[1:]] == ["user", "assistant"] * 5
    assert not {"position", "header", "updated_at"} & set().union(*lines[1:])
    assert list((tmp_path / "s/.omniagent/partial").iterdir()) == []


def test_a_growing_answer_lies_beside_the_log(tmp_path):
    """While an answer grows the session's file does not change, every reader sees it, and others can append."""
    place = tmp_path / "s"
    with JsonlFilesStore(place) as store, JsonlFilesStore(place) as other:
        uid = store.write("a", Message("user", "question")).uid
        answer = store.checkpoint("a", Message("assistant", "one"), uid=uid).messages[0]
        before = (place / "a.jsonl").read_bytes()
        for text in ("one two", "one two three"):
            answer.content = text
            store.checkpoint("a", answer, uid=uid)
            assert other.messages("a")[-1].content == text
            assert other.messages("a", last=1)[0].status == "interrupted"
            (summary,) = other.list()
            assert (summary.preview, summary.message_count) == (text, 2)
        assert (place / "a.jsonl").read_bytes() == before
        assert other.append("a", Message("user", "meanwhile"))[0].position == 2
        answer.status = "complete"
        store.checkpoint("a", answer, uid=uid, final=True)
        for reader in (store, other):
            texts = [(m.position, m.content) for m in reader.messages("a")]
            assert texts == [(0, "question"), (1, "one two three"), (2, "meanwhile")]
            assert [m.content for m in reader.messages("a", last=2)] == [
                "one two three",
                "meanwhile",
            ]
        assert list((place / ".omniagent/partial").iterdir()) == []


def test_an_abandoned_answer_becomes_a_line(tmp_path, monkeypatch):
    """What a killed turn left beside the log is a line of it after the next write, once it is old."""
    import os

    place = tmp_path / "s"
    with JsonlFilesStore(place) as store:
        uid = store.write("a", Message("user", "question")).uid
        store.checkpoint("a", Message("assistant", "so far"), uid=uid)
        (partial,) = (place / ".omniagent/partial").iterdir()
        os.utime(partial, (1_000_000_000, 1_000_000_000))
        store.append("a", Message("user", "next"))
        assert not partial.exists()
        assert [m.content for m in store.messages("a")] == ["question", "so far", "next"]
        assert store.messages("a")[1].status == "interrupted"


def test_an_outdated_partial_file_never_comes_back(tmp_path):
    """What a process that was killed after completing an answer left beside the log is ignored, and removed in time."""
    place = tmp_path / "s"
    with JsonlFilesStore(place, trash_ttl=None) as store:
        uid = store.write("a", Message("user", "question")).uid
        answer = store.checkpoint("a", Message("assistant", "so far"), uid=uid).messages[0]
        (partial,) = (place / ".omniagent/partial").iterdir()
        data = partial.read_bytes()
        store.checkpoint("a", answer, uid=uid, final=True)
        for removal in (lambda: store.truncate_from("a", 1), store.compact):
            partial.write_bytes(data)
            assert store.count_messages("a") == len(store.messages("a"))
            removal()
            assert [m.content for m in store.messages("a")] == ["question"]
            assert not partial.exists()
        assert store.append("a", Message("user", "next"))[0].position == 2


def test_removing_a_growing_answer(tmp_path):
    """A growing answer that is removed goes to the trash with the rest, and comes back."""
    with JsonlFilesStore(tmp_path / "s") as store:
        uid = store.write("a", Message("user", "question")).uid
        store.checkpoint("a", Message("assistant", "so far"), uid=uid)
        assert store.clear("a") == 2
        assert store.messages("a") == []
        assert list((tmp_path / "s/.omniagent/partial").iterdir()) == []
        store.restore("a")
        assert [m.content for m in store.messages("a")] == ["question", "so far"]


def test_git_ignores_what_is_not_the_users(tmp_path):
    """The store writes a .gitignore once, and leaves that of the user alone."""
    with JsonlFilesStore(tmp_path / "s") as store:
        store.append("a", Message("user", "one"))
        ignore = tmp_path / "s" / ".gitignore"
        assert ".omniagent/*" in ignore.read_text().splitlines()
        ignore.write_text("mine\n")
        store.append("a", Message("user", "two"))
        assert ignore.read_text() == "mine\n"
