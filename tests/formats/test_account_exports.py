"""Account exports of chat services: the visible thread is imported once, with times, titles and names."""

from __future__ import annotations

import io
import json

import pytest
from conversations import exported, imported, texts

from omniagent_cli.formats.importer import import_stream
from omniagent_cli.stores import open_store


def node(key, parent, children, role=None, text="", **facts):
    """Return a node of a ChatGPT mapping."""
    if role is None:
        return {"id": key, "parent": parent, "children": children, "message": None}
    said = {
        "id": f"m-{key}",
        "author": {"role": role, "name": facts.pop("name", None)},
        "create_time": 1_700_000_000.5,
        "content": {"content_type": "text", "parts": [text]},
        "metadata": {},
        "recipient": "all",
        "weight": 1.0,
        **facts,
    }
    return {"id": key, "parent": parent, "children": children, "message": said}


def conversation(*nodes, current=None, **facts):
    """Return a ChatGPT conversation."""
    return {
        "title": "Trip to Oslo",
        "create_time": 1_700_000_000.1,
        "update_time": 1_700_000_100.2,
        "mapping": {one["id"]: one for one in nodes},
        "current_node": current or nodes[-1]["id"],
        "conversation_id": "c-1",
        "id": "c-1",
        **facts,
    }


EDITED = conversation(
    node("root", None, ["sys"]),
    node("sys", "root", ["q1", "q2"], "system", "secret", weight=0.0),
    node("q1", "sys", ["a1"], "user", "Where is Osla?"),
    node("a1", "q1", [], "assistant", "I know no Osla."),
    node("q2", "sys", ["a2", "a3"], "user", "Where is Oslo?"),
    node("a2", "q2", [], "assistant", "In Sweden."),
    node("a3", "q2", [], "assistant", "In Norway.", metadata={"model_slug": "gpt-4o"}),
)


def take(data, **options):
    """Import JSON into a new store; return store and report."""
    store = open_store("memory:")
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return store, imported(store, body, **options)


def test_chatgpt_gives_what_was_on_the_screen() -> None:
    """Edited questions, regenerated answers and hidden messages are not part of the thread."""
    store, report = take([EDITED])
    assert (report.format_name, report.imported, report.ok) == ("chatgpt", 1, True)
    assert texts(store, "chatgpt-c-1") == ["Where is Oslo?", "In Norway."]
    session = store.get("chatgpt-c-1")
    assert session.title == "Trip to Oslo"
    assert session.metadata["source"] == {"format": "chatgpt", "id": "c-1"}
    assert session.created_at.isoformat() == "2023-11-14T22:13:20.100000+00:00"
    assert session.messages[1].model == "openai:gpt-4o"
    assert session.messages[1].turn_id == session.messages[0].id


def test_chatgpt_other_threads_come_as_forks_when_asked_for() -> None:
    """With branches, each other thread is a session that names its origin."""
    store, report = take([EDITED], branches=True)
    assert report.imported == 3
    assert texts(store, "chatgpt-c-1/m-q1") == ["Where is Osla?", "I know no Osla."]
    assert texts(store, "chatgpt-c-1/m-a2") == ["Where is Oslo?", "In Sweden."]
    assert store.get("chatgpt-c-1/m-a2").metadata["forked_from"] == "chatgpt-c-1"


def test_a_newer_export_adds_only_what_is_new() -> None:
    """A repeated import changes nothing; a longer conversation is extended."""
    store, _ = take([EDITED])
    assert imported(store, json.dumps([EDITED]).encode()).skipped == 1
    longer = json.loads(json.dumps(EDITED))
    longer["mapping"]["a3"]["children"] = ["q4"]
    longer["mapping"]["q4"] = node("q4", "a3", [], "user", "And Bergen?")
    longer["current_node"] = "q4"
    assert imported(store, json.dumps([longer]).encode()).merged == 1
    assert texts(store, "chatgpt-c-1") == ["Where is Oslo?", "In Norway.", "And Bergen?"]


def test_chatgpt_tools_thinking_and_media() -> None:
    """Calls, results, thinking, citations and image names are preserved."""
    call = {"content_type": "code", "language": "python", "text": "print(1)"}
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-abc"}
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "Count", "content": "one"}]}
    answer = "It is 1\ue200cite\ue202turn0search0\ue201."
    store, report = take(
        conversation(
            node("q", None, ["c"], "user", content={"content_type": "multimodal_text", "parts": [picture, "Run it"]},
                 metadata={"attachments": [{"name": "a.py"}]}),
            node("c", "q", ["r"], "assistant", content=call, recipient="python"),
            node("r", "c", ["t"], "tool", "1", name="python"),
            node("t", "r", ["a"], "assistant", content=thoughts),
            node("a", "t", [], "assistant", answer),
        )
    )  # fmt: skip
    assert report.ok
    question, called, result, said = store.messages("chatgpt-c-1")
    assert question.text == "Run it\n[image: file-abc]\n[file: a.py]"
    assert [a["name"] for a in question.extra["attachments"]] == ["file-abc", "a.py"]
    assert called.tool_calls[0]["function"] == {
        "name": "python",
        "arguments": '{"input":"print(1)"}',
    }
    assert (result.role, result.tool_call_id, result.name) == (
        "tool",
        called.tool_calls[0]["id"],
        "python",
    )
    assert (said.text, said.extra) == ("It is 1.", {"thinking": "Count\none"})


def test_a_tree_with_a_circle_or_a_missing_node_ends() -> None:
    """A cycle is followed once, and without a current node the newest leaf is used."""
    ring = conversation(
        node("a", "b", ["b"], "user", "one"), node("b", "a", ["a"], "assistant", "two")
    )
    store, report = take([ring])
    assert (report.imported, texts(store, "chatgpt-c-1")) == (1, ["one", "two"])
    store, _ = take([conversation(*EDITED["mapping"].values(), current="gone")])
    assert texts(store, "chatgpt-c-1")[-1] == "In Norway."


def test_a_broken_node_costs_itself_only() -> None:
    """Messages before a damaged node stay in the thread, and its location is reported."""
    data = json.dumps([EDITED]).replace('"Where is Oslo?"', "NaN").encode()
    store, report = take(data)
    assert report.problem_count == 1
    assert texts(store, "chatgpt-c-1") == ["In Norway."]


def test_a_cut_export_keeps_what_came(tmp_path) -> None:
    """A truncated file imports the complete conversations and reports the end."""
    other = conversation(*EDITED["mapping"].values(), id="c-2", conversation_id="c-2")
    data = json.dumps([EDITED, other]).encode()
    store, report = take(data[:-900])
    assert report.problem_count
    assert texts(store, "chatgpt-c-1") == ["Where is Oslo?", "In Norway."]


@pytest.mark.parametrize("source_id", ["x" * 600, "a\x1b[31m", " blank ", "\ud800", "../../etc"])
def test_hostile_ids_become_ids(source_id) -> None:
    """Any id is converted to a valid one, the same at each import."""
    data = json.dumps([{**EDITED, "id": source_id, "conversation_id": source_id}]).encode()
    store, report = take(data)
    assert report.imported == 1
    assert imported(store, data).skipped == 1


def test_times_out_of_range_are_left_out() -> None:
    """An invalid time does not lose the message."""
    odd = conversation(
        *(node(str(n), str(n - 1), [str(n + 1)], "user", str(n), create_time=t)
          for n, t in enumerate([-5, 1e300, "soon", None, True, 1_700_000_000_000])),
        create_time=1e18,
    )  # fmt: skip
    store, report = take([odd])
    assert report.ok
    assert texts(store, "chatgpt-c-1") == list("012345")


CLAUDE = {
    "uuid": "u-1",
    "name": "Poem",
    "created_at": "2025-01-01T00:00:00.000000+00:00",
    "updated_at": "2025-01-02T00:00:00Z",
    "account": {"uuid": "me"},
    "chat_messages": [
        {
            "uuid": "1",
            "sender": "human",
            "text": "Look at it",
            "created_at": "2025-01-01T00:00:01Z",
            "attachments": [{"file_name": "a.txt", "file_size": 3, "extracted_content": "AAA"}],
            "files": [{"file_name": "cat.png", "file_kind": "image"}],
        },
        {
            "uuid": "2",
            "sender": "assistant",
            "text": "",
            "created_at": "2025-01-01T00:00:02Z",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "a.txt"}},
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "AAA"}]},
                {"type": "text", "text": "Three letters."},
            ],
        },
    ],
}  # fmt: skip


def test_claude_keeps_blocks_and_names() -> None:
    """Thinking, calls, results, and names and texts of attachments are preserved."""
    store, report = take([CLAUDE])
    assert (report.format_name, report.ok) == ("claude", True)
    question, first, result, last = store.messages("claude-u-1")
    assert question.text == "Look at it\n[file: a.txt]\nAAA\n[image: cat.png]"
    assert question.extra["attachments"][0]["name"] == "a.txt"
    assert (first.text, first.extra["thinking"]) == ("Let me see.", "hm")
    assert json.loads(first.tool_calls[0]["function"]["arguments"]) == {"at": "a.txt"}
    assert (result.text, result.tool_call_id, last.text) == ("AAA", "t1", "Three letters.")
    assert store.get("claude-u-1").title == "Poem"
    assert imported(store, json.dumps([CLAUDE]).encode()).skipped == 1


def test_claude_follows_the_visible_leaf() -> None:
    """If messages name their parents, the visible thread is imported."""
    said = [
        {"uuid": "1", "sender": "human", "text": "a", "parent_message_uuid": "00000000-root"},
        {"uuid": "2", "sender": "assistant", "text": "b", "parent_message_uuid": "1"},
        {"uuid": "3", "sender": "assistant", "text": "c", "parent_message_uuid": "1"},
    ]
    data = {**CLAUDE, "chat_messages": said, "current_leaf_message_uuid": "2"}
    store, report = take([data], branches=True)
    assert texts(store, "claude-u-1") == ["a", "b"]
    assert texts(store, "claude-u-1/3") == ["a", "c"]
    assert report.imported == 2


def test_sharegpt_both_ways() -> None:
    """Roles, texts and tool calls survive a round trip; a missing id is derived from the content."""
    said = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "2+2?"},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 2}}'},
        {"from": "observation", "value": "4"},
        {"from": "gpt", "value": "Four."},
    ]
    data = [{"conversations": said, "tools": "[]"}, {"id": 7, "conversations": said[1:2]}]
    store, report = take(data)
    assert (report.format_name, report.imported, report.ok) == ("sharegpt", 2, True)
    assert imported(store, json.dumps(data).encode()).skipped == 2
    ids = sorted(summary.id for summary in store.list())
    assert ids[1] == "sharegpt-7"
    written = json.loads(exported(store, ids, "sharegpt"))
    assert [one["from"] for one in written[0]["conversations"]] == [one["from"] for one in said]
    again, _ = take(written)
    assert json.loads(exported(again, [f"sharegpt-{one}" for one in ids], "sharegpt")) == [
        {**one, "id": f"sharegpt-{one['id']}"} for one in written
    ]


def test_sharegpt_by_line_and_strangers() -> None:
    """JSON lines are read too; an unknown sender is reported with its location."""
    lines = [
        {"id": "a", "conversations": [{"from": "human", "value": "hi"}]},
        {
            "id": "b",
            "conversations": [{"from": "alien", "value": "zz"}, {"from": "gpt", "value": "yo"}],
        },
    ]
    data = b"\n".join(json.dumps(line).encode() for line in lines)
    store, report = take(data)
    assert (report.imported, report.problem_count) == (2, 1)
    assert report.problems[0].location == "in:2"
    assert texts(store, "sharegpt-b") == ["yo"]


def test_memory_does_not_grow_with_a_conversation(tmp_path) -> None:
    """A conversation of 60 MB is never held in memory."""
    import tracemalloc

    text = "x" * 60_000
    nodes = ",".join(
        json.dumps(str(n)) + ":" + json.dumps(node(str(n), str(n - 1) if n else None, [str(n + 1)], "user", text))
        for n in range(1_000)
    )  # fmt: skip
    body = f'[{{"id":"big","mapping":{{{nodes}}},"current_node":"999"}}]'.encode()
    store = open_store(str(tmp_path / "s.db"))
    stream = io.BytesIO(body)
    tracemalloc.start()
    try:
        report = import_stream(store, stream, name="big.json")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        store.close()
    assert report.messages == 1_000
    assert peak < 40_000_000
