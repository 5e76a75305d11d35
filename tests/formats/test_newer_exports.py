"""Newer exports add only new messages, for every tool; edits there never overwrite stored messages."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from conversations import imported, texts
from golden_inputs import placed

from omniagent_cli.formats.importer import CONFLICTS, import_path
from omniagent_cli.stores import open_store


def chatgpt(*texts_, parts=(), edited="") -> bytes:
    """Return a conversation of these texts; `edited` is another, visible last one."""
    nodes, before = {}, None
    for number, text in enumerate(texts_):
        nodes[f"n{number}"] = _node(f"n{number}", before, number, text)
        before = f"n{number}"
    if edited:
        nodes["e"] = _node("e", f"n{len(texts_) - 2}", len(texts_) - 1, edited)
        before = "e"
    return json.dumps(
        [{"id": "c", "title": "T", "mapping": nodes, "current_node": before}]
    ).encode()


def _node(key, parent, number, text):
    said = {
        "id": key,
        "author": {"role": "assistant" if number % 2 else "user"},
        "content": {"content_type": "text", "parts": [text]},
    }
    return {"id": key, "parent": parent, "children": [], "message": said}


def claude(*texts_, edited="") -> bytes:
    said = [
        {"uuid": f"n{n}", "sender": "assistant" if n % 2 else "human", "text": text, "parent_message_uuid": f"n{n - 1}"}
        for n, text in enumerate(texts_)
    ]  # fmt: skip
    if edited:
        said.append({**said[-1], "uuid": "e", "text": edited})
    leaf = said[-1]["uuid"]
    return json.dumps(
        [{"uuid": "c", "chat_messages": said, "current_leaf_message_uuid": leaf}]
    ).encode()


def sharegpt(*texts_) -> bytes:
    said = [{"from": "gpt" if n % 2 else "human", "value": text} for n, text in enumerate(texts_)]
    return json.dumps([{"id": "c", "conversations": said}]).encode()


def codex(*texts_, edited="") -> bytes:
    lines = [{"type": "session_meta", "payload": {"id": "c"}}]
    lines += [_item(n, text) for n, text in enumerate(texts_)]
    if edited:
        lines.append(
            {"type": "event_msg", "payload": {"type": "thread_rolled_back", "num_turns": 1}}
        )
        lines.append(_item(0, edited))
    return "\n".join(map(json.dumps, lines)).encode()


def _item(number, text):
    role, kind = ("assistant", "output_text") if number % 2 else ("user", "input_text")
    return {
        "type": "response_item",
        "payload": {"type": "message", "role": role, "content": [{"type": kind, "text": text}]},
    }


def claude_code(*texts_, edited="") -> bytes:
    lines = [_line(f"n{n}", f"n{n - 1}" if n else None, n, text) for n, text in enumerate(texts_)]
    if edited:
        lines.append(_line("e", lines[-1]["parentUuid"], len(texts_) - 1, edited))
    return "\n".join(map(json.dumps, lines)).encode()


def _line(key, parent, number, text):
    role = "assistant" if number % 2 else "user"
    said = {"role": role, "id": f"a{key}", "content": text}
    return {"type": role, "uuid": key, "parentUuid": parent, "sessionId": "c", "message": said}


def gemini(*texts_, edited="") -> bytes:
    lines = [{"sessionId": "c", "projectHash": "p"}]
    lines += [
        {"id": f"n{n}", "type": "gemini" if n % 2 else "user", "content": t}
        for n, t in enumerate(texts_)
    ]
    if edited:
        lines.append({"$rewindTo": lines[-1]["id"]})
        lines.append({"id": "e", "type": "user", "content": edited})
    return "\n".join(map(json.dumps, lines)).encode()


def aichat(*texts_, edited="") -> bytes:
    said = [*texts_[:-1], edited] if edited else texts_
    messages = "".join(
        f"- role: {'assistant' if n % 2 else 'user'}\n  content: {json.dumps(t)}\n"
        for n, t in enumerate(said)
    )
    return f"model: m\nmessages:\n{messages}".encode()


MAKERS = {
    "chatgpt-c": chatgpt,
    "claude-c": claude,
    "sharegpt-c": sharegpt,
    "codex-c": codex,
    "claude-code-c": claude_code,
    "gemini-c": gemini,
    "aichat-in": aichat,
}
EDITABLE = {key: make for key, make in MAKERS.items() if make is not sharegpt}


@pytest.fixture
def store():
    with open_store("memory:", ttl=None) as opened:
        yield opened


@pytest.mark.parametrize("session_id", MAKERS)
def test_a_newer_export_continues(session_id, store) -> None:
    """New messages are added; the older export, imported afterwards, changes nothing."""
    make = MAKERS[session_id]
    assert imported(store, make("a", "b")).imported == 1
    newer = imported(store, make("a", "b", "c", "d"))
    assert (newer.merged, newer.messages, newer.ok) == (1, 2, True)
    assert texts(store, session_id) == ["a", "b", "c", "d"]
    assert imported(store, make("a", "b")).skipped == 1
    assert texts(store, session_id) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("session_id", EDITABLE)
def test_what_was_edited_there_comes_in_beside(session_id, store) -> None:
    """An edited conversation is imported as a branch, and a repeated import changes nothing."""
    make = EDITABLE[session_id]
    imported(store, make("a", "b", "c"))
    for again in range(2):
        report = imported(store, make("a", "b", "c", edited="C"))
        assert report.ok
        assert (report.imported, report.skipped) == ((0, 1) if again else (1, 0))
    assert texts(store, session_id) == ["a", "b", "c"]
    (other,) = [s.id for s in store.list() if s.id != session_id]
    assert other.startswith(f"{session_id}/")
    assert texts(store, other) == ["a", "b", "C"]
    assert store.get(other).metadata["forked_from"] == session_id


@pytest.mark.parametrize("session_id", EDITABLE)
def test_what_went_on_in_both_places_comes_in_beside(session_id, store) -> None:
    """A conversation continued in both places keeps the stored messages."""
    make = EDITABLE[session_id]
    imported(store, make("a", "b"))
    store.append(session_id, {"role": "user", "content": "ours"})
    report = imported(store, make("a", "b", "theirs"))
    assert (report.imported, report.ok) == (1, True)
    assert texts(store, session_id) == ["a", "b", "ours"]
    (other,) = [s.id for s in store.list() if s.id != session_id]
    assert texts(store, other) == ["a", "b", "theirs"]


def test_what_cannot_be_read_twice_is_refused_by_name(store) -> None:
    """A training set has no threads, so a conflict is refused."""
    imported(store, sharegpt("a", "b"))
    report = imported(store, sharegpt("a", "B"))
    assert [(o.session_id, o.action) for o in report.sessions] == [("sharegpt-c", "refused")]
    assert texts(store, "sharegpt-c") == ["a", "b"]


@pytest.mark.parametrize("make", [chatgpt, claude, codex, claude_code, gemini])
def test_branches_after_an_edit_are_not_doubled(make, store) -> None:
    """The stored thread is not imported again as a branch of the new one."""
    imported(store, make("a", "b", "c"), branches=True)
    imported(store, make("a", "b", "c", edited="C"), branches=True)
    assert sorted(texts(store, s.id)[-1] for s in store.list()) == ["C", "c"]
    imported(store, make("a", "b", "c"), branches=True)
    assert store.count() == 2


@pytest.mark.parametrize("session_id", EDITABLE)
@pytest.mark.parametrize("rule", CONFLICTS)
def test_conflict_rules_with_every_tool(session_id, rule, store) -> None:
    """Each conflict rule has exactly its effect."""
    make = EDITABLE[session_id]
    imported(store, make("a", "b", "c"))
    report = imported(store, make("a", "b", "c", edited="C"), on_conflict=rule)
    found = {s.id: texts(store, s.id) for s in store.list()}
    here = found.pop(session_id)
    if rule == "rename":
        assert found == {f"{session_id}-2": ["a", "b", "C"]}
    else:
        assert not found
    assert here == (["a", "b", "C"] if rule == "replace" else ["a", "b", "c", "C"] if rule == "merge" else ["a", "b", "c"])  # fmt: skip
    assert report.stopped == (rule == "fail")


@pytest.mark.parametrize("session_id", MAKERS)
def test_an_id_of_ones_own(session_id, store) -> None:
    """`--as` sets the session id; the source is recorded."""
    data = MAKERS[session_id]("a", "b")
    assert imported(store, data, as_id="mine").imported == 1
    assert texts(store, "mine") == ["a", "b"]
    if session_id != "aichat-in":
        assert store.get("mine").metadata["source"]["id"] == "c"
    assert imported(store, data, as_id="mine").skipped == 1


@pytest.mark.parametrize("make", [chatgpt, claude, codex, claude_code, gemini])
def test_the_same_conversation_twice_in_one_import(make, store, tmp_path) -> None:
    """Overlapping exports in a directory or zip import each conversation once, at its full length."""
    for number, data in enumerate([make("a", "b"), make("a", "b", "c"), make("a")]):
        (tmp_path / f"{number}.json").write_bytes(data)
    report = import_path(store, tmp_path)
    assert (report.imported, report.merged, report.skipped) == (1, 1, 1)
    (summary,) = store.list()
    assert texts(store, summary.id) == ["a", "b", "c"]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(tmp_path.iterdir()):
            archive.writestr(path.name, path.read_bytes())
    assert imported(store, out.getvalue()).skipped == 3


def test_an_upgraded_llm_goes_on_with_its_conversation(store, tmp_path) -> None:
    """A log of llm 0.27 continued by 0.36 is the same conversation with two more messages."""
    older, newer = placed("llm-0.27.sql", tmp_path), placed("llm-0.36.sql", tmp_path)
    assert import_path(store, older).imported == 4
    report = import_path(store, newer)
    assert (report.merged, report.skipped, report.messages, report.ok) == (1, 3, 2, True)
    assert import_path(store, older).skipped == 4
