"""Attachments: files into questions, kept once with the session, and sent with their data."""

import hashlib
import os
import re
import socket
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omniagent_cli import Agent, attach, open_store
from omniagent_cli.agent.context import attachments
from omniagent_cli.agent.context.attachments import Attachment, compose, read_attachment
from omniagent_cli.agent.events import Notice
from omniagent_cli.errors import ModelRefused, ModelUnreachable, UsageError
from omniagent_cli.testing.scripted import Say, ScriptedModel

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PDF = b"%PDF-1.7\n1 0 obj\nendobj\nstartxref\n0\n%%EOF\n"
SHA = hashlib.sha256(PNG).hexdigest()
REFERENCE = f"attachment:sha256:{SHA}"
IMAGE = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{b64encode(PNG).decode()}"},
}
FILE = {
    "type": "file",
    "file": {
        "filename": "a.pdf",
        "file_data": f"data:application/pdf;base64,{b64encode(PDF).decode()}",
    },
}


@pytest.fixture
def files(tmp_path):
    """A picture, a PDF and a text."""
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "a.pdf").write_bytes(PDF)
    (tmp_path / "notes.txt").write_text("buy milk\n")
    return tmp_path


@pytest.fixture(params=["memory:", "sqlite", "file", "encrypted"])
def store(request, tmp_path):
    """Each kind of store that keeps attachments its own way."""
    places = {"sqlite": tmp_path / "s.db", "file": tmp_path / "logs/"}
    key = b"k" * 32 if request.param == "encrypted" else None
    places["encrypted"] = tmp_path / "secret.db"
    with open_store(str(places.get(request.param, request.param)), encrypt=key) as opened:
        yield opened


# Kept once, sent with the data.


def test_an_attachment_is_stored_once_and_sent_each_time(store, files):
    """The session keeps the data once, its messages refer to it, and the model is sent it."""
    model = ScriptedModel("a cat", "still a cat", "a cat again")
    with Agent(model, store=store) as agent:
        agent.process_with_session("s", attach("What is this?", files / "cat.png"))
        agent.process_with_session("s", "Really?")
        agent.process_with_session("s", attach("And this?", files / "cat.png", files / "a.pdf"))
    question = model.requests[2][0]["content"]
    assert question == [{"type": "text", "text": "What is this?"}, IMAGE]
    assert model.requests[2][4]["content"] == [{"type": "text", "text": "And this?"}, IMAGE, FILE]
    assert sorted(store.attachments("s")) == sorted([SHA, hashlib.sha256(PDF).hexdigest()])
    assert store.attachment("s", SHA) == {
        "name": "cat.png",
        "media_type": "image/png",
        "size": len(PNG),
        "data": b64encode(PNG).decode(),
    }
    first = store.messages("s")[0]
    assert first.content[1] == {
        "type": "image_url",
        "image_url": {"url": REFERENCE},
        "name": "cat.png",
        "media_type": "image/png",
        "size": len(PNG),
    }
    assert first.text == "What is this?\n[image: cat.png]"


def test_removed_messages_take_their_attachments_along_and_bring_them_back(store, files):
    """Trim, restore, fork and rename keep what is shown beside what shows it."""
    model = ScriptedModel("one", "two", "three", "four")
    with Agent(model, store=store) as agent:
        agent.process_with_session("s", attach("see", files / "cat.png"))
        agent.process_with_session("s", "next")
        store.trim("s", 2)
        assert store.attachments("s") == []
        store.restore("s")
        store.rename("s", "t")
        fork = store.fork("t", at=0)
        for number, session_id in enumerate(("t", fork), 2):
            agent.process_with_session(session_id, "Well?")
            assert IMAGE in model.requests[number][0]["content"]


def test_only_what_is_in_the_window_is_read(store, files):
    """An attachment of a message that is not sent stays where it is."""
    from omniagent_cli import Window

    model = ScriptedModel("one", "two")
    with Agent(model, store=store, window=Window(max_messages=1)) as agent:
        agent.process_with_session("s", attach("see", files / "cat.png"))
        assert store.attachments("s") == [SHA]
        agent.process_with_session("s", "next")
    assert [message["content"] for message in model.requests[1]] == ["next"]


def test_a_question_without_an_answer_is_not_stored_twice(store, files):
    """Asking the same again after a failure, attachments and all, is a retry."""
    model = ScriptedModel(Say(raises=ModelUnreachable("gone")), "a cat")
    with Agent(model, store=store) as agent:
        question = attach("What is this?", files / "cat.png")
        with pytest.raises(ModelUnreachable):
            agent.process_with_session("s", question)
        assert (store.count_messages("s"), store.attachments("s")) == (1, [SHA])
        agent.process_with_session("s", question)
    assert store.count_messages("s") == 2
    assert IMAGE in model.requests[1][0]["content"]


def test_parts_of_a_library_user_are_kept_once_too():
    """Data URLs and sounds handed in are stored like files; addresses on the web are left alone."""
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    web = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    model = ScriptedModel("one", "two")
    with open_store("memory:") as store, Agent(model, store=store) as agent:
        for _ in range(2):
            agent.process_with_session("s", [{"type": "text", "text": "hi"}, IMAGE, sound, web])
        assert len(store.attachments("s")) == 2
        assert "base64" not in repr(store.messages("s")[0].content)
    assert model.requests[1][0]["content"][1:] == [IMAGE, sound, web]


def test_a_stateless_question_takes_attachments(files):
    """What is kept nowhere is sent all the same, with the protocol's keys alone."""
    model = ScriptedModel("a cat")
    with Agent(model) as agent:
        agent.process(attach("What?", files / "cat.png", files / "notes.txt"))
    text = "What?\n\nnotes.txt:\n```txt\nbuy milk\n```"
    assert model.requests[0][0]["content"] == [{"type": "text", "text": text}, IMAGE]


def test_a_lost_attachment_is_told_to_model_and_person():
    """A reference to nothing is a text for the model and one notice for the person, in each turn."""
    model = ScriptedModel("ok")
    lost = {"type": "image_url", "image_url": {"url": REFERENCE}, "name": "cat\x1b[2J.png"}
    with open_store("memory:") as store, Agent(model, store=store) as agent:
        store.append("s", {"role": "user", "content": [lost, lost]})
        events = list(agent.stream_sync("go on", "s"))
    sent = model.requests[0][0]["content"]
    assert sent.count("this attachment is lost") == 2
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert "is missing from the session" in notice


def test_an_imported_attachment_cannot_stand_for_another(files):
    """Data under a name that is not its SHA-256 is never sent, and the right data replaces it."""
    model = ScriptedModel("one", "two")
    with open_store("memory:") as store, Agent(model, store=store) as agent:
        lie = {"data": b64encode(b"\x89PNG\r\n\x1a\n another").decode()}
        store.append("s", {"role": "user", "content": [IMAGE | {"image_url": {"url": REFERENCE}}]})
        store.put_attachment("s", SHA, lie)
        agent.process_with_session("s", "go on")
        agent.process_with_session("s", attach("see", files / "cat.png"))
    assert "lost" in model.requests[0][0]["content"]
    assert model.requests[1][0]["content"] == [IMAGE]


# Files.


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF89a\x01\0\x01\0", "image/gif"),
        (b"RIFF\x1a\0\0\0WEBPVP8L", "image/webp"),
        (PDF, "application/pdf"),
        (b"GIF89a is a format", "text/plain"),
        (b"%PDF-1.7 begins a PDF", "text/plain"),
        ("Ärger 😀".encode(), "text/plain"),
        (b"", "text/plain"),
    ],
)
def test_the_content_decides_what_a_file_is(tmp_path, data, media_type):
    """Names and endings say nothing about what is in a file."""
    path = tmp_path / "file.exe"
    path.write_bytes(data)
    assert read_attachment(path).media_type == media_type


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "directory"),
        (os.mkfifo, "pipe"),
        (lambda path: path.write_bytes(b"\x7fELF\0"), "only UTF-8 text, pictures"),
        (lambda path: path.write_bytes(b"caf\xe9"), "only UTF-8 text, pictures"),
        (lambda path: path.symlink_to("/dev/zero"), "device"),
        (lambda path: path.symlink_to(path), "Too many levels"),
        (lambda path: path.symlink_to("/proc/self/mem"), "Input/output error"),
        (lambda path: path.write_bytes(b"x" * 1_000_001), "1.0 MB, more than 1.0 MB for a text"),
        (
            lambda path: os.truncate(_made(path, PNG), 30_000_000),
            "30.0 MB, more than 20.0 MB for a picture",
        ),
        (
            lambda path: os.truncate(_made(path, b"%PDF-1.7\n\xff"), 20_000_001),
            "more than 20.0 MB for a PDF",
        ),
        (lambda path: path.write_bytes("ä".encode() * 10_000_001), "more than 1.0 MB for a text"),
    ],
)
def test_what_cannot_be_attached_is_told_in_a_line(tmp_path, make, told):
    """Missing, no file, too large or of another kind: one line with the name, and nothing waits."""
    path = tmp_path / "a\x1b[2J\nfile"
    make(path)
    with pytest.raises(UsageError, match=re.escape(told)) as caught:
        read_attachment(path)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def _made(path, data):
    path.write_bytes(data)
    return path


def test_a_socket_is_told(tmp_path, monkeypatch):
    """A socket is neither opened nor waited for."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        with pytest.raises(UsageError, match="socket"):
            read_attachment("s")


@pytest.mark.parametrize("name", ["a\0b", "~nobody-of-that-name/x", ""])
def test_names_that_are_none_are_told(name):
    """Whatever is given for a name, it is a usage error."""
    with pytest.raises(UsageError, match="cannot attach"):
        read_attachment(name)


def test_a_message_carries_only_so_much():
    """Attachments that are too large together are refused with both sizes."""
    large = Attachment("a.png", "image/png", bytes(13_000_000))
    with pytest.raises(UsageError, match=r"too large: 26\.0 MB, at most 24\.0 MB per message"):
        compose("hi", [large, large])


def test_hostile_names_become_one_harmless_line(tmp_path):
    """A file's name can neither drive a terminal nor pass for more text."""
    path = tmp_path / "cat\x1b]0;x\x07\n```\n.png"
    path.write_bytes(PNG)
    found = read_attachment(path)
    assert found.label == "[image: cat\ufffd]0;x\ufffd ``` .png, 16 bytes]"
    path.write_text("hi")
    assert compose("", [read_attachment(path)]).split("\n")[1:] == ["```png", "hi", "```"]


@settings(deadline=None)
@given(st.text(alphabet="`~ \nab\r\t", max_size=60))
def test_nothing_in_a_text_closes_its_fence(text):
    """Whatever a text holds, the fence around it is longer than any in it."""
    data = text.encode()
    made = Attachment("a.md", "text/plain", data, text, "md").fenced().split("\n")
    fence = made[-1]
    assert set(fence) == {"`"}
    assert (made[0], made[1]) == ("a.md:", f"{fence}md")
    assert not re.search(re.escape(fence), text)
    assert "\n".join(made[2:-1]) == text.rstrip()


# When the model takes none.


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (ModelRefused("it rejected the request (400)", status=400), True),
        (ModelRefused("no endpoint supports image input", status=404), True),
        (ModelRefused("the key is wrong", status=401), False),
        (ModelUnreachable("nobody answers"), False),
    ],
)
def test_a_refusal_says_what_to_do_about_attachments(files, error, helps):
    """When the attachments may be the reason, one line says how to go on; the question is kept."""
    model = ScriptedModel(Say(raises=error), Say(raises=error))
    with open_store("memory:") as store, Agent(model, store=store) as agent:
        with pytest.raises(type(error)) as caught:
            agent.process_with_session("s", attach("What?", files / "cat.png", files / "a.pdf"))
        told = str(caught.value)
        assert told.startswith(str(error))
        assert (
            "the request had 1 image and 1 file, which scripted:model may not support" in told
        ) == helps
        assert "\n" not in told
        assert store.messages("s")[0].status == "failed"
        with pytest.raises(type(error)) as caught:
            agent.process_with_session("t", "no files here")
        assert str(caught.value) == str(error)


def test_recall_answers_with_what_it_can(files):
    """The built-in answerer finds a text file's words and a picture's name."""
    with open_store("memory:") as store, Agent("recall", store=store) as agent:
        agent.process_with_session("s", attach("Remember.", files / "notes.txt"))
        agent.process_with_session("s", attach("Look", files / "cat.png"))
        assert "buy milk" in agent.process_with_session("s", "milk?")
        assert "cat.png" in agent.process_with_session("s", "png?")


def test_limits_are_what_the_providers_take():
    """A message of the largest size is no more than a provider's request, in base64."""
    assert attachments.MAX_MESSAGE_BYTES * 4 / 3 <= 32_000_000
