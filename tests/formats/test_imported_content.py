"""Content of other tools' conversations: results at their calls, sources, pictures, and only what the user typed."""

from __future__ import annotations

import json
import sqlite3

import pytest
from conversations import imported
from golden_inputs import GOLDEN

from omniagent_cli.formats.importer import import_path
from omniagent_cli.stores import open_store


def chatgpt(*messages: dict) -> bytes:
    """Return a conversation of these messages, each the child of the one before."""
    nodes: dict[str, dict] = {}
    parent = None
    for number, given in enumerate(messages):
        key = f"n{number}"
        author = {"role": given.pop("role"), "name": given.pop("name", None)}
        content = given.pop("content", None) or {
            "content_type": "text",
            "parts": [given.pop("text", "")],
        }
        fields = {
            "id": key,
            "author": author,
            "content": content,
            "recipient": "all",
            "weight": 1,
            "metadata": {},
        }
        nodes[key] = {"id": key, "parent": parent, "children": [], "message": fields | given}
        parent = key
    return json.dumps(
        [{"id": "c", "title": "T", "mapping": nodes, "current_node": parent}]
    ).encode()


def claude_code(*lines: dict) -> bytes:
    """Return a transcript with one line per object, each the child of the one before."""
    common = {"sessionId": "c", "timestamp": "2026-01-01T00:00:00Z", "isSidechain": False}
    parents = [None, *(f"u{number}" for number in range(len(lines)))]
    return b"".join(
        json.dumps({"uuid": f"u{n}", "parentUuid": parents[n], **common, **line}).encode() + b"\n"
        for n, line in enumerate(lines)
    )


def user(text, **fields) -> dict:
    return {"type": "user", "message": {"role": "user", "content": text}, **fields}


def answer(text) -> dict:
    return {"type": "assistant", "message": {"id": text, "role": "assistant", "content": [{"type": "text", "text": text}]}}  # fmt: skip


def take(data: bytes):
    """Import into a new store; return the messages and the report."""
    store = open_store("memory:")
    report = imported(store, data)
    assert report.ok, report.problems
    ids = [summary.id for summary in store.list()]
    return (store.messages(ids[0]) if ids else []), report


def called(recipient: str, text: str) -> dict:
    return {"role": "assistant", "recipient": recipient, "content": {"content_type": "code", "text": text}}  # fmt: skip


def test_a_result_belongs_to_the_call_before_it():
    """An empty result does not shift the following results to earlier calls."""
    messages, report = take(
        chatgpt(
            {"role": "user", "text": "How much?"},
            called("web.run", "{}"), {"role": "tool", "name": "web.run"},
            called("python", "3*4"), {"role": "tool", "name": "python", "text": "12"},
            called("python", "12*2"), {"role": "tool", "name": "python", "text": "24"}, {"role": "tool", "name": "python", "text": "warning"},
        )
    )  # fmt: skip
    results = {m.text: m.tool_call_id for m in messages if m.role == "tool"}
    assert results == {"12": "n3", "24": "n5", "warning": "n5"}
    assert dict(report.left_out) == {"empty tool result": 1}


def test_a_question_closes_the_open_calls():
    """A result after the next question is not the result of an earlier call."""
    messages, _ = take(
        chatgpt(
            {"role": "user", "text": "Draw"}, called("draw", "{}"),
            {"role": "user", "text": "Stop"}, {"role": "tool", "name": "draw", "text": "late"},
        )
    )  # fmt: skip
    assert [m.tool_call_id for m in messages if m.role == "tool"] == [None]


def test_pictures_and_plots_are_named():
    """A generated picture has weight 0 and is displayed; a plot is in the metadata of the code's output."""
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_heron"}
    plot = {"aggregate_result": {"messages": [{"message_type": "image", "image_url": "file-service://file-PLOT"}]}}  # fmt: skip
    messages, _ = take(
        chatgpt(
            {"role": "user", "text": "Draw"},
            called("draw", "{}"), {"role": "tool", "weight": 0, "content": {"content_type": "multimodal_text", "parts": [picture]}},
            called("python", "plot()"), {"role": "tool", "content": {"content_type": "execution_output", "text": "ok"}, "metadata": plot},
        )
    )  # fmt: skip
    assert [m.text for m in messages if m.role == "tool"] == ["[image: file_heron]", "ok\n[image: file-PLOT]"]  # fmt: skip
    assert messages[2].extra["attachments"][0]["id"] == "file_heron"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"alt": "([a.org](https://a.org))"}, "Deep ([a.org](https://a.org))."),
        ({"items": [{"title": "Ponds [1]", "url": "https://a.org/(x)"}]}, "Deep ([Ponds (1)](https://a.org/%28x%29))."),
        ({"type": "file", "name": "notes.pdf"}, "Deep [notes.pdf]."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", ["\ue200cite\ue202turn0search0\ue201", "\u30102\u2020L1-L2\u3011"])
def test_citations_are_links(mark, reference, expected):
    """A citation mark becomes a link to its source."""
    metadata = {"content_references": [{"matched_text": mark, **reference}]}
    messages, _ = take(chatgpt({"role": "user", "text": "?"}, {"role": "assistant", "text": f"Deep {mark}.", "metadata": metadata}))  # fmt: skip
    assert messages[1].text == expected


@pytest.mark.parametrize(
    ("mark", "expected"),
    [("\ue200cite\ue202turn0search0\ue201", "Deep."), ("\u30102\u2020L1\u3011", "Deep \u30102\u2020L1\u3011.")],
)  # fmt: skip
def test_a_mark_without_a_source(mark, expected):
    """An invisible mark is removed; a visible one stays as it was on the screen."""
    metadata = {"content_references": [{"matched_text": mark, "type": "hidden"}]}
    messages, _ = take(chatgpt({"role": "assistant", "text": f"Deep {mark}.", "metadata": metadata}))  # fmt: skip
    assert messages[0].text == expected


def test_search_results_and_other_sources_stay():
    """Found pages are the text of an empty search result; a source that no mark names is in the extra data."""
    groups = [{"entries": [{"title": "Ponds", "url": "https://a.org", "snippet": "A metre."}]}]
    footnote = {"matched_text": " ", "type": "sources_footnote", "sources": [{"title": "B", "url": "https://b.org"}]}  # fmt: skip
    messages, _ = take(
        chatgpt(
            {"role": "user", "text": "?"},
            called("web.run", "{}"), {"role": "tool", "metadata": {"search_result_groups": groups}},
            {"role": "assistant", "text": "A metre deep.", "metadata": {"content_references": [footnote]}},
        )
    )  # fmt: skip
    assert messages[2].text == "[Ponds](https://a.org): A metre."
    assert messages[3].text == "A metre deep."
    assert messages[3].extra["sources"] == [{"title": "B", "url": "https://b.org"}]


def test_video_and_voice_are_named_with_their_words():
    """A recording is named, and its transcription is the text."""
    parts = [
        {"content_type": "video_asset_pointer", "asset_pointer": "file-service://v1", "metadata": {"transcription": "Look here."}},
        {"content_type": "audio_asset_pointer", "asset_pointer": "file-service://a1"},
    ]  # fmt: skip
    messages, _ = take(chatgpt({"role": "user", "content": {"content_type": "multimodal_text", "parts": parts}}))  # fmt: skip
    assert messages[0].text == "Look here.\n[video: v1]\n[audio: a1]"


def test_hidden_messages_are_counted():
    """Hidden messages are left out; a conversation with nothing else is counted as empty."""
    _, report = take(chatgpt({"role": "system", "text": "secret", "weight": 0}))
    assert dict(report.left_out) == {"empty conversation": 1, "hidden system message": 1}


def test_claude_citations_and_found_pages_are_links():
    page = {"type": "knowledge", "title": "Diet", "url": "https://a.org/diet", "text": "Fish."}
    cited = {"type": "text", "text": "Fish, mostly", "citations": [{"end_index": 4, "details": {"url": "https://www.a.org/diet"}}]}  # fmt: skip
    blocks = [
        {"type": "tool_use", "id": "t", "name": "search", "input": {}},
        {"type": "tool_result", "tool_use_id": "t", "content": [page]},
        cited,
    ]
    chat = [{"uuid": "1", "sender": "human", "text": "Diet?"}, {"uuid": "2", "sender": "assistant", "content": blocks}]  # fmt: skip
    messages, _ = take(json.dumps([{"uuid": "c", "chat_messages": chat}]).encode())
    assert messages[2].text == "[Diet](https://a.org/diet)\nFish."
    assert messages[3].text == "Fish ([a.org](https://www.a.org/diet)), mostly"


def test_pasted_text_is_part_of_the_message():
    """The text of a paste is searched, displayed and sent like the message it belongs to."""
    paste = {"file_name": "", "file_type": "txt", "extracted_content": "The kingfisher dives."}
    chat = [{"uuid": "1", "sender": "human", "text": "", "attachments": [paste]}]
    messages, _ = take(json.dumps([{"uuid": "c", "chat_messages": chat}]).encode())
    assert messages[0].text == "[file: pasted text]\nThe kingfisher dives."


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("<command-message>x</command-message>\n<command-name>/explain</command-name>\n<command-args>why</command-args>", "/explain why"),
        ("<command-name>/review</command-name>\n<command-message>x</command-message>\n<command-args></command-args>", "/review"),
        ("<command-name>/clear</command-name>\n<command-message>x</command-message>\n<command-args></command-args>", None),
        ("<ide_opened_file>The user opened pond.md</ide_opened_file>\nRename it.", "Rename it."),
        ("<ide_selection>line 1\nline 2</ide_selection>", None),
        ("<bash-input>ls</bash-input>", None),
        ("Is <b>this</b> bold?", "Is <b>this</b> bold?"),
    ],
)  # fmt: skip
def test_claude_code_messages_are_what_the_user_typed(text, typed):
    """Slash commands with arguments are messages; text of the program and the editor is not."""
    messages, report = take(claude_code(user("First"), user(text), answer("Yes.")))
    assert [m.text for m in messages if m.role == "user"] == ["First", *filter(None, [typed])]
    assert dict(report.left_out) == ({} if typed else {"program message": 1})


def test_a_queued_prompt_is_a_message():
    queued = {"type": "attachment", "attachment": {"type": "queued_command", "prompt": "And birds?", "commandMode": "prompt"}}  # fmt: skip
    messages, _ = take(claude_code(user("Fish?"), queued, answer("Minnows.")))
    assert [m.text for m in messages] == ["Fish?", "And birds?", "Minnows."]


def test_a_flat_transcript_is_read_in_order():
    """Without parents, the order of the lines is the conversation."""
    lines = [user("A"), answer("B"), user("C"), answer("D")]
    messages, _ = take(claude_code(*({**line, "parentUuid": None} for line in lines)))
    assert [m.text for m in messages] == ["A", "B", "C", "D"]


def test_a_compacted_transcript_keeps_its_first_part():
    """A compaction without a named parent continues the lines before it."""
    boundary = {"type": "system", "subtype": "compact_boundary", "parentUuid": None}
    messages, _ = take(claude_code(user("A"), answer("B"), boundary, user("summary", isCompactSummary=True), user("C"), answer("D")))  # fmt: skip
    assert [m.text for m in messages] == ["A", "B", "C", "D"]


def test_a_newest_line_without_a_message_does_not_hide_the_conversation():
    """A command on an early line starts a branch without messages; the conversation is the other branch."""
    lines = [user("A"), answer("B"), user("<bash-input>ls</bash-input>", parentUuid="u0")]
    messages, _ = take(claude_code(*lines))
    assert [m.text for m in messages] == ["A", "B"]


def test_files_without_messages_are_not_an_error():
    """A transcript of snapshots only has nothing to import, and is recognized."""
    snapshot = {"type": "file-history-snapshot", "messageId": "m", "snapshot": {}}
    _, report = take(json.dumps(snapshot).encode() + b"\n")
    assert (report.format_name, report.imported) == ("claude-code", 0)


def test_sub_agent_messages_are_counted():
    _, report = take(claude_code(user("A"), answer("B"), user("go", isSidechain=True)))
    assert dict(report.left_out) == {"sub-agent message": 1}


def test_codex_messages_are_without_the_editor_context():
    text = "# Context from my IDE setup:\n\n## Active file: a\n\n## My request for Codex:\nRename it.\n"
    lines = [
        {"type": "session_meta", "payload": {"id": "c"}},
        {"type": "response_item", "payload": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}},
    ]  # fmt: skip
    messages, _ = take("\n".join(map(json.dumps, lines)).encode())
    assert [m.text for m in messages] == ["Rename it."]


def test_librechat_children_are_a_tree():
    """A recursive export nests each answer in its question; the newest branch is the visible thread."""
    answers = [
        {
            "messageId": key,
            "parentMessageId": "1",
            "isCreatedByUser": False,
            "text": text,
            "children": [],
        }
        for key, text in (("2", "A"), ("3", "B"))
    ]
    question = {
        "messageId": "1",
        "parentMessageId": "0",
        "isCreatedByUser": True,
        "text": "Q",
        "children": answers,
    }
    messages, _ = take(json.dumps({"conversationId": "c", "messages": [question]}).encode())
    assert [m.text for m in messages] == ["Q", "B"]


def test_the_history_beside_a_task_of_cline_is_its_copy(tmp_path):
    """Cline keeps each task twice; importing its directory gives one session."""
    screen = [
        {"ts": 1, "type": "say", "say": "task", "text": "Hi"},
        {"ts": 2, "type": "say", "say": "text", "text": "Yes"},
    ]
    history = [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "Hi"}]}
    ]
    (tmp_path / "ui_messages.json").write_text(json.dumps(screen))
    (tmp_path / "api_conversation_history.json").write_text(json.dumps(history))
    with open_store("memory:") as store:
        report = import_path(store, tmp_path)
        assert (report.imported, dict(report.left_out)) == (1, {"copy of ui_messages.json": 1})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "value": "Hi"},
        {"type": "input_text", "text": "Hi"},
        {"type": "output_text", "text": "Hi"},
    ],
)
def test_text_parts_of_other_apis_are_text(part):
    """LLaMA-Factory writes the text of a part as its value, the Responses API calls it input_text."""
    messages, _ = take(json.dumps({"messages": [{"role": "user", "content": [part]}]}).encode())
    assert messages[0].text == "Hi"


def test_a_list_of_conversations_is_several_sessions():
    document = [{"messages": [{"role": "user", "content": text}]} for text in ("A", "B")]
    with open_store("memory:") as store:
        assert imported(store, json.dumps(document).encode()).imported == 2


@pytest.mark.parametrize("prompt", ["conversations", "messages"])
def test_the_preferred_answer_of_a_preference_set_is_imported(prompt):
    """`chosen` ends the conversation; `rejected` is counted."""
    said = (
        [{"from": "human", "value": "Q"}]
        if prompt == "conversations"
        else [{"role": "user", "content": "Q"}]
    )
    answers = {
        "chosen": {"from": "gpt", "value": "good"},
        "rejected": {"from": "gpt", "value": "bad"},
    }
    if prompt == "messages":
        answers = {
            "chosen": {"role": "assistant", "content": "good"},
            "rejected": {"role": "assistant", "content": "bad"},
        }
    messages, report = take(json.dumps([{prompt: said, **answers}]).encode())
    assert [m.text for m in messages] == ["Q", "good"]
    assert dict(report.left_out) == {"rejected answer": 1}


def nested(levels: int):
    """Return a value that is nested deeper than a record may be."""
    value = None
    for _ in range(levels):
        value = [value]
    return value


def cline_task(value) -> bytes:
    tool = {
        "ts": 2,
        "type": "ask",
        "ask": "tool",
        "text": json.dumps({"tool": "readFile", "x": value}),
    }
    return json.dumps([{"ts": 1, "type": "say", "say": "task", "text": "Hi"}, tool]).encode()


def copilot_log(value) -> bytes:
    part = {"kind": "toolInvocationSerialized", "toolId": "t", "toolSpecificData": {"x": value}}
    request = {"requestId": "r", "message": {"text": "Hi"}, "response": [part]}
    return json.dumps({"kind": 0, "v": {"sessionId": "s", "requests": [request]}}).encode() + b"\n"


def open_webui_chat(value) -> bytes:
    said = {
        "a": {"id": "a", "parentId": None, "childrenIds": ["b"], "role": "user", "content": "Hi"},
        "b": {
            "id": "b",
            "parentId": "a",
            "childrenIds": [],
            "role": "assistant",
            "content": "Ho",
            "files": value,
        },
    }
    chat = {"title": "T", "history": {"currentId": "b", "messages": said}}
    return json.dumps([{"id": "c", "chat": chat}]).encode()


def librechat_content(value) -> bytes:
    call = {
        "type": "tool_call",
        "tool_call": {"id": "t", "name": "look", "args": {"x": value}, "output": value},
    }
    said = [
        {"messageId": "a", "isCreatedByUser": True, "text": "Hi"},
        {"messageId": "b", "parentMessageId": "a", "text": "Ho", "content": [call]},
    ]
    return json.dumps({"conversationId": "c", "messages": said}).encode()


@pytest.mark.parametrize("make", [cline_task, copilot_log, librechat_content])
def test_a_deeply_nested_tool_call_is_kept(make):
    """The arguments of a tool are text, so their depth is not limited as that of a message is."""
    with open_store("memory:") as store:
        report = imported(store, make(nested(400)))
        assert (report.problem_count, report.imported) == (0, 1)
        (summary,) = store.list()
        stored = json.dumps([message.record for message in store.messages(summary.id)])
        assert "[" * 400 in stored
        assert "Hi" in stored


@pytest.mark.parametrize(
    ("make", "format_name"), [(open_webui_chat, "open-webui"), (librechat_content, "librechat")]
)
def test_a_value_that_cannot_be_read_costs_no_other_message(make, format_name):
    """A value nested beyond what Python reads is a problem with its location; the conversation is imported."""
    text = make("DEEP").replace(b'"DEEP"', b"[" * 100_000 + b"]" * 100_000)
    with open_store("memory:") as store:
        report = imported(store, text, format_name=format_name)
        assert report.problem_count >= 1
        (summary,) = store.list()
        assert [message.text for message in store.messages(summary.id)][:2] == ["Hi", "Ho"]


@pytest.mark.parametrize("depth", [3000, 20_000])
def test_a_chain_of_children_is_read_at_any_depth(depth):
    """A conversation whose messages contain their answers is complete, however long it is."""
    opening = "".join(
        f'{{"messageId":"m{n}","parentMessageId":"m{n - 1}","isCreatedByUser":{json.dumps(n % 2 == 0)},"text":"t{n}","children":['
        for n in range(depth)
    )
    text = f'{{"conversationId":"c","messagesTree":[{opening}{"]}" * depth}]}}'
    with open_store("memory:") as store:
        report = imported(store, text.encode())
        assert (report.format_name, report.problem_count) == ("librechat", 0)
        (summary,) = store.list()
        assert [m.text for m in store.messages(summary.id)] == [f"t{n}" for n in range(depth)]


def test_a_tool_named_messages_does_not_hide_a_conversation():
    """A list of messages is a conversation, whatever the messages contain."""
    call = {"type": "tool_use", "id": "t", "name": "messages", "input": {}}
    said = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [call]}]
    messages, report = take(json.dumps(said).encode())
    assert (report.format_name, [m.role for m in messages]) == ("anthropic", ["user", "assistant"])


def test_a_database_is_recognized_by_its_whole_schema(tmp_path):
    """The tables that identify a tool may lie behind many others."""
    path = tmp_path / "opencode.db"
    columns = ", ".join(f"column_{number} TEXT NOT NULL DEFAULT 'x'" for number in range(12))
    with sqlite3.connect(path) as database:
        for number in range(60):
            database.execute(f"CREATE TABLE filler_{number} ({columns})")
        database.executescript((GOLDEN / "opencode.sql").read_text())
    database.close()
    with open_store("memory:") as store:
        report = import_path(store, path)
        assert (report.format_name, report.imported) == ("opencode", 1)


def test_answers_of_a_proxy_that_repeats_an_id_stay_apart():
    """Answers to different prompts are different messages, even if a proxy gave them the same id."""
    same = {"type": "assistant", "message": {"id": "msg_1", "role": "assistant", "content": "Yes."}}
    with open_store("memory:") as store:
        imported(store, claude_code(user("One?"), same, user("Two?"), same))
        (summary,) = store.list()
        assert [m.text for m in store.messages(summary.id)] == ["One?", "Yes.", "Two?", "Yes."]


@pytest.mark.parametrize(
    ("directory", "title"), [("2026-12-01-hopping-sneaky-mouse", "Hello there"), ("trip", "trip")]
)
def test_a_generated_name_of_gptme_is_not_a_title(directory, title, tmp_path):
    """The title is the name that the user gave, else the first message."""
    path = tmp_path / directory / "conversation.jsonl"
    path.parent.mkdir()
    line = {"role": "user", "content": "Hello there", "timestamp": "2026-01-05T10:00:00"}
    path.write_text(json.dumps(line) + "\n")
    with open_store("memory:") as store:
        import_path(store, path)
        (summary,) = store.list()
        assert (summary.id, summary.title) == (f"gptme-{directory}", title)
