"""`/attach` and `chat -a` at the prompt: files wait, and go with what is said next."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from omniagent_cli.repl.attaching import paths_of
from omniagent_cli.testing.scripted import ScriptedModel
from tests.repl.talk import Talk

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
SHA = hashlib.sha256(PNG).hexdigest()
IMAGE = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{b64encode(PNG).decode()}"},
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a picture and a text, in which the person is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my cat.png").write_bytes(PNG)
    (tmp_path / "notes.txt").write_text("buy milk\n")
    return tmp_path


def asked(model: ScriptedModel, turn: int) -> Any:
    """What the last message of a request says."""
    return model.requests[turn][-1]["content"]


@pytest.mark.usefixtures("files")
def test_what_waits_goes_with_what_is_said_next(talk: Talk) -> None:
    """A file is told, listed, sent once, and waits no more; text goes into the words."""
    model = ScriptedModel("a cat", "ok")
    shown = talk.chat(
        "/attach my cat.png",
        "/attach notes.txt",
        "/attach",
        "What?",
        "/attach",
        "Thanks",
        model=model,
    )
    assert asked(model, 0) == [
        {"type": "text", "text": "What?\n\nnotes.txt:\n```txt\nbuy milk\n```"},
        IMAGE,
    ]
    assert asked(model, 1) == "Thanks"
    assert "[image: my cat.png, 16 bytes] will be sent with your next message" in talk.err
    assert "[image: my cat.png, 16 bytes]\n[text: notes.txt, 9 bytes]\n" in talk.out
    assert "No attachments; /attach FILE" in shown
    assert talk.store.attachments("user-123") == [SHA]


@pytest.mark.usefixtures("files")
def test_what_waits_can_be_dropped(talk: Talk) -> None:
    """/attach --clear takes it back, and slash commands do not send it."""
    model = ScriptedModel("ok")
    talk.chat("/attach my cat.png", "/title Cats", "/attach --clear", "hi", model=model)
    assert asked(model, 0) == "hi"
    assert "1 attachment dropped" in talk.err


@pytest.mark.usefixtures("files")
def test_what_cannot_be_attached_leaves_the_rest_waiting(talk: Talk) -> None:
    """A wrong name is one line; nothing hangs, nothing that waited is lost."""
    model = ScriptedModel("ok")
    talk.chat("/attach notes.txt", "/attach nowhere.png", "/attach .", "hi", model=model)
    assert "cannot attach 'nowhere.png': No such file" in talk.err
    assert "cannot attach '.': it is a directory" in talk.err
    assert asked(model, 0).startswith("hi\n\nnotes.txt:")


def test_a_path_that_is_typed_or_dropped_is_only_text(talk: Talk, files: Path) -> None:
    """Nothing is attached without being asked for."""
    model = ScriptedModel("ok")
    talk.chat(f"look at {files}/notes.txt", model=model)
    assert asked(model, 0) == f"look at {files}/notes.txt"


@pytest.mark.usefixtures("files")
def test_retry_and_edit_ask_with_the_same_attachments(talk: Talk) -> None:
    """ChatTurn again, in other words, or after being taken back, a question has its picture."""
    model = ScriptedModel("a dog", "a cat", "a cat indeed")
    shown = talk.chat("/attach my cat.png", "What?", "/retry", "/edit 0 What is it?", model=model)
    assert "error" not in shown
    for turn, text in enumerate(("What?", "What?", "What is it?")):
        assert asked(model, turn) == [{"type": "text", "text": text}, IMAGE]
    newest = talk.store.list(limit=1)[0].id
    assert newest != "user-123"
    assert talk.store.attachments(newest) == talk.store.attachments("user-123") == [SHA]


@pytest.mark.usefixtures("files")
def test_history_names_attachments(talk: Talk) -> None:
    """What was attached is shown by name, never as data."""
    shown = talk.chat("/attach my cat.png", "What?", "/history", "/search cat.png")
    assert shown.count("[image: my cat.png]") >= 2
    assert "base64" not in shown


@pytest.mark.parametrize(
    ("written", "paths"),
    [
        ("my cat.png", ["my cat.png"]),
        ('"my cat.png"', ["my cat.png"]),
        ("'my cat.png' ", ["my cat.png"]),
        (r"my\ cat.png", ["my cat.png"]),
        (r"my\ cat.png notes.txt", ["my cat.png", "notes.txt"]),
        ("no such file.png", ["no such file.png"]),
        ("don't.txt", ["don't.txt"]),
        ("~/x", ["~/x"]),
    ],
)
@pytest.mark.usefixtures("files")
def test_paths_are_taken_as_people_and_terminals_write_them(written: str, paths: list[str]) -> None:
    """With blanks, in quotes, with backslashes, and several when they were dropped together."""
    assert paths_of(written) == paths
